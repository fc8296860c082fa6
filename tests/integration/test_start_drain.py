"""BOT_WORKER_KICK=1: the webhook alone keeps a bot running, under a WSGI server and under Apache with both CGI modules.

No pool, no cron, no tick: whatever is run here was started by a request that stored an update.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers.children import command_of
from tests.support.servers.databases import let_leases_run_out
from tests.support.servers.idle_installation import COUNTING_BOT, GATED_BOT, Ticks
from tests.support.servers.site import wait_until
from tests.support.servers.told import is_told
from tests.support.servers.web_hosts import OVERLAP_BOT, WebHost, descriptors_of, in_background, is_alive, parent_of

MakeHost = Callable[..., WebHost]
MakeWsgiHost = Callable[..., tuple[WebHost, Ticks]]
KICK = {"BOT_WORKER_KICK": "1"}
# Fails the first time.
SECOND_TIME_BOT = """
import pathlib, sys
try:
    pathlib.Path("tried").touch(exist_ok=False)
except FileExistsError:
    sys.exit(0)
sys.exit(1)
"""


def test_every_update_is_run_without_anybody_coming_again(make_web_host: MakeHost) -> None:
    """Given updates with so much time between them that each needs a drain of its own."""
    host = make_web_host(COUNTING_BOT, **KICK)

    for number in (1, 2, 3):
        assert host.send(number).status == 200
        host.wait_for_counts(done=number)
        host.wait_until_nothing_is_left()

    assert (host.folder / "runs").read_text().split() == ["1", "2", "3"]
    assert host.drain_log() == ""


def test_without_the_setting_nothing_is_started(make_web_host: MakeHost) -> None:
    host = make_web_host(COUNTING_BOT)

    for number in range(1, 6):
        host.send(number)

    assert not (host.data_folder / ".ht-tick.lock").exists()
    assert host.counts()["pending"] == 5


def test_the_answer_does_not_wait_for_the_bot(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT, **KICK)

    assert host.send(1).json() == {"ok": True, "queued_job_id": 1}  # though the bot waits until it is let go

    host.wait_for_bot(1)
    assert host.counts()["processing"] == 1
    host.let_go()
    host.wait_for_counts(done=1)


def test_a_request_that_stores_nothing_starts_nothing(make_web_host: MakeHost) -> None:
    host = make_web_host(COUNTING_BOT, **KICK, BOT_WEBHOOK_SECRET="hush")

    assert [host.send(number).status for number in range(1, 6)] == [401] * 5

    assert not (host.data_folder / ".ht-tick.lock").exists()


def test_thirty_webhooks_at_once_have_one_drain_and_nothing_is_left(make_web_host: MakeHost) -> None:
    host = make_web_host(OVERLAP_BOT, BOT_WORKER_SLOTS="1", **KICK)
    most: list[int] = []

    answers = [in_background(lambda number=number: host.send(number)) for number in range(1, 31)]
    while not all(answer.done() for answer in answers):
        most.append(len({pid for pid in host.drains() if is_drain(pid)}))

    assert Counter(answer.result(60).status for answer in answers) == {200: 30}
    host.wait_for_counts(done=30)
    host.wait_until_nothing_is_left()
    runs = host.runs()
    assert [sign for sign, *_ in runs] == ["+", "-"] * 30  # one after the other
    assert Counter(update for sign, update, _ in runs if sign == "+") == dict.fromkeys(range(1, 31), 1)
    assert max(most) <= 1
    assert host.drain_log() == ""


def test_a_drain_has_nothing_of_the_web_server(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT, **KICK)
    host.send(1)
    drain = parent_of(host.wait_for_bot(1))

    descriptors = descriptors_of(drain)
    environment = Path(f"/proc/{drain}/environ").read_bytes()

    log = str(host.data_folder / ".ht-drain.log")
    assert {number: descriptors[number] for number in (0, 1, 2)} == {0: "/dev/null", 1: log, 2: log}
    others = [place for number, place in descriptors.items() if number > 2]
    assert not [place for place in others if "error.log" in place or "access.log" in place or "cgid" in place]
    assert os.getsid(drain) == drain
    for name in (b"GATEWAY_INTERFACE", b"QUERY_STRING", b"HTTP_HOST", b"REMOTE_ADDR"):
        assert name not in environment


def test_a_web_server_that_ends_leaves_the_drain_to_finish(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT, **KICK)
    host.send(1)
    bot = host.wait_for_bot(1)
    drain = parent_of(bot)

    host.server.stop()
    assert is_alive(drain)
    assert is_alive(bot)
    host.let_go()

    wait_until(lambda: not is_alive(drain), host.drain_log)
    assert host.drain_log() == ""


def test_what_failed_is_tried_again_when_it_is_due(make_web_host: MakeHost) -> None:
    host = make_web_host(SECOND_TIME_BOT, **KICK, BOT_JOB_RETRY_BASE="1")

    host.send(1)

    host.wait_for_counts(done=1)
    assert [(job["status"], job["attempts"]) for job in host.jobs()] == [("done", 2)]


def test_an_update_that_comes_while_a_drain_runs_is_taken_by_it(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT, **KICK)
    host.send(1)
    drain = parent_of(host.wait_for_bot(1))

    host.send(2)
    host.let_go()

    host.wait_for_counts(done=2)
    assert all(f":{drain}-" in job["reserved_by"] for job in host.jobs())


def test_beside_a_pool_nothing_is_started(make_wsgi_host: MakeWsgiHost) -> None:
    host, ticks = make_wsgi_host(COUNTING_BOT, **KICK)
    ticks.start("worker_pool.py")
    ticks.wait_for_ear()

    host.send(1)

    ticks.wait_for_states({1: "done"})
    assert not (host.data_folder / ".ht-tick.lock").exists()


@pytest.fixture(params=["sqlite", "mariadb-10.11"])
def in_flight(request: pytest.FixtureRequest, make_wsgi_host: MakeWsgiHost) -> tuple[WebHost, Ticks, int]:
    """A drain that the first of two updates has started, and its bot at work."""
    # One slot: a bot that takes half a second has others run beside it, and how long the tests take is not fixed.
    host, ticks = make_wsgi_host(GATED_BOT, request.param, BOT_WORKER_SLOTS="1", **KICK)
    host.send(1)
    drain = parent_of(host.wait_for_bot(1))
    host.send(2)
    return host, ticks, drain


InFlight = tuple[WebHost, Ticks, int]


def test_a_drain_that_is_told_to_stop_finishes_its_job_and_nobody_follows(in_flight: InFlight) -> None:
    """Who ends it does not want another one in its place; the next update brings one."""
    host, ticks, drain = in_flight

    os.kill(drain, signal.SIGTERM)
    wait_until(lambda: is_told(drain), lambda: "the handler has not run")
    host.let_go()

    wait_until(lambda: not is_alive(drain), ticks.logs)
    host.wait_until_nothing_is_left()
    assert ticks.states() == {1: "done", 2: "pending"}
    host.send(3)
    ticks.wait_for_states({1: "done", 2: "done", 3: "done"})
    assert ticks.attempts() == {1: 1, 2: 1, 3: 1}


def test_after_a_drain_that_was_killed_the_next_update_brings_another(in_flight: InFlight) -> None:
    host, ticks, drain = in_flight
    bot = host.wait_for_bot(1)

    os.kill(drain, signal.SIGKILL)
    wait_until(lambda: not is_alive(bot), lambda: bot)
    host.wait_until_nothing_is_left()
    let_leases_run_out(ticks.queue)
    host.let_go()
    host.send(3)

    ticks.wait_for_states({1: "done", 2: "done", 3: "done"})
    assert ticks.attempts() == {1: 2, 2: 1, 3: 1}


def is_drain(pid: int) -> bool:
    """Whether it is a drain, and not the request that is just starting one."""
    return "--flight" in command_of(pid).split()
