"""The records of FastCGI: written as its specification says, and read the same in whatever pieces they come."""

from __future__ import annotations

import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.runners.php.fastcgi_protocol import (
    NotFastCgi,
    RecordReader,
    RecordType,
    begin_request,
    encode_pair,
    finish_request,
    read_end_request,
)
from tests.support.fakes.scripted_fastcgi import PARAMS, STDIN, Request, ending, read_request, record
from tests.support.generators.fuzz_counts import fuzzed

records = st.lists(
    st.builds(
        record,
        st.integers(0, 255),
        st.binary(max_size=300),
        request_id=st.sampled_from([0, 1, 2, 256]),
        padding=st.integers(0, 255),
    ),
    max_size=8,
).map(b"".join)


def sent(request: bytes) -> Request:
    """The request as a server that follows the specification reads it."""
    here, there = socket.socketpair()
    with here, there:
        there.settimeout(10)
        sender = threading.Thread(target=here.sendall, args=(request,))
        sender.start()
        try:
            return read_request(there)
        finally:
            sender.join(60)


def read_all(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], str]:
    """What a reader makes of the pieces, asked until it has nothing more, and why it stopped."""
    reader = RecordReader()
    found: list[tuple[int, bytes]] = []
    try:
        for piece in pieces:
            more = reader.feed(piece)
            while more:
                found += more
                more = reader.feed(b"")
    except NotFastCgi as error:
        return found, str(error)
    return found, ""


def test_a_request_begins_with_the_bytes_of_the_specification():
    assert begin_request({"A": "b"}, keep_connection=True) == bytes((
        1, 1, 0, 1, 0, 8, 0, 0,   0, 1, 1, 0, 0, 0, 0, 0,
        1, 4, 0, 1, 0, 4, 0, 0,   1, 1, ord("A"), ord("b"),
    ))  # fmt: skip
    assert begin_request({}, keep_connection=False)[10] == 0


def test_a_request_ends_with_the_length_of_its_body_and_the_body():
    assert finish_request(b"{}") == bytes((
        1, 4, 0, 1, 0, 17, 0, 0,  14, 1, *b"CONTENT_LENGTH", ord("2"),
        1, 4, 0, 1, 0, 0, 0, 0,
        1, 5, 0, 1, 0, 2, 0, 0,   ord("{"), ord("}"),
        1, 5, 0, 1, 0, 0, 0, 0,
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("name_size", "value_size", "lengths"),
    [
        (1, 127, b"\x01\x7f"),
        (1, 128, b"\x01\x80\x00\x00\x80"),
        (128, 0, b"\x80\x00\x00\x80\x00"),
        (200, 70000, b"\x80\x00\x00\xc8\x80\x01\x11\x70"),
    ],
)
def test_lengths_take_one_byte_or_four(name_size: int, value_size: int, lengths: bytes):
    assert encode_pair("n" * name_size, "v" * value_size) == lengths + b"n" * name_size + b"v" * value_size


def test_a_path_that_is_no_text_arrives_as_it_is_on_the_disk():
    assert encode_pair("P", b"/b\xff\xc3\xb6".decode("utf-8", "surrogateescape")).endswith(b"/b\xff\xc3\xb6")


@pytest.mark.parametrize("size", [0, 1, 65528, 65529, 200_000])
def test_a_body_of_any_size_arrives_whole(size: int):
    body = bytes(range(256)) * (size // 256 + 1)

    request = sent(begin_request({"A": "b"}, False) + finish_request(body[:size]))

    assert request.body == body[:size]
    assert request.variables == {"A": "b", "CONTENT_LENGTH": str(size)}
    assert [n for kind, n in request.sizes if kind == STDIN][-1] == 0
    assert max(n for _, n in request.sizes) <= 65528


def test_many_variables_are_spread_over_records_at_the_border_of_a_pair():
    """PHP reads each record of variables by itself."""
    variables = {f"NAME_{n:03}": "v" * 1000 for n in range(200)}

    request = sent(begin_request(variables, False) + finish_request(b""))

    pair = len(encode_pair("NAME_100", "v" * 1000))
    sizes = [size for kind, size in request.sizes if kind == PARAMS]
    assert request.variables == {**variables, "CONTENT_LENGTH": "0"}
    assert len(sizes) == 6
    assert all(size <= 65528 for size in sizes)
    assert [size % pair for size in sizes[:4]] == [0, 0, 0, 0]


def test_a_variable_larger_than_a_record_is_spread_over_two():
    variables = {"SMALL": "x", "LARGE": "v" * 70_000, "LAST": "y"}

    assert sent(begin_request(variables, False) + finish_request(b"")).variables == {**variables, "CONTENT_LENGTH": "0"}


@fuzzed(100)
@given(st.dictionaries(st.text(max_size=150), st.text(max_size=300), max_size=20), st.binary(max_size=300))
def test_whatever_is_sent_arrives(variables: dict[str, str], body: bytes):
    request = sent(begin_request(variables, True) + finish_request(body))

    assert request.variables == {**variables, "CONTENT_LENGTH": str(len(body))}
    assert (request.body, request.role, request.flags) == (body, 1, 1)


def test_records_of_other_requests_are_left_out_and_padding_too():
    stream = record(6, b"ours", padding=5) + record(6, b"theirs", request_id=2) + record(10, b"x", request_id=0)

    assert read_all([stream]) == ([(RecordType.STDOUT, b"ours")], "")


def test_nothing_behind_the_end_of_a_request_is_looked_at():
    reader = RecordReader()

    assert reader.feed(ending() + b"garbage") == [(RecordType.END_REQUEST, bytes(8))]
    assert not reader.is_empty
    with pytest.raises(NotFastCgi):
        reader.feed(b"")


def test_the_first_wrong_byte_is_enough():
    with pytest.raises(NotFastCgi, match="a record begins with byte 72, expected 1"):
        RecordReader().feed(b"H")


def test_the_protocol_status_of_an_end_is_read():
    assert read_end_request(ending(2, 0x01020304)[8:]) == 2


def test_an_end_that_is_too_short_is_no_fastcgi():
    with pytest.raises(NotFastCgi, match="the record that ends the request has 7 bytes, expected 8"):
        read_end_request(bytes(7))


@given(records, st.lists(st.integers(0, 3000), max_size=12))
@fuzzed(300)
def test_any_splitting_of_the_stream_gives_the_same_records(stream: bytes, cuts: list[int]):
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:end] for begin, end in zip(places, places[1:])]

    assert read_all(pieces) == read_all([stream]) == read_all([stream[n : n + 1] for n in range(len(stream))])


@given(st.one_of(st.binary(max_size=400), records.map(lambda stream: stream[:-3] + b"\x07")), st.integers(1, 50))
@fuzzed(300)
def test_any_bytes_are_records_or_refused_and_nothing_else(stream: bytes, step: int):
    pieces = [stream[n : n + step] for n in range(0, len(stream), step)]

    found, reason = read_all(pieces)

    assert all(stream.find(content) >= 0 for _, content in found)
    assert reason == "" or reason.startswith("a record begins with byte ")
