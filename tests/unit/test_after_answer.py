"""Work after an answer: only where it is asked for, only when the answer is out, and never in anybody's way."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from scalable.lib.web.after_answer import after_answers
from tests.support.places import REPOSITORY

MARK = "test.mark"


class Body:
    """What an application returns; it remembers being closed."""

    def __init__(self, story: list[str]) -> None:
        self._story = story

    def __iter__(self) -> Any:
        yield b"first, "
        yield b"second"

    def close(self) -> None:
        self._story.append("closed")


def marking(mark: bool, body: Iterable[bytes]) -> Callable[..., Iterable[bytes]]:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if mark:
            environ[MARK] = True
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return application


def serve(application: Callable[..., Any], story: list[str]) -> str:
    """Answer one request as a server does; `story` notes when the answer is out."""

    class Output(io.BytesIO):
        def write(self, data: Any) -> int:
            if data.endswith(b"second"):
                story.append("answered")
            return super().write(data)

    output = Output()
    environ = {"REQUEST_METHOD": "GET", "SERVER_NAME": "x", "SERVER_PORT": "1", "SERVER_PROTOCOL": "HTTP/1.1",
               "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": ""}
    handler = SimpleHandler(io.BytesIO(), output, io.StringIO(), environ)
    handler.run(validator(application))
    return output.getvalue().decode()


def test_the_work_comes_when_the_answer_is_out_and_the_body_is_closed():
    story: list[str] = []
    application = after_answers(marking(True, Body(story)), MARK, lambda: story.append("worked"))

    answer = serve(application, story)

    assert answer.endswith("first, second")
    assert story == ["answered", "closed", "worked"]


def test_without_the_mark_there_is_no_work():
    story: list[str] = []

    serve(after_answers(marking(False, Body(story)), MARK, lambda: story.append("worked")), story)

    assert story == ["answered", "closed"]


def test_a_body_without_close_will_do():
    story: list[str] = []

    serve(after_answers(marking(True, [b"second"]), MARK, lambda: story.append("worked")), story)

    assert story == ["answered", "worked"]


def test_an_error_of_the_work_is_logged_and_nobody_elses(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise RuntimeError("no more threads")

    answer = serve(after_answers(marking(True, [b"second"]), MARK, fail), [])

    assert "200 OK" in answer
    assert "work after an answer failed" in caplog.text
    assert "no more threads" in caplog.text


END_THE_ANSWER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from scalable.lib.web.after_answer import end_cgi_answer
print("answer", flush=True)
end_cgi_answer()
print("not for the visitor", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
sys.stdin.readline()
os.execv("/bin/sh", ["/bin/sh", "-c", "kill -TERM $$; echo a program that is started does not listen >&2"])
"""


def test_a_cgi_answer_ends_while_the_process_goes_on_and_is_deaf_to_term():
    process = subprocess.Popen(
        [sys.executable, "-c", END_THE_ANSWER, str(REPOSITORY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read() == b"answer\n"  # to its end, as the web server reads it
    assert process.poll() is None

    _, errors = process.communicate(b"go on\n", timeout=30)

    assert (process.returncode, errors) == (-signal.SIGTERM, b"")  # what it starts is ended by TERM as ever
