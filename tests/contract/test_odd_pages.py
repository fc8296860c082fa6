"""Whatever an update holds and whatever is searched for, the pages of jobs answer: on every database."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.telegram.update import Update, read_update
from tests.support.generators.wsgi_client import OWNER, READER, Client


def nested(depth: int, begin: str, end: str) -> str:
    return f'{{"update_id": 1, "message": {begin * depth}1{end * depth}}}'


PAYLOADS = {
    "900 objects": nested(900, '{"a":', "}"),
    "900 lists": nested(900, "[", "]"),
    "NUL": '{"update_id": 1, "message": {"text": "\\u0000", "\\u0000": 1}}',
    "half a pair": '{"update_id": 1, "message": {"text": "\\ud800"}}',
    "emoji in a type": json.dumps({"update_id": 1, "\U0001f600 type": {"text": "x"}}, ensure_ascii=False),
    "a type of signs": json.dumps({"update_id": 1, 'a b"<%00>': 1}),
    "a type with a NUL": '{"update_id": 1, "a\\u0000b": 1}',
    "a long number": f'{{"update_id": 1, "message": {"9" * 4000}}}',
    "no finite number": '{"update_id": 1, "message": 1e999}',
}
SEARCHES = ("\0", "\U0001f600", "message\U0001f600", "a\0b", "\ud800", "é", "\x7f", "%", "\\", "'", "\ufffe", "٣", "１")


# What the webhook refuses, and a table of the first version may hold.
STORED_BEFORE = {
    "990 objects": nested(990, '{"a":', "}"),
    "5,000 objects": nested(5_000, '{"a":', "}"),
    "5,000 lists": nested(5_000, "[", "]"),
    "no JSON": "\x01{",
    "nothing": "",
}


@pytest.mark.parametrize("name", [*PAYLOADS, *STORED_BEFORE])
def test_the_page_of_a_job_answers_whatever_the_update_holds(queue: DatabaseQueue, tmp_path: Path, name: str) -> None:
    stored_before = STORED_BEFORE.get(name)
    update = read_update(PAYLOADS[name].encode()) if stored_before is None else Update(stored_before, 1, "message", "a")
    job_id = queue.enqueue(update).job_id
    client = Client(tmp_path, queue)

    for cookie in (OWNER, READER):
        for path in (f"/job/{job_id}", "/jobs", "/"):
            status, _, body = client.ask(path, HTTP_COOKIE=f"scalable_session={cookie}")
            assert status == 200, (name, path, body[:300])
    assert client.ask(f"/job/{job_id}/payload", HTTP_COOKIE=f"scalable_session={OWNER}")[0] == 200


PAGES = (("/jobs", ""), ("/jobs", "&format=json"), ("/", ""), ("/jobs", "&type=message&lane=x"))


@pytest.mark.parametrize("cookie", [OWNER, READER], ids=["owner", "reader"])
def test_the_list_answers_whatever_is_searched_for(queue: DatabaseQueue, tmp_path: Path, cookie: str) -> None:
    queue.enqueue(read_update(b'{"update_id": 1, "message": {"chat": {"id": 5}, "text": "x"}}'))
    client = Client(tmp_path, queue)

    for name in ("type", "lane", "q", "status", "before"):
        for text in SEARCHES:
            query = f"{name}={quote(text, errors='surrogatepass')}"
            for path, more in PAGES if cookie == OWNER else PAGES[:1]:  # a reader's search is a part of it
                status, _, body = client.ask(path, query + more, HTTP_COOKIE=f"scalable_session={cookie}")
                assert status == 200, (path, query + more, body[:300])
