"""Every reader of text from outside gives a value or the one error it promises, whatever it is given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.errors import BotMissing, ConfigurationError
from scalable.lib.pool.web_server import parse_listen
from scalable.lib.queue.dialects.address import parse_host
from scalable.lib.queue.history import read_history
from scalable.lib.queue.requeue import read_position
from scalable.lib.queue.views.search import read_filter
from scalable.lib.runners.http.runner import HttpRunner
from scalable.lib.runners.php.cgi_response import NotACgiResponse, parse_response
from scalable.lib.runners.php.fpm import parse_address
from scalable.lib.setup.settings_file import read_settings_file
from scalable.lib.telegram.webhook_reply import MethodCall, read_reply
from tests.support.generators.fuzz_counts import fuzzed

READERS: dict[str, tuple[Callable[[str], object], tuple[type[Exception], ...]]] = {
    "BOT_DB_HOST": (parse_host, (ValueError,)),
    "BOT_LEGACY_PATH": (lambda text: HttpRunner(text, 1.0), (BotMissing,)),
    "BOT_FASTCGI_SOCKET": (parse_address, (ValueError, ConfigurationError)),
    "--serve": (parse_listen, (ConfigurationError,)),
    "search": (lambda text: read_filter(text=text), ()),
    "place in a list": (read_position, ()),
    "history": (read_history, ()),
}
GRAINS = (
    "localhost",
    "127.0.0.1",
    "[::1]",
    ":",
    "/",
    "3306",
    "9" * 5000,
    "http://",
    "https://",
    "user:hush@",
    "@",
    "?",
    "#",
    "unix:",
    "|",
    "[",
    "]",
    "{",
    "}",
    '"',
    "2026-01-01 00:00:00",
    "\n",
    "\0",
    "\ud800",
    "٣",
    " ",
    "%",
    "..",
    "xn--",
)
texts = st.lists(st.one_of(st.sampled_from(GRAINS), st.text(max_size=8)), max_size=8).map("".join)


@pytest.mark.parametrize("name", READERS)
@fuzzed(150)
@given(text=texts)
def test_a_reader_gives_a_value_or_its_own_error(name: str, text: str) -> None:
    read, errors = READERS[name]
    try:
        read(text)
    except errors as error:
        said = str(error)
    else:
        return
    assert said


@fuzzed(200)
@given(content=st.one_of(st.binary(max_size=200), texts.map(lambda text: text.encode("utf-8", "surrogatepass"))))
@example(content="BOT_TOKEN=1\n".encode("utf-16"))
@example(content=b"BOT_TOKEN='1\nBOT_X=2")
def test_a_settings_file_is_read_whole_or_the_line_is_named(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".htenv"
        path.write_bytes(content)
        problems: tuple[str, ...] = ()
        try:
            values = read_settings_file(path)
        except ConfigurationError as error:
            values, problems = {}, tuple(error.problems)
    assert all(str(path) in problem for problem in problems)
    assert all(isinstance(value, str) for value in values.values())


KINDS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "")
BODY_GRAINS = (
    b'{"method":',
    b'"sendMessage"',
    b"}",
    b"{",
    b"[" * 3000,
    b'"chat_id":1',
    b",",
    b"method=",
    b"sendMessage",
    b"&",
    b"--x\r\n",
    b"Content-Disposition: form-data; name=method",
    b"\r\n\r\n",
    b"--x--",
    b"\xef\xbb\xbf",
    b"\xff",
    b"PHP Warning: x in y on line 3",
    b"\n",
    b"9" * 5000,
    b"NaN",
    b"\\ud800",
)
bodies = st.lists(st.one_of(st.sampled_from(BODY_GRAINS), st.binary(max_size=6)), max_size=10).map(b"".join)


@fuzzed(400)
@given(body=bodies, kind=st.one_of(st.none(), st.sampled_from(KINDS), st.text(max_size=30)))
def test_what_a_bot_answers_is_a_call_or_none_and_its_parameters_stay_byte_for_byte(body: bytes, kind: Any) -> None:
    call = read_reply(body, kind)

    assert call is None or isinstance(call, MethodCall)
    if call is not None:
        assert call.body in body
        assert call.method.isascii()
        assert call.method.isalpha()


@fuzzed(300)
@given(head=bodies)
@example(head=b"Status: 999\r\n\r\n")
def test_the_output_of_a_cgi_program_is_a_response_or_named_as_none(head: bytes) -> None:
    try:
        status, _, body = parse_response(head)
    except NotACgiResponse as error:
        said = str(error)
    else:
        assert 100 <= status <= 599
        assert head.endswith(body)
        return
    assert said
