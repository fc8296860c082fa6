"""An update that kills every worker which runs it: it fails in the end, and what was claimed with it is run once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.job import Counts
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.support.servers.children import tail
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

# A function is called in the worker's own process. Runs of a millisecond make it claim many at once.
BOT = """
import json, os, signal, time

def handle(update):
    with open(os.environ["BOT_JOURNAL"], "a") as journal:
        journal.write(f"{update['update_id']}\\n")
    if update["message"]["text"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""
OTHERS, ATTEMPTS = 40, 3


@pytest.mark.parametrize("lanes", ["each in a chat of its own", "all in the chat before it"])
def test_its_neighbours_are_run_once_each(tmp_path: Path, lanes: str) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text(BOT)
    (tmp_path / "data").mkdir(mode=0o700)
    queue = DatabaseQueue(
        open_database(SqliteAddress(tmp_path / "data" / ".ht-queue.sqlite3")), "bot_jobs", RetryPolicy()
    )
    queue.ensure_schema()
    for number in range(2 * OTHERS):
        lane = "chat:1" if lanes.startswith("all") and number < OTHERS else f"chat:{number}"
        queue.enqueue(message(number, "hello", lane))
        if number == OTHERS:
            queue.enqueue(message(7777, "kill", "chat:7777"))

    with ServedSite(
        tmp_path,
        bot,
        BOT_LEGACY_PATH=f"{bot}:handle",
        BOT_WORKER_POOL_SIZE="1",
        BOT_JOB_MAX_ATTEMPTS=str(ATTEMPTS),
        BOT_BREAKER="0",
    ) as site:
        wait_until(
            lambda: queue.counts() == Counts(done=2 * OTHERS, failed=1), lambda: (queue.counts(), tail(site.log))
        )
        jobs = queue.newest(3 * OTHERS)

    assert {job.attempts for job in jobs if job.update_id != 7777} == {1}
    [killer] = [job for job in jobs if job.update_id == 7777]
    assert (killer.status, killer.attempts) == ("failed", ATTEMPTS)
    ran = (tmp_path / "journal").read_text().split()
    assert ran.count("7777") == ATTEMPTS
    assert {ran.count(str(number)) for number in range(2 * OTHERS)} == {1}
    assert list((tmp_path / "data").glob(".ht-runs-*")) == []
    queue.close()


def message(number: int, text: str, lane: str) -> Update:
    """An update of this text."""
    chat = int(lane.partition(":")[2])
    told = {"update_id": number, "message": {"message_id": 1, "chat": {"id": chat, "type": "private"}, "text": text}}
    return Update(json.dumps(told), number, "message", lane)
