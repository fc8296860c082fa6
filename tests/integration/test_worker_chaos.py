"""A real pool whose workers are killed at random while updates arrive: nothing is lost, every lane keeps its order."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.telegram.update import Update
from tests.integration.conftest import database_settings
from tests.support.fakes.worker_killer import JOURNAL_BOT, kill_one_worker, read_journal
from tests.support.generators.bots import python_bot
from tests.support.generators.long_tests import sized
from tests.support.judges.judge import Kill, Story, find_wrongs, read_runs
from tests.support.servers.children import tail
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

SECONDS = sized(20, 60)
LANES = 30
UPDATES_PER_SECOND = 25
SECONDS_BETWEEN_KILLS = sized(1, 2)
RETRY_BASE_SECONDS = 1
ALWAYS_FAILS = 83  # one update in so many
EVERYTHING = 100_000


def enqueue_for_a_while(queue: DatabaseQueue, chance: random.Random) -> None:
    ends = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < ends:
        number += 1
        lane = f"chat:{chance.randrange(LANES)}"
        update = {"update_id": number, "lane": lane, "always_fails": number % ALWAYS_FAILS == 0}
        queue.enqueue(Update(json.dumps(update), number, "message", lane))
        time.sleep(chance.random() * 2 / UPDATES_PER_SECOND)


def kill_for_a_while(pool: int, chance: random.Random) -> list[Kill]:
    ends = time.monotonic() + SECONDS
    kills: list[Kill] = []
    while time.monotonic() < ends:
        time.sleep(chance.random() * 2 * SECONDS_BETWEEN_KILLS)
        kill = kill_one_worker(pool, chance)
        if kill is not None:
            kills.append(kill)
    return kills


def nothing_is_left(queue: DatabaseQueue) -> bool:
    counts = queue.counts()  # once: between two looks, an update that failed goes from processing back to pending
    return counts.pending + counts.processing == 0


@pytest.mark.timeout(sized(300, 400))
def test_every_update_ends_and_every_lane_keeps_its_order_while_workers_are_killed(
    servers: Servers, tmp_path: Path
) -> None:
    settings = database_settings(servers, "mariadb-10.11")
    host, port = settings["BOT_DB_HOST"].split(":")
    address = MySqlAddress(
        host, int(port), None, settings["BOT_DB_NAME"], settings["BOT_DB_USER"], settings["BOT_DB_PASS"]
    )
    bot = python_bot(tmp_path, JOURNAL_BOT)
    with ServedSite(
        tmp_path,
        bot,
        **settings,
        BOT_WORKER_POOL_SIZE="4",
        BOT_JOB_MAX_ATTEMPTS="5",
        BOT_JOB_RETRY_BASE=str(RETRY_BASE_SECONDS),
        BOT_JOB_RETRY_MAX="2",
    ) as site:
        queue = DatabaseQueue(open_database(address), "bot_jobs", RetryPolicy())
        arrivals = threading.Thread(target=enqueue_for_a_while, args=(queue, random.Random(1)))
        arrivals.start()
        kills = kill_for_a_while(site.pool.pid, random.Random(2))
        arrivals.join()
        wait_until(
            lambda: nothing_is_left(queue),
            lambda: (queue.counts(), tail(site.log)),
        )
        states = {job.update_id or 0: job.status for job in queue.newest(EVERYTHING)}
        queue.close()

    notes = read_journal(tmp_path / "journal")
    runs, wrong = read_runs(notes, kills)
    lanes = {note.update: note.lane for note in sorted(notes, key=lambda note: note.update)}
    wrong += find_wrongs(Story(lanes, states, runs, kills, RETRY_BASE_SECONDS))
    print(
        f"{len(states)} updates, {len(runs)} runs, {len(kills)} workers killed, {sum(bool(k.bots) for k in kills)} "
        f"with a bot; failed: {sum(state == 'failed' for state in states.values())}"
    )
    assert wrong == []
    assert len(kills) >= 6  # a pool whose workers die waits longer and longer before it starts new ones
    assert any(kill.bots for kill in kills)
    assert all(states[number] == "failed" for number in states if number % ALWAYS_FAILS == 0)
