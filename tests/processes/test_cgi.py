"""One WSGI application for one CGI request: variables, body and answer, and nothing else before the headers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.ingest.cgi import answer_request
from scalable.lib.ingest.wsgi import with_error_boundary
from tests.support.servers.cgi import cgi_variables, run_cgi

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from scalable.lib.ingest.cgi import serve_cgi
def application(environ, start_response):
    {body}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(environ["PATH_INFO"]).encode()]
serve_cgi(application)
"""


def answer(application: Callable[..., Iterable[bytes]], body: bytes = b"", **variables: str) -> tuple[bytes, BytesIO]:
    """What is written, and the stream the body was read from."""
    stream, output = BytesIO(body), BytesIO()
    answer_request(application, {"REQUEST_METHOD": "POST", **variables}, stream, output, StringIO(), multithread=False)
    return output.getvalue(), stream


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]


def ignorant(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("413 Content Too Large", [])
    return [b"no"]


def test_an_application_that_reads_to_the_end_gets_the_body_and_not_what_follows():
    said, stream = answer(echo, b"hello, and more", CONTENT_LENGTH="5")

    assert said.endswith(b"\r\n\r\nhello")
    assert stream.read() == b", and more"


@pytest.mark.parametrize("length", ["", "-1", "five", "9" * 5000], ids=lambda length: length[:5])
def test_without_a_length_nothing_is_read(length: str):
    said, stream = answer(echo, b"hello", CONTENT_LENGTH=length)

    assert said.endswith(b"\r\n\r\n")
    assert stream.tell() == 0


def test_what_an_application_leaves_unread_is_read_for_the_servers_sake():
    said, stream = answer(ignorant, b"x" * 1_000_000 + b"more", CONTENT_LENGTH="1000000")

    assert said.endswith(b"no")
    assert stream.read() == b"more"


def test_a_body_in_chunks_is_read_to_its_end_after_it_was_refused():
    """The web server took the chunks apart and told no length; it still writes."""
    said, stream = answer(ignorant, b"x" * 1000, HTTP_TRANSFER_ENCODING="chunked")

    assert said.endswith(b"no")
    assert stream.read() == b""


def test_an_error_nobody_foresaw_is_a_500_without_a_detail(caplog: pytest.LogCaptureFixture):
    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("a secret detail")

    said, _ = answer(with_error_boundary(broken))

    assert said.startswith(b"Status: 500 Internal Server Error\r\n")
    assert b"secret detail" not in said
    assert b"Traceback" not in said
    assert "RuntimeError: a secret detail" in caplog.text


@pytest.mark.parametrize("body", ["print('hello')", "sys.stdout.write('x' * 100_000)", "print('hello', flush=True)"])
def test_what_is_printed_goes_to_the_log(tmp_path: Path, body: str):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), body=body))

    seen = run_cgi([sys.executable, str(script)], cgi_variables("GET", b""))

    assert seen.raw.startswith(b"Status: 200 OK\r\n")
    assert seen.log


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_ALL": "C.UTF-8"}, {"PYTHONUTF8": "0", "LC_ALL": "POSIX"}])
def test_variables_are_the_bytes_of_the_address_as_wsgi_wants_them(tmp_path: Path, locale: dict[str, str]):
    """PEP 3333: each byte one character. suexec leaves no locale at all."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), body="pass"))

    seen = run_cgi([sys.executable, str(script)], cgi_variables("GET", b"", PATH_INFO="/caf\u00e9", **locale))

    assert seen.body == repr("/caf\u00e9".encode().decode("latin-1")).encode()


END_THE_ANSWER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from scalable.lib.ingest.cgi import end_cgi_response
print("answer", flush=True)
end_cgi_response()
print("not for the visitor", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
sys.stdin.readline()
os.execv("/bin/sh", ["/bin/sh", "-c", "kill -TERM $$; echo a program that is started does not listen >&2"])
"""


def test_a_cgi_answer_ends_while_the_process_goes_on_and_is_deaf_to_term():
    process = subprocess.Popen(
        [sys.executable, "-c", END_THE_ANSWER, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read() == b"answer\n"  # to its end, as the web server reads it
    assert process.poll() is None

    _, errors = process.communicate(b"go on\n", timeout=60)

    assert (process.returncode, errors) == (-signal.SIGTERM, b"")  # what it starts is ended by TERM as ever
