"""Work after an answer: only after a 200, only when the answer is out, and never in anybody's way."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from scalable.lib.ingest.after_response import after_answers


class Body:
    """What an application returns; it remembers being closed."""

    def __init__(self, story: list[str]) -> None:
        self._story = story

    def __iter__(self) -> Any:
        yield b"first, "
        yield b"second"

    def close(self) -> None:
        self._story.append("closed")


def answering(status: str, body: Iterable[bytes]) -> Callable[..., Iterable[bytes]]:
    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
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
    environ = {
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "x",
        "SERVER_PORT": "1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
    }
    handler = SimpleHandler(io.BytesIO(), output, io.StringIO(), environ)
    handler.run(validator(application))
    return output.getvalue().decode()


def test_the_work_comes_when_the_answer_is_out_and_the_body_is_closed():
    story: list[str] = []
    application = after_answers(answering("200 OK", Body(story)), lambda: story.append("worked"))

    answer = serve(application, story)

    assert answer.endswith("first, second")
    assert story == ["answered", "closed", "worked"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "503 Service Unavailable", "500 Internal Server Error"])
def test_after_any_other_answer_there_is_no_work(status: str):
    story: list[str] = []

    serve(after_answers(answering(status, Body(story)), lambda: story.append("worked")), story)

    assert story == ["answered", "closed"]


def test_an_answer_that_was_taken_back_is_the_later_one():
    """Given an application that failed after it had begun to answer, as PEP 3333 allows."""
    story: list[str] = []

    def failing(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise RuntimeError("too late")
        except RuntimeError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"second"]

    serve(after_answers(failing, lambda: story.append("worked")), story)

    assert story == ["answered"]


def test_a_body_without_close_will_do():
    story: list[str] = []

    serve(after_answers(answering("200 OK", [b"second"]), lambda: story.append("worked")), story)

    assert story == ["answered", "worked"]


def test_an_error_of_the_work_is_logged_and_nobody_elses(caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise RuntimeError("no more threads")

    answer = serve(after_answers(answering("200 OK", [b"second"]), fail), [])

    assert "200 OK" in answer
    assert "work after an answer failed" in caplog.text
    assert "no more threads" in caplog.text
