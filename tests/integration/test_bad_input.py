"""Every input the webhook refuses: status, message, and a queue that is unchanged. Real HTTP, both ways to serve."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import Site, request

PY_BOT = REPOSITORY / "examples" / "bot.py"
SECRET = "not-a-real-secret"
HEADER = "X-Telegram-Bot-Api-Secret-Token"
GOOD = b'{"update_id": 1}'
MIB = 1024 * 1024

# name, body, headers, status, a part of the message
REFUSED_BODIES = [
    ("empty body", b"", {}, 400, "is empty"),
    ("only white space", b" \r\n", {}, 400, "is empty"),
    ("not JSON", b"hello", {}, 400, "is not JSON"),
    ("JSON cut short", b'{"update_id": 1', {}, 400, "is not JSON"),
    ("two JSON documents", b"{}{}", {}, 400, "is not JSON"),
    ("a form", b"update_id=1", {"Content-Type": "application/x-www-form-urlencoded"}, 400, "is not JSON"),
    ("NaN", b'{"update_id": NaN}', {}, 400, "NaN is not JSON"),
    ("a list", b"[]", {}, 400, "is not an object but a list"),
    ("a text", b'"hello"', {}, 400, "is not an object but a text"),
    ("a number", b"17", {}, 400, "is not an object but a number"),
    ("null", b"null", {}, 400, "is not an object but null"),
    ("not UTF-8", b'{"text": "\xff\xfe"}', {}, 400, "is not UTF-8"),
    ("UTF-16", '{"update_id": 1}'.encode("utf-16"), {}, 400, "is not UTF-8"),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD, {}, 400, "is not JSON"),
    ("a NUL byte", b'{"text": "\x00"}', {}, 400, "NUL"),
    ("nested without end", b"[" * 200_000, {}, 400, "is not JSON"),
    ("one byte over 1 MiB", b'{"text": "' + b"x" * (MIB - 11) + b'"}', {}, 413, "larger than 1048576 bytes"),
    ("far over 1 MiB", b"x" * (3 * MIB), {}, 413, "larger than"),
    ("no secret", GOOD, {HEADER: ""}, 401, "missing or wrong"),
    ("wrong secret", GOOD, {HEADER: SECRET + "x"}, 401, "missing or wrong"),
    ("secret in the wrong case", GOOD, {HEADER: SECRET.upper()}, 401, "missing or wrong"),
    ("secret beyond ASCII", GOOD, {HEADER: "gehe\u00efm"}, 401, "missing or wrong"),
    ("large body and no secret", b"x" * (2 * MIB), {HEADER: ""}, 401, "missing or wrong"),
]
WRONG_METHODS = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
    """`worker_pool.py --serve` without any reachable bot runs: the updates stay where they are."""
    with ServedSite(tmp_path_factory.mktemp("served"), PY_BOT, BOT_WEBHOOK_SECRET=SECRET) as site:
        yield site


@pytest.fixture
def under_apache(make_site: Callable[..., Site]) -> Site:
    return make_site(PY_BOT, "sqlite", BOT_WEBHOOK_SECRET=SECRET)


def assert_refused(site: Site | ServedSite, body: bytes, headers: dict[str, str], status: int, message: str) -> None:
    before = site.counts()

    answer = site.send(body, **{HEADER: SECRET, **headers})

    assert (answer.status, answer.json()["ok"]) == (status, False)
    assert message in answer.json()["error"]
    assert site.counts() == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [row[1:] for row in REFUSED_BODIES],
    ids=[row[0] for row in REFUSED_BODIES],
)
def test_refused_by_the_pools_own_server(
    served: ServedSite, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    assert_refused(served, body, headers, status, message)


def test_refused_under_apache_in_the_same_words(under_apache: Site) -> None:
    for _, body, headers, status, message in REFUSED_BODIES:
        assert_refused(under_apache, body, headers, status, message)


def test_other_methods_get_a_sentence_a_person_can_read(served: ServedSite, under_apache: Site) -> None:
    for site in (served, under_apache):
        for method in WRONG_METHODS:
            answer = request(site.webhook_url, method=method)

            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
            if method != "HEAD":
                assert answer.json() == {
                    "ok": False,
                    "error": "this address takes Telegram updates by POST; nothing to see here with a browser",
                }


def test_exactly_one_mib_is_taken(served: ServedSite) -> None:
    body = b'{"text": "' + b"x" * (MIB - 12) + b'"}'

    answer = served.send(body, **{HEADER: SECRET})

    assert len(body) == MIB
    assert answer.status == 200


def test_a_repeated_update_is_answered_with_the_first_jobs_id(served: ServedSite, under_apache: Site) -> None:
    for site in (served, under_apache):
        first = site.send({"update_id": 77}, **{HEADER: SECRET})
        total = site.counts()["total"]
        again = site.send({"update_id": 77}, **{HEADER: SECRET})

        job_id = first.json()["queued_job_id"]
        assert first.json() == {"ok": True, "queued_job_id": job_id}
        assert again.status == 200
        assert again.json() == {"ok": True, "queued_job_id": job_id, "duplicate": True}
        assert site.counts()["total"] == total


def test_a_body_shorter_than_promised_is_refused(served: ServedSite) -> None:
    address = urlsplit(served.webhook_url)
    before = served.counts()["total"]  # jobs that are there go on meanwhile
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.putrequest("POST", address.path)
    connection.putheader("Content-Length", "100")
    connection.putheader(HEADER, SECRET)
    connection.endheaders(GOOD)
    connection.close()

    assert served.counts()["total"] == before


def test_a_chunked_body_is_taken_whole_by_the_pools_own_server(served: ServedSite) -> None:
    address = urlsplit(served.webhook_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request(
        "POST", address.path, body=iter([b'{"update_id"', b": 4711}"]), headers={HEADER: SECRET}, encode_chunked=True
    )
    answer = connection.getresponse()

    assert answer.status == 200
    assert json.loads(answer.read())["ok"] is True
    connection.close()


def test_an_unusable_data_folder_answers_503_and_tells_only_the_log(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", BOT_DATA_DIR="/proc/no-such-folder")

    answer = site.send({"update_id": 1})

    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "proc" not in answer.json()["error"]
    assert "/proc/no-such-folder" in site.apache.error_log.read_text()


def test_wrong_settings_answer_503_and_tell_only_the_log(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", BOT_WORKER_POOL_SIZE="four")

    answer = site.send({"update_id": 1})

    assert answer.status == 503
    assert "config.py" in answer.json()["error"]
    assert "BOT_WORKER_POOL_SIZE='four' (file): expected a whole number" in site.apache.error_log.read_text()


def test_a_database_that_is_not_there_answers_503(make_site: Callable[..., Site], tmp_path: Path) -> None:
    nowhere = {"BOT_DB_HOST": str(tmp_path / "no.sock"), "BOT_DB_NAME": "a", "BOT_DB_USER": "b", "BOT_DB_PASS": "hush"}
    site = make_site(PY_BOT, "sqlite", **nowhere)

    answer = site.send({"update_id": 1})

    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert "no.sock" not in answer.json()["error"]
    assert "hush" not in site.apache.error_log.read_text()
