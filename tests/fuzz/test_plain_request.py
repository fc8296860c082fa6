"""What the pool's own server reads by itself, waitress reads in the same way; what it does not, is left to waitress."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from scalable.lib.ingest.plain_request import read_plain_request
from tests.support.generators.fuzz_counts import fuzzed

PATH = b"/scalable/webhook_queue.py"
BODY = b'{"update_id": 1}'
LINES = (
    b"Host: x",
    b"Content-Type: application/json",
    b"Content-Length: 16",
    b"content-length: 16",
    b"Content-Length: 016",
    b"X-Telegram-Bot-Api-Secret-Token: hush",
    b"Connection: keep-alive",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Transfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Content-Length : 16",
    b"Content-Length:\t16 ",
    b"Content-Length: +16",
    b"Content-Length: 1_6",
    b"Content-Length: 16, 16",
    b" folded: x",
    b"Upgrade: h2c",
    b"X: \x0b",
    b"X-Empty:",
    b"X: a\rTransfer-Encoding: chunked",
    b"X: a\nTransfer-Encoding: chunked",
    b"X\x00: a",
    b"X: \xff",
    b"",
)
ENDS = (b"\r\n", b"\n", b"\r")
FIRST = (
    b"POST " + PATH + b" HTTP/1.1",
    b"POST " + PATH + b" HTTP/1.0",
    b"GET " + PATH + b" HTTP/1.1",
    b"POST  " + PATH + b" HTTP/1.1",
    b"POST " + PATH + b"?x=1 HTTP/1.1",
    b"POST " + PATH + b"/ HTTP/1.1",
    b"POST http://x" + PATH + b" HTTP/1.1",
    b"post " + PATH + b" HTTP/1.1",
    b"POST " + PATH + b" HTTP/1.1 ",
)
USUAL = b"\r\n".join([FIRST[0], *LINES[:3], b"", BODY])


@st.composite
def requests(draw: Callable[..., bytes]) -> bytes:
    """Lines of a request put together at random, sometimes spoilt."""
    often_right = st.one_of(st.just(b"\r\n"), st.just(b"\r\n"), st.just(b"\r\n"), st.sampled_from(ENDS))
    first = draw(st.one_of(st.just(FIRST[0]), st.sampled_from(FIRST)))
    lines: list[bytes] = draw(st.lists(st.sampled_from(LINES), max_size=6))  # type: ignore[assignment]
    length = draw(st.sampled_from([b"Content-Length: 16", b"X: y"]))
    text = b"".join(line + draw(often_right) for line in [first, *lines, length, b""])
    text += draw(st.sampled_from([BODY, BODY[:-1], BODY + BODY, b"", BODY + USUAL]))
    at = draw(st.one_of(st.just(len(text)), st.integers(0, len(text))))  # type: ignore[arg-type]
    return text[:at] + draw(st.binary(max_size=2)) * draw(st.sampled_from([0, 0, 1])) + text[at:]


def read_by_waitress(data: bytes) -> HTTPRequestParser:
    parser = HTTPRequestParser(Adjustments())
    while data and not parser.completed:
        data = data[parser.received(data) :]
    assert not data, "waitress would find another request behind it"
    return parser


@fuzzed(1500)
@given(requests())
@example(USUAL)
@example(USUAL.replace(b"Host: x", b"Transfer-Encoding: chunked"))
@example(USUAL.replace(b"Host: x", b"CONTENT-LENGTH: 16"))
def test_both_find_the_same_request(data: bytes) -> None:
    found = read_plain_request(data, PATH)

    if found is None:
        return
    other = read_by_waitress(data)
    assert other.completed
    assert other.error is None
    assert (other.command, other.path, other.version, other.query) == ("POST", PATH.decode(), "1.1", "")
    assert other.get_body_stream().read() == found.body
    assert other.headers.get("X_TELEGRAM_BOT_API_SECRET_TOKEN", "") == found.secret_token
    assert not other.chunked
    assert not other.expect_continue
    assert other.headers.get("CONNECTION", "keep-alive").lower() == "keep-alive"


def test_the_usual_request_is_read_and_any_other_is_left_alone() -> None:
    found = read_plain_request(USUAL, PATH)
    with_secret = read_plain_request(USUAL.replace(b"Host: x", b"X-Telegram-BOT-Api-Secret-Token: hush"), PATH)

    assert found is not None
    assert (found.body, found.secret_token) == (BODY, "")
    assert with_secret is not None
    assert with_secret.secret_token == "hush"
    for other in (
        USUAL[:-1],
        USUAL + b"x",
        USUAL[1:],
        USUAL.replace(b"\r\n", b"\n"),
        USUAL.replace(b" 16", b" 16,16"),
        USUAL.replace(b"Host: x", b"Expect: 100-continue"),
        USUAL.replace(b"Host: x", b"Connection: close"),
        USUAL.replace(b"Host: x", b"Content-Length: 16"),
        USUAL.replace(b"1.1", b"1.0"),
        b"",
    ):
        assert read_plain_request(other, PATH) is None, other
