"""The web scripts as CGI under Apache, as each kind of host runs them: what they answer, and that they say no more."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.generators.visitor import Visitor
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import apache_available, customers_folder, suexec_available
from tests.support.servers.children import tail
from tests.support.servers.site import Site, wait_until

BOT = REPOSITORY / "examples" / "bot.py"
HOSTS = {
    "cgid": {"cgi_module": "cgid"},
    "cgi": {"cgi_module": "cgi"},
    "cgid, suexec": {"cgi_module": "cgid", "suexec": True},
    "cgi, suexec": {"cgi_module": "cgi", "suexec": True},
}
# By the web server's configuration; suexec is known to strip it.
FROM_THE_SERVER = {"BOT_QUEUE_TABLE": "of_the_environment"}


class CgiSite(Site):
    """A site and whether its host strips the settings of the web server's environment."""

    stripped = False


@pytest.fixture(scope="module", params=HOSTS)
def site(request: pytest.FixtureRequest) -> Iterator[CgiSite]:
    """An installation without a pool; not in pytest's folders, which it closes to others when another run begins."""
    host = HOSTS[request.param]
    need(apache_available())
    if not host.get("suexec"):
        with tempfile.TemporaryDirectory(prefix="hosts-") as home:
            Path(home).chmod(0o711)
            site = CgiSite(Path(home), BOT, {}, environment=FROM_THE_SERVER, **host)
            yield site
            site.stop()
        return
    need(suexec_available())
    with customers_folder() as folder:
        site = CgiSite(folder, BOT, {}, environment=FROM_THE_SERVER, **host)
        site.stripped = True
        yield site
        site.stop()


def send_raw(site: CgiSite, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One request as it is written here."""
    address = urlsplit(site.webhook_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.connect()
    method = head.split(" ", 1)[0]
    connection.sock.sendall(head.format(path=address.path).encode() + b"\r\n\r\n" + body)
    answer = http.client.HTTPResponse(connection.sock, method=method)
    answer.begin()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def numbers(site: CgiSite) -> list[int]:
    return sorted(job["update_id"] for job in site.overview()["jobs"] if job["update_id"])


def test_updates_are_stored_by_the_long_way_and_by_the_lean_one(site: CgiSite) -> None:
    answers = [site.send({"update_id": number, "message": {"chat": {"id": 5}}}) for number in (101, 102, 102)]

    assert [answer.status for answer in answers] == [200, 200, 200], site.logs()
    assert answers[1].headers["Content-Type"] == "application/json; charset=utf-8"
    assert answers[2].json() == {**answers[1].json(), "duplicate": True}
    assert {101, 102} <= set(numbers(site))


def test_the_scripts_run_as_the_owner_of_the_site(site: CgiSite) -> None:
    site.send({"update_id": 103})

    data = site.plugin / ".htdata"
    assert os.geteuid() != 0 or data.owner() == site.owner[0]
    assert (data / ".ht-queue.sqlite3").owner() == data.owner()


def test_a_host_with_suexec_strips_settings_of_the_environment_and_others_pass_them_on(site: CgiSite) -> None:
    """The settings file is the main road for that reason."""
    site.send({"update_id": 104})

    with sqlite3.connect(site.plugin / ".htdata" / ".ht-queue.sqlite3") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master LIMIT 100")}
    connection.close()
    assert ("of_the_environment" in tables, "bot_jobs" in tables) == ((False, True) if site.stripped else (True, False))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_told_so_and_head_gets_no_body(site: CgiSite, method: str) -> None:
    status, headers, content = send_raw(site, f"{method} {{path}} HTTP/1.1\r\nHost: x\r\nConnection: close")

    assert (status, headers["allow"]) == (405, "POST")
    assert (content == b"") is (method == "HEAD")


def test_head_and_get_of_the_dashboard_differ_by_the_body_alone(site: CgiSite) -> None:
    visitor = Visitor(site.dashboard_url).log_in("let-me-in")
    got, headed = (visitor.get(method=method) for method in ("GET", "HEAD"))

    assert (got.status, headed.status) == (200, 200)
    assert headed.body == b""
    assert got.body
    assert headed.headers["Content-Type"] == got.headers["Content-Type"]


def test_a_body_in_chunks_is_refused_in_so_many_words(site: CgiSite) -> None:
    head = "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked"
    body = b'{"update_id": 201}'

    status, _, content = send_raw(site, head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    assert status == 411
    assert "Content-Length" in json.loads(content)["error"]
    assert 201 not in numbers(site)


def test_what_follows_the_body_is_not_read(site: CgiSite) -> None:
    """A second request on the same connection, in one packet with the first."""
    body = b'{"update_id": 202}'
    head = f"POST {{path}} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"

    status, _, content = send_raw(site, head, body + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert (status, json.loads(content)["ok"]) == (200, True)
    assert 202 in numbers(site)


def test_a_body_that_is_too_large_is_refused_and_read_to_its_end(site: CgiSite) -> None:
    answer = site.send(b"x" * 3_000_000)

    assert answer.status == 413
    assert "1048576" in answer.json()["error"]


def test_a_defect_is_a_500_with_its_traceback_in_the_log_alone(site: CgiSite) -> None:
    broken = site.plugin / "lib" / "ingest" / "pipeline.py"
    text = broken.read_text()
    assert "body = read_body()" in text
    (site.plugin / ".htdata" / ".ht-lean").unlink(missing_ok=True)
    broken.write_text(text.replace("body = read_body()", "body = 1 / len(b'')"))
    try:
        answer = site.send({"update_id": 203})
    finally:
        broken.write_text(text)

    assert answer.status == 500
    assert answer.json() == {"ok": False, "error": "unexpected error; the reason is in the server's log"}
    assert "ZeroDivisionError" in tail(site.apache.error_log)


def test_a_script_that_does_not_even_start_shows_nothing_of_itself(site: CgiSite) -> None:
    broken = site.plugin / "lib" / "setup" / "config.py"
    text = broken.read_text()
    broken.write_text(text + "\n<<<<<<< half an upload\n")
    try:
        answer = site.send({"update_id": 204})
    finally:
        broken.write_text(text)

    assert answer.status == 500
    assert b"upload" not in answer.body
    assert b"Traceback" not in answer.body
    assert "half an upload" in tail(site.apache.error_log)


def test_what_a_library_prints_does_not_come_before_the_headers(site: CgiSite) -> None:
    chatty = site.plugin / "vendor" / "bottle.py"
    text = chatty.read_text()
    chatty.write_text(text + "\nprint('a word of the library')\n")
    try:
        answer = Visitor(site.dashboard_url).log_in("let-me-in").get()
    finally:
        chatty.write_text(text)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"a word of the library" not in answer.body
    assert "a word of the library" in tail(site.apache.error_log)


def test_the_scripts_hand_over_to_a_pool_with_the_settings_that_arrive_here(site: CgiSite) -> None:
    pool = site.start_pool(**({} if site.stripped else FROM_THE_SERVER))
    try:
        wait_until((site.plugin / ".htdata" / ".ht-gateway.sock").exists, site.logs)
        answer = site.send({"update_id": 301, "message": {"chat": {"id": 5}}})
        assert answer.status == 200, site.logs()
        assert "update_id=301" in site.pool_log.read_text(), site.logs()  # who answered, logged it
    finally:
        pool.close()
