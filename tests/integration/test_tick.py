"""`worker.py` as an address: under a WSGI server without a pool, and as a CGI script under Apache, both modules."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.support.servers.databases import let_leases_run_out, let_pass
from tests.support.servers.idle_installation import COUNTING_BOT, GATED_BOT, Ticks
from tests.support.servers.site import wait_until
from tests.support.servers.told import is_told
from tests.support.servers.web_hosts import TICK_TOKEN, WebHost, in_background, is_alive, parent_of
from tests.support.waiting import eventually

MakeHost = Callable[..., WebHost]
MakeWsgiHost = Callable[..., tuple[WebHost, Ticks]]
WRONG = "add ?token=… with the value of BOT_TICK_TOKEN to the address\n"
CLOSED = "BOT_TICK_TOKEN is empty, so this address is closed: set it in the settings file and add ?token=… here\n"


# --- what it answers ---


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_works_off_what_is_due_and_says_in_one_line_what_it_did(make_web_host: MakeHost, method: str) -> None:
    host = make_web_host(COUNTING_BOT)
    for number in (1, 2, 3):
        host.send(number)

    answer = host.tick(method=method)

    assert (answer.status, answer.body) == (200, b"ok 3 run, 3 done, 0 waiting\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert host.counts()["done"] == 3
    assert host.tick(method=method).body == b"ok 0 run, 0 done, 0 waiting\n"


def test_a_look_with_head_works_too_and_has_no_body(make_web_host: MakeHost) -> None:
    host = make_web_host(COUNTING_BOT)
    host.send(1)

    answer = host.tick(method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert host.counts()["done"] == 1


def test_what_is_not_done_is_told(make_web_host: MakeHost) -> None:
    host = make_web_host("import json, sys; sys.exit(json.load(sys.stdin)['update_id'] == 2)", BOT_JOB_RETRY_BASE="600")
    for number in (1, 2):
        host.send(number)

    assert host.tick().body == b"ok 2 run, 1 done, 1 waiting\n"
    assert "job will be retried" in host.drain_log()


@pytest.mark.parametrize("query", ["", "?token=", "?token=tick", f"?token={TICK_TOKEN}x", "?token=%ff", "?t=1"])
def test_without_the_token_nothing_is_started(make_web_host: MakeHost, query: str) -> None:
    host = make_web_host(COUNTING_BOT)
    host.send(1)

    answer = host.tick(query)

    assert (answer.status, answer.body.decode()) == (403, WRONG)
    assert host.counts()["pending"] == 1
    assert host.drain_log() == ""


def test_while_no_token_is_set_the_address_is_closed(make_web_host: MakeHost) -> None:
    host = make_web_host(COUNTING_BOT, BOT_TICK_TOKEN="")
    host.send(1)

    for query in ("", "?token=", "?token=anything"):
        assert (host.tick(query).status, host.tick(query).body.decode()) == (403, CLOSED)
    assert host.counts()["pending"] == 1


def test_another_method_is_refused(make_web_host: MakeHost) -> None:
    answer = make_web_host(COUNTING_BOT).tick(method="DELETE")

    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("given", ["0", "26", "-1", "soon", "1e1", "%d9%a1"])
def test_a_time_that_is_none_is_named(make_web_host: MakeHost, given: str) -> None:
    answer = make_web_host(COUNTING_BOT).tick(f"?token={TICK_TOKEN}&seconds={given}")

    assert answer.status == 400
    assert "expected a whole number from 1 to 25" in answer.body.decode()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"BOT_LEGACY_PATH": "../absent.php"},
            "error: the bot or PHP is missing; the reason is in the file .ht-drain.log",
        ),
        ({"BOT_PHP_BINARY": "/absent", "BOT_LEGACY_PATH": "../bot.php", "BOT_LEGACY_MODE": "cgi"}, "error: "),
    ],
    ids=["no bot", "no PHP"],
)
def test_a_drain_that_cannot_work_is_told_to_the_cron_and_explained_to_the_owner(
    make_web_host: MakeHost, settings: dict[str, str], line: str
) -> None:
    host = make_web_host(COUNTING_BOT, **settings)

    answer = host.tick()

    assert answer.status == 503
    assert answer.body.decode().startswith(line)
    assert len(host.drain_log().splitlines()) == 1
    assert "error: " in host.drain_log()


# --- one at a time ---


def test_of_two_at_once_one_works_and_the_other_says_busy(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT)
    host.send(1)
    first = in_background(host.tick)
    host.wait_for_bot(1)

    assert (host.tick().status, host.tick().body) == (200, b"busy\n")

    host.let_go()
    assert first.result(60).body == b"ok 1 run, 1 done, 0 waiting\n"


def test_of_twelve_at_once_one_works(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT)
    host.send(1)
    answers = [in_background(host.tick) for _ in range(12)]
    host.wait_for_bot(1)
    wait_until(lambda: sum(answer.done() for answer in answers) == 11, host.logs)
    host.let_go()

    said = sorted(answer.result(60).body for answer in answers)

    assert said == [b"busy\n"] * 11 + [b"ok 1 run, 1 done, 0 waiting\n"]


def test_beside_a_pool_it_starts_nothing(make_wsgi_host: MakeWsgiHost) -> None:
    host, ticks = make_wsgi_host(COUNTING_BOT)
    ticks.start("worker_pool.py")
    ticks.wait_for_ear()

    assert host.tick().body == b"busy\n"
    assert host.drain_log() == ""


# --- jobs in flight ---

# Long enough for a worker to start on a busy machine; the bots here take longer.
TICK_SECONDS = 8


def test_a_job_longer_than_the_tick_is_finished_after_the_answer(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT)
    host.send(1)
    host.send(2, chat=1)
    began = time.monotonic()

    answer = host.tick(f"?token={TICK_TOKEN}&seconds={TICK_SECONDS}")

    assert answer.body == b"ok 0 run, 0 done, 1 waiting, still running\n"
    assert host.counts()["processing"] == 1
    while time.monotonic() < began + 2 * TICK_SECONDS + 1:  # the worker's time is over, too, which began later
        time.sleep(0.1)
    host.let_go()
    host.wait_for_counts(done=1, pending=1)
    host.wait_until_nothing_is_left()
    assert [job["attempts"] for job in host.jobs() if job["status"] == "done"] == [1]
    assert host.tick().body == b"ok 1 run, 1 done, 0 waiting\n"


def test_while_the_last_job_of_a_tick_runs_the_next_tick_works(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT)
    host.send(1)
    assert b"still running" in host.tick(f"?token={TICK_TOKEN}&seconds={TICK_SECONDS}").body
    host.send(2)

    def is_not_busy() -> bool:  # the first one's time is over by its own clock, which began later than ours
        answers.append(host.tick(f"?token={TICK_TOKEN}&seconds={TICK_SECONDS}").body)
        return answers[-1] != b"busy\n"

    answers: list[bytes] = []
    eventually(is_not_busy)

    assert answers[-1] == b"ok 0 run, 0 done, 0 waiting, still running\n"
    host.wait_for_bot(2)
    assert host.tick(f"?token={TICK_TOKEN}&seconds={TICK_SECONDS}").body == b"busy\n"
    host.let_go()
    host.wait_for_counts(done=2)


def test_a_client_that_leaves_takes_nothing_with_it(make_web_host: MakeHost) -> None:
    host = make_web_host(GATED_BOT)
    host.send(1)
    parts = urlsplit(host.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", f"{parts.path}/worker.py?token={TICK_TOKEN}")
    host.wait_for_bot(1)
    connection.close()

    host.let_go()

    host.wait_for_counts(done=1)
    assert [job["attempts"] for job in host.jobs()] == [1]


def test_a_web_server_that_ends_leaves_the_drain_to_finish(make_wsgi_host: MakeWsgiHost) -> None:
    host, ticks = make_wsgi_host(GATED_BOT)
    host.send(1)
    answer = in_background(host.tick)
    host.wait_for_bot(1)

    host.server.kill()
    assert answer.exception(30) is not None
    host.let_go()

    ticks.wait_for_states({1: "done"})
    assert ticks.attempts() == {1: 1}


@pytest.fixture(params=["sqlite", "mariadb-10.11"])
def in_flight(
    request: pytest.FixtureRequest, make_wsgi_host: MakeWsgiHost
) -> tuple[WebHost, Ticks, int, Callable[[], bytes]]:
    """A tick whose bot runs: the drain's process id, and what the tick answers in the end."""
    host, ticks = make_wsgi_host(GATED_BOT, request.param, BOT_WORKER_SLOTS="1")
    for number in (1, 2):
        host.send(number)
    answer = in_background(host.tick)
    drain = parent_of(host.wait_for_bot(1))
    assert drain in host.drains()
    return host, ticks, drain, lambda: answer.result(60).body


InFlight = tuple[WebHost, Ticks, int, Callable[[], bytes]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_drain_that_is_told_to_stop_finishes_its_job_and_the_tick_says_so(
    in_flight: InFlight, number: signal.Signals
) -> None:
    host, ticks, drain, answer = in_flight

    os.kill(drain, number)
    wait_until(lambda: is_told(drain), lambda: "the handler has not run")
    host.let_go()

    assert answer() == b"ok 1 run, 1 done, 1 waiting\n"
    assert ticks.states() == {1: "done", 2: "pending"}
    assert ticks.attempts() == {1: 1, 2: 0}


def test_at_once_means_that_the_bot_is_ended_and_the_job_given_back(in_flight: InFlight) -> None:
    _, ticks, drain, answer = in_flight

    os.kill(drain, signal.SIGQUIT)

    assert answer() == b"ok 0 run, 0 done, 2 waiting\n"
    assert ticks.states() == {1: "pending", 2: "pending"}
    assert ticks.attempts() == {1: 0, 2: 0}


def test_a_drain_that_is_killed_is_told_and_the_next_tick_recovers(in_flight: InFlight) -> None:
    host, ticks, drain, answer = in_flight
    bot = host.wait_for_bot(1)

    os.kill(drain, signal.SIGKILL)

    assert answer() == b"error: the drain failed; the reason is in the file .ht-drain.log of the data folder\n"
    wait_until(lambda: not is_alive(bot), lambda: bot)
    let_leases_run_out(ticks.queue)
    host.let_go()
    for _ in range(2):  # the job that is given back is due a second later
        host.tick()
        let_pass(ticks.queue, 5)
    host.tick()
    ticks.wait_for_states({1: "done", 2: "done"})
    assert ticks.attempts() == {1: 2, 2: 1}
