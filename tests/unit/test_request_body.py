"""How much of a request is read: what CONTENT_LENGTH says, whatever server hands it over."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from scalable.lib.ingest.request_body import RequestRefused, read_body

LIMIT = 100


class Trickle(BytesIO):
    """Gives a byte at a time, as a slow connection does."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(1, size or 0) if size != -1 else -1)


def environ(stream: BytesIO, **variables: Any) -> dict[str, Any]:
    return {"wsgi.input": stream, **variables}


@pytest.mark.parametrize("kind", [BytesIO, Trickle])
def test_it_is_content_length_bytes_and_not_one_more(kind: type[BytesIO]):
    stream = kind(b"hello, and the next request")

    assert read_body(environ(stream, CONTENT_LENGTH="5"), LIMIT) == b"hello"
    assert stream.read() != b""


@pytest.mark.parametrize("variables", [{}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}])
def test_without_a_length_there_is_none(variables: dict[str, str]):
    assert read_body(environ(BytesIO(b"something else"), **variables), LIMIT) == b""


def test_the_largest_is_taken_and_a_larger_one_is_not_even_read():
    stream = BytesIO(b"x" * 200)

    assert len(read_body(environ(stream, CONTENT_LENGTH="100"), LIMIT)) == 100
    with pytest.raises(RequestRefused, match="larger than 100 bytes") as refused:
        read_body(environ(stream, CONTENT_LENGTH="101"), LIMIT)
    assert refused.value.status == 413
    assert stream.tell() == 100


@pytest.mark.parametrize("length", ["-1", "five", "1e3", "\u0665", "5, 5", "+5"])
def test_a_length_that_is_no_number_is_refused(length: str):
    with pytest.raises(RequestRefused, match="not a number") as refused:
        read_body(environ(BytesIO(b"hello"), CONTENT_LENGTH=length), LIMIT)

    assert refused.value.status == 400


def test_one_that_ends_early_is_refused_even_where_it_would_make_sense():
    with pytest.raises(RequestRefused, match="ended after 2 of 10 bytes") as refused:
        read_body(environ(BytesIO(b"{}"), CONTENT_LENGTH="10"), LIMIT)

    assert refused.value.status == 400


def test_one_in_chunks_is_refused_where_nothing_tells_its_end():
    with pytest.raises(RequestRefused, match="Content-Length") as refused:
        read_body(environ(BytesIO(b"{}"), HTTP_TRANSFER_ENCODING="chunked"), LIMIT)

    assert refused.value.status == 411


def test_one_in_chunks_is_taken_from_a_server_that_ends_it():
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    assert read_body(environ(Trickle(b"{}"), **chunked), LIMIT) == b"{}"
    with pytest.raises(RequestRefused) as refused:
        read_body(environ(BytesIO(b"x" * 101), **chunked), LIMIT)
    assert refused.value.status == 413
