"""No request at all breaks the webhook, and none is answered 200 unless the very bytes of it are in the table."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.ingest.webhook_app import create_webhook_app
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.generators.fuzz_counts import fuzzed
from tests.support.places import REPOSITORY

SECRET = "hush-telegram"
SEEDS = [path.read_bytes() for path in sorted((REPOSITORY / "examples" / "updates").glob("*.json"))]
ANSWERS = {200, 400, 401, 405, 411, 413}


class Webhook(NamedTuple):
    """The application and the queue behind it."""

    application: Any
    queue: DatabaseQueue

    def stored(self) -> list[str]:
        """The payloads in the table, in the order they came in."""

        def work(session: Any) -> list[tuple[Any, ...]]:
            return session.rows("SELECT payload FROM bot_jobs ORDER BY id LIMIT 100000")

        return [payload for (payload,) in self.queue.database.run(work)]


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    address = SqliteAddress(tmp_path_factory.mktemp("fuzz") / "queue")
    queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())
    queue.ensure_schema()
    logging.getLogger("scalable").setLevel(logging.ERROR)
    yield Webhook(create_webhook_app(lambda: queue, SECRET, "telegram"), queue)
    logging.getLogger("scalable").setLevel(logging.NOTSET)


@st.composite
def bodies(draw: Callable[..., Any]) -> bytes:
    """A real update, spoilt or not; another JSON value; or any bytes."""
    body: bytes = draw(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=300), st.builds(_update, st.text())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(st.integers(0, 4)) :]
    return body


def _update(text: str) -> bytes:
    return json.dumps({"update_id": len(text) * 7919, "message": {"text": text, "chat": {"id": 1}}}).encode()


lengths = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "0", "-1", "1e3", "+5", "٣", "9" * 30, "9" * 5000, "0x10", " 7", "7\n"],
    ),
)


@fuzzed(400)
@example(
    body=b"{}",
    method="POST",
    length="9" * 5000,
    chunked=False,
    terminated=False,
    path="",
    query="",
    secret=SECRET,
)
@given(
    body=bodies(),
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "DELETE", "X"]),
    length=lengths,
    chunked=st.booleans(),
    terminated=st.booleans(),
    path=st.text(max_size=20),
    query=st.text(max_size=20),
    secret=st.one_of(st.just(SECRET), st.none(), st.text(max_size=20)),
)
def test_every_request_has_an_answer_and_only_200_leaves_a_row(
    webhook: Webhook,
    body: bytes,
    method: str,
    length: str | None,
    chunked: bool,
    terminated: bool,
    path: str,
    query: str,
    secret: str | None,
) -> None:
    before = webhook.stored()
    headers = {} if secret is None else {"HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": _on_the_wire(secret)}
    if chunked:
        headers["HTTP_TRANSFER_ENCODING"] = "chunked"
    status, answered = ask(
        webhook.application,
        method,
        _on_the_wire(f"/{path}"),
        body,
        {
            "CONTENT_LENGTH": str(len(body)) if length is None else length,
            "QUERY_STRING": _on_the_wire(query),
            "wsgi.input_terminated": terminated,
            **headers,
        },
    )
    new = webhook.stored()[len(before) :]

    assert status in ANSWERS
    if status == 200:
        duplicate = bool(answered.get("duplicate"))
        assert (method, secret) == ("POST", SECRET)
        assert [payload.encode() for payload in new] == ([] if duplicate else [body])
    else:
        assert new == []
        assert answered["ok"] is False


def _on_the_wire(text: str) -> str:
    """As PEP 3333 hands it over."""
    return text.encode("utf-8", "replace").decode("latin-1")


def ask(application: Any, method: str, path: str, body: bytes, more: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "REMOTE_ADDR": "203.0.113.7",
        "SERVER_NAME": "bot.example.com",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "https",
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }
    said: list[int] = []
    content = b"".join(application(environ, lambda status, _headers, _error=None: said.append(int(status[:3]))))
    return said[0], json.loads(content) if content else {"ok": False}
