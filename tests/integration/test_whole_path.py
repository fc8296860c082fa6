"""The whole path on real parts: Apache → webhook_queue.py → database → worker_pool.py → bot."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.site import Site, wait_until

PHP_BOT = REPOSITORY / "examples" / "bot.php"
DATABASES = ("sqlite", "mariadb-10.11", "mysql-9.7")
MakeSite = Callable[..., Site]

FAILS_TWICE = """<?php
$update = json_decode(file_get_contents('php://stdin'), true);
$file = __DIR__ . '/.ht-tries-' . $update['update_id'];
file_put_contents($file, 'x', FILE_APPEND);
if (strlen(file_get_contents($file)) < 3) {
    fwrite(STDERR, "not yet\\n");
    exit(1);
}
"""
# Tells who runs it, then waits for the test to kill that worker; the second run succeeds at once.
WAITS_ONCE = """
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
update = json.load(sys.stdin)
with open(here / ".ht-started", "a") as file:
    file.write(f"{os.getppid()}\\n")
if len((here / ".ht-started").read_text().splitlines()) == 1:
    time.sleep(60)
"""


def message(update_id: int, text: str = "/start") -> dict[str, Any]:
    chat = {"id": 1000 + update_id % 20, "type": "private", "first_name": "Ana"}
    return {"update_id": update_id, "message": {"message_id": update_id, "date": 1, "chat": chat, "text": text}}


def write_bot(folder: Path, name: str, text: str) -> Path:
    bot = folder / name
    bot.write_text(text)
    return bot


@pytest.mark.parametrize("database", DATABASES)
def test_200_updates_in_200_done_each_run_once(make_site: MakeSite, database: str) -> None:
    site = make_site(PHP_BOT, database)
    site.start_pool()

    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(lambda number: site.send(message(number)), range(1, 201)))

    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["queued_job_id"] for answer in answers}) == 200
    site.wait_for_counts(done=200, total=200)
    assert Counter(run["update_id"] for run in site.runs()) == dict.fromkeys(range(1, 201), 1)


@pytest.mark.parametrize("database", DATABASES)
def test_a_bot_that_fails_twice_then_succeeds(make_site: MakeSite, tmp_path: Path, database: str) -> None:
    site = make_site(write_bot(tmp_path, "twice.php", FAILS_TWICE), database)
    site.start_pool()

    site.send(message(1))

    site.wait_for_counts(done=1)
    (job,) = site.overview()["jobs"]
    assert (job["attempts"], job["error_message"]) == (3, None)


@pytest.mark.parametrize("database", DATABASES)
def test_a_bot_that_always_fails_ends_failed_and_runs_again_after_retry(make_site: MakeSite, database: str) -> None:
    site = make_site(PHP_BOT, database, BOT_JOB_MAX_ATTEMPTS="2", BOT_LEGACY_MODE="cli")
    site.start_pool()
    site.send(message(1, "/fail"))
    site.wait_for_counts(failed=1)
    (job,) = site.overview()["jobs"]
    assert job["attempts"] == 2
    assert job["error_message"].startswith("exit code 1\n")

    answer = press_retry(site, job["id"])

    assert answer.status == 303
    wait_until(lambda: len(site.runs()) == 4, site.logs)
    site.wait_for_counts(failed=1)
    assert site.overview()["jobs"][0]["attempts"] == 2


def press_retry(site: Site, job_id: int) -> Any:
    """What a browser sends when the button on the page is pressed."""
    return Visitor(site.dashboard_url).log_in("let-me-in").press("retry", id=job_id)


@pytest.mark.parametrize("database", DATABASES)
def test_a_worker_killed_in_mid_job_loses_nothing(make_site: MakeSite, tmp_path: Path, database: str) -> None:
    site = make_site(write_bot(tmp_path, "waits.py", WAITS_ONCE), database)
    site.start_pool()
    started = site.root / ".ht-started"
    site.send(message(1))
    wait_until(lambda: started.exists() and started.read_text().endswith("\n"), site.logs)

    os.kill(int(started.read_text()), signal.SIGKILL)

    site.wait_for_counts(done=1)
    (job,) = site.overview()["jobs"]
    assert job["attempts"] == 2
    assert len(started.read_text().splitlines()) == 2


def test_the_database_away_for_ten_seconds_under_load(make_site: MakeSite, servers: Servers) -> None:
    site = make_site(PHP_BOT, "mariadb-10.11")
    pool = site.start_pool()
    telegram = _Telegram(site)
    telegram.start()
    wait_until(lambda: telegram.accepted >= 5, site.logs)

    servers.get("mariadb-10.11").process.stop()
    wait_until(lambda: telegram.refused, site.logs)
    time.sleep(10)  # the outage itself, not a race
    servers.get("mariadb-10.11").restart()
    accepted_before = telegram.accepted
    wait_until(lambda: telegram.accepted >= accepted_before + 5, site.logs)
    telegram.stop()

    assert {status for status, _ in telegram.refusals} == {503}
    assert all(int(seconds) > 0 for _, seconds in telegram.refusals)
    site.wait_for_counts(done=telegram.accepted, total=telegram.accepted)
    assert pool.is_running()
    assert {run["update_id"] for run in site.runs()} == set(range(1, telegram.accepted + 1))
    assert site.pool_log.read_text().count("database away, trying on") <= 4


class _Telegram(threading.Thread):
    """Delivers one update after the other, each again until it is taken, as Telegram does."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._ended = threading.Event()
        self.accepted = 0
        self.refusals: set[tuple[int, str]] = set()

    @property
    def refused(self) -> bool:
        return bool(self.refusals)

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while not self._ended.is_set() and time.monotonic() < deadline:
            answer = self._site.send(message(self.accepted + 1))
            if answer.status == 200:
                self.accepted += 1
            else:
                self.refusals.add((answer.status, answer.headers.get("Retry-After", "0")))
                time.sleep(0.2)

    def stop(self) -> None:
        self._ended.set()
        self.join(60)


def test_the_payload_reaches_the_bot_byte_for_byte(make_site: MakeSite, tmp_path: Path) -> None:
    keeps = write_bot(tmp_path, "keeps.php", "<?php copy('php://stdin', __DIR__ . '/.ht-payload');")
    site = make_site(keeps, "mariadb-10.11")
    body = '{"update_id": 5,\r\n\t"x": "😀 \u202e <b> \\u0000 % \' \\" \\\\ "  }'.encode()

    site.send(body)
    finished = site.run("worker.py", "--drain")

    assert (finished.returncode, finished.stdout) == (0, "")
    assert (site.root / ".ht-payload").read_bytes() == body


@pytest.mark.parametrize("name", sorted(path.stem for path in (REPOSITORY / "examples/updates").glob("*.json")))
def test_every_type_of_update_is_taken(name: str) -> None:
    from scalable.lib.telegram.update import read_update

    body = (REPOSITORY / "examples" / "updates" / f"{name}.json").read_bytes()

    update = read_update(body)

    assert update.update_id == json.loads(body)["update_id"]
    assert update.update_type == name.split("-")[0]
