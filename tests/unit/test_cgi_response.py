"""Reading a CGI response: status, headers and body out of whatever was printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.captured_output import HEAD_BYTES, TAIL_BYTES, CapturedOutput
from scalable.lib.runners.php.cgi_response import NotACgiResponse, is_whole_success, parse_response, read_response
from scalable.lib.runners.php.script_report import ReportedOutput
from scalable.lib.runners.run_result import RunResult
from tests.support.generators.fuzz_counts import fuzzed


def captured(content: bytes) -> CapturedOutput:
    output = CapturedOutput()
    output.add(content)
    return output


def read(output: bytes, errors: bytes = b"", printed: str = "") -> RunResult:
    logged = ReportedOutput("a key")
    logged.add(errors)
    return read_response(captured(output), logged, 1.5, printed)


@pytest.mark.parametrize(
    ("head", "status", "headers", "body"),
    [
        (b"Content-type: text/html; charset=UTF-8\r\n\r\nhi", 200, {"content-type": "text/html; charset=UTF-8"}, b"hi"),
        (b"Status: 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n", 429, {"retry-after": "7"}, b""),
        (b"status:404\n\nno", 404, {}, b"no"),
        (b"A: 1\nSTATUS: 500\r\nB:2\n\r\nx", 500, {"a": "1", "b": "2"}, b"x"),
        (b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nx", 503, {"a": "b"}, b"x"),
        (b"HTTP/1.0 200 OK\r\n\r\nx", 200, {}, b"x"),
        (b"\r\nno headers at all", 200, {}, b"no headers at all"),
        (b"\nno headers at all", 200, {}, b"no headers at all"),
        (b"Location: /elsewhere\r\n\r\n", 302, {"location": "/elsewhere"}, b""),
        (b"Location: /elsewhere\r\nStatus: 201 Created\r\n\r\n", 201, {"location": "/elsewhere"}, b""),
        (b"A: 1\r\nA: 2\r\n\r\n", 200, {"a": "2"}, b""),
        (b"A: b: c\r\n\r\n\r\n\r\nbody", 200, {"a": "b: c"}, b"\r\n\r\nbody"),
        (b"A:\r\n\r\n", 200, {"a": ""}, b""),
    ],
)
def test_a_response_is_read(head: bytes, status: int, headers: dict[str, str], body: bytes):
    assert parse_response(head) == (status, headers, body)


def test_bytes_of_a_header_that_look_like_line_ends_in_another_encoding_are_none():
    """Given `х` of a Cyrillic text, whose second byte, 0x85, is a line end in Latin-1."""
    _, headers, body = parse_response("X-Name: хо\x0bхо\r\n\r\nbody".encode())

    assert headers["x-name"].encode("latin-1").decode("utf-8") == "хо\x0bхо"
    assert body == b"body"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "it is empty"),
        (b"hello", "no empty line ends its headers, in 5 bytes"),
        (b"A: b\r\n", "no empty line ends its headers, in 6 bytes"),
        (b"hello\n\nworld", "a line before its first empty line is no header"),
        (b": x\r\n\r\n", "a line before its first empty line is no header"),
        (b"A: b\r\nHTTP/1.1 200 OK\r\n\r\n", "a line before its first empty line is no header"),
        (b"Status: fine\r\n\r\n", "its Status is no number from 100 to 599"),
        (b"Status: 2000\r\n\r\n", "its Status is no number from 100 to 599"),
        (b"Status: 600\r\n\r\n", "its Status is no number from 100 to 599"),
        ("Status: ٢٠٠\r\n\r\n".encode(), "its Status is no number from 100 to 599"),
    ],
)
def test_what_is_no_response_is_told_without_quoting_it(head: bytes, reason: str):
    with pytest.raises(NotACgiResponse) as raised:
        parse_response(head)

    assert str(raised.value) == reason


def test_the_end_of_a_short_body_is_text_for_a_person():
    result = read(b"A: b\r\n\r\n\xff" + "привіт \n".encode(), b"all errors\n", "printed")

    assert result.output == "\ufffdпривіт\nall errors\nprinted"
    assert result.answer == b"\xff" + "привіт \n".encode()


def test_the_end_of_a_body_is_its_last_bytes():
    body = b"x" * TAIL_BYTES + b"the end"

    assert read(b"\n" + body).output == body[-TAIL_BYTES:].decode()


def test_of_a_body_that_was_cut_the_end_is_the_one_that_was_kept_and_it_is_no_answer():
    result = read(b"A: b\n\nbegins" + b" " * HEAD_BYTES + b"the end")

    assert (result.output, result.answer) == ("the end", b"")


def test_the_headers_that_count_are_in_the_result():
    result = read(b"Status: 503\nRetry-After: 7\nContent-Type: text/plain\n\nno")

    assert (result.http_status, result.retry_after, result.answer_type) == (503, "7", "text/plain")
    assert read(b"\nno").answer_type == ""


@fuzzed(100)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_response_or_none_and_nothing_else(head: bytes):
    try:
        status, _, body = parse_response(head)
    except NotACgiResponse:
        return

    assert 100 <= status <= 599
    assert head.endswith(body)


@fuzzed(100)
@given(st.integers(100, 599), st.binary(max_size=200))
def test_a_body_comes_out_as_it_went_in(status: int, body: bytes):
    head = f"Status: {status} Whatever\r\nContent-type: text/plain\r\n\r\n".encode()

    assert parse_response(head + body) == (status, {"content-type": "text/plain"}, body)


@pytest.mark.parametrize(
    ("output", "is_whole"),
    [
        (b"Content-Length: 2\r\n\r\nok", True),
        (b"content-length:2\n\nok", True),
        (b"Content-Length: 2\r\n\r\no", False),
        (b"Content-Length: 2\r\n\r\nok and more", True),
        (b"Content-Length: 0\r\n\r\n", True),
        (b"Content-Length: 0\r\n", False),
        (b"Content-type: text/html\r\n\r\nok", False),
        (b"Status: 204 No Content\r\nContent-Length: 0\r\n\r\n", True),
        (b"Status: 500 Oops\r\nContent-Length: 2\r\n\r\nno", False),
        (b"Location: /x\r\nContent-Length: 0\r\n\r\n", False),
        (b"Content-Length: two\r\n\r\nok", False),
        (b"Content-Length: -1\r\n\r\nok", False),
        ("Content-Length: \u0662\r\n\r\nok".encode(), False),
        (b"", False),
        (b"no headers", False),
    ],
)
def test_an_answer_is_whole_when_its_length_says_so(output: bytes, is_whole: bool):
    assert is_whole_success(captured(output)) is is_whole


def test_a_long_answer_is_whole_only_when_all_of_it_came():
    body = b"x" * (2 * HEAD_BYTES)
    head = b"Content-Length: %d\r\n\r\n" % len(body)

    assert is_whole_success(captured(head + body))
    assert not is_whole_success(captured(head + body[1:]))
