"""Work after a response: only when it was asked for, only when the response is out, and never in its way."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from queue import Queue
from types import SimpleNamespace
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.validate import validator

import pytest

from scalable.lib.errors import DatabaseUnavailable, ScalableError
from scalable.lib.ingest.after_response import do_after_response, with_after_response
from scalable.lib.ingest.webhook_app import create_webhook_app
from scalable.lib.ingest.wsgi import Wsgi
from scalable.lib.queue.job import Enqueued


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


def serve(application: Wsgi, story: list[str] | None = None, body: bytes = b"", **variables: str) -> str:
    """Answer one request as a server does; `story` notes when the answer is out."""

    class Output(io.BytesIO):
        def write(self, data: Any) -> int:
            if story is not None and data.endswith(b"second"):
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
        **variables,
    }
    handler = SimpleHandler(io.BytesIO(body), output, io.StringIO(), environ)
    handler.run(validator(application))
    return output.getvalue().decode()


def followed(application: Wsgi, work: Callable[[], None], *, in_thread: bool = False) -> Wsgi:
    """`application`, each of whose requests asks for `work`."""

    def asking(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunks = application(environ, start_response)
        do_after_response(environ, work, in_thread=in_thread)
        return chunks

    return with_after_response(asking)


def test_the_work_comes_when_the_answer_is_out_and_the_body_is_closed():
    story: list[str] = []
    application = followed(answering("200 OK", Body(story)), lambda: story.append("worked"))

    answer = serve(application, story)

    assert answer.endswith("first, second")
    assert story == ["answered", "closed", "worked"]


def test_a_request_that_does_not_ask_for_it_is_followed_by_none():
    story: list[str] = []

    serve(with_after_response(answering("200 OK", Body(story))), story)

    assert story == ["answered", "closed"]


def stored() -> Any:
    """A queue that stores whatever it is given."""
    return SimpleNamespace(enqueue=lambda _update: Enqueued(1, duplicate=False))


def away() -> Any:
    raise DatabaseUnavailable("away")


def broken() -> Any:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("method", "secret", "open_queue", "status", "expected"),
    [
        ("POST", "hush", stored, 200, ["worked"]),
        ("GET", "hush", stored, 405, []),
        ("POST", "wrong", stored, 401, []),
        ("POST", "hush", away, 503, []),
        ("POST", "hush", broken, 500, []),
    ],
)
def test_a_webhook_is_followed_by_work_only_after_a_200(
    method: str, secret: str, open_queue: Callable[[], Any], status: int, expected: list[str]
):
    story: list[str] = []
    work = lambda: story.append("worked")  # noqa: E731
    application = create_webhook_app(open_queue, "hush", "telegram", start_drain=work)
    variables = {"REQUEST_METHOD": method, "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": secret, "CONTENT_LENGTH": "2"}

    answer = serve(application, story, b"{}", **variables)

    assert answer.split()[1] == str(status)
    assert story == expected


def test_a_body_without_close_will_do():
    story: list[str] = []

    serve(followed(answering("200 OK", [b"second"]), lambda: story.append("worked")), story)

    assert story == ["answered", "worked"]


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_work_is_done_in_a_thread_of_its_own_where_that_is_asked_for(in_thread: bool):
    workers: Queue[threading.Thread] = Queue()

    serve(followed(answering("200 OK", [b"x"]), lambda: workers.put(threading.current_thread()), in_thread=in_thread))

    assert (workers.get(timeout=20) is not threading.current_thread()) == in_thread


@pytest.mark.parametrize("error", [RuntimeError, ScalableError])
def test_an_error_of_the_work_is_logged_and_nobody_elses(caplog: pytest.LogCaptureFixture, error: type[Exception]):
    def fail() -> None:
        raise error("no more threads")

    answer = serve(followed(answering("200 OK", [b"second"]), fail), [])

    assert "200 OK" in answer
    assert "work after an answer failed" in caplog.text
    assert "no more threads" in caplog.text
    assert ("Traceback" in caplog.text) == (error is RuntimeError)
