"""A worker while the bot's side is down, on a real SQLite queue: what it claims, what it asks, what it gives back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.queue.history import read_history
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.outages import Outage, Outages
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.telegram.update import Update
from tests.support.fakes.worker_bench import DONE, FAILED, Bench
from tests.support.servers.databases import let_pass

MISSING = RunResult(End.NOT_STARTED, 0.0, "BOT_LEGACY_PATH: there is no bot at /x/bot.php")
REFUSES = RunResult(End.RESPONDED, 0.1, http_status=400)
POLICY = RetryPolicy(max_attempts=6, base_seconds=1, max_seconds=2)


class Scene(Bench):
    """A worker, a bot that does per update as `result_of` says, and time that passes in the database as well."""

    def __init__(self, folder: Path, policy: RetryPolicy = POLICY) -> None:
        super().__init__(folder, policy)
        self.result_of: Callable[[str], RunResult] = lambda _: FAILED
        self.runner.during = self._decide
        self.stop.during_wait = lambda: let_pass(self.queue, self.stop.waits[-1])
        self.outages = Outages(self.queue.table)
        self.began_at: list[float] = []

    def post(self, *lanes: str, payload: str = "") -> list[int]:
        """An update for each of the lanes; its payload is `lane number`."""
        return [
            self.queue.enqueue(Update(payload or f"{lane} {number}", None, "message", lane)).job_id
            for number, lane in enumerate(lanes)
        ]

    @property
    def outage(self) -> Outage | None:
        """As it is stored."""
        return self.outages.read().outage

    def open(self) -> None:
        """Open it, by a bot that is missing; the job is a lane of its own."""
        self.post("first")
        result, self.result_of = self.result_of, lambda _: MISSING
        self.loop(max_jobs=1)
        self.result_of = result
        assert self.outage is not None

    def fresh_loop(self, **limits: Any) -> Any:
        """A new worker, in a loop with these limits."""
        self.make_worker()
        return self.loop(**{"sleep_seconds": 1000.0, **limits})

    def jobs(self) -> list[JobSummary]:
        """All of them, oldest first."""
        return list(reversed(self.queue.newest(1000)))

    def _decide(self, tick: Callable[[], None]) -> None:
        tick()
        self.began_at.append(self.clock.now)
        self.runner.result = self.result_of(self.runner.payloads[-1])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_two_chats_that_fail_alike_open_it_and_lose_no_attempt(scene: Scene):
    """Given attempts that would be used up after some seconds."""
    scene.post("chat:7", "chat:8")

    scene.loop(max_seconds=120, sleep_seconds=1000.0)

    assert [(job.status, job.attempts) for job in scene.jobs()] == [("pending", 0), ("pending", 0)]
    assert scene.outage is not None
    assert scene.outage.cause == "exit code 1"


def test_an_outage_of_an_hour_ends_with_every_update_done_in_the_order_of_its_chat(scene: Scene):
    """F7: the real queue and the real worker; the clock of both is moved by their waits."""
    back_at = scene.clock.now + 3600
    scene.result_of = lambda _: DONE if scene.clock.now >= back_at else FAILED
    scene.post("chat:7", "chat:8")
    minutes = iter(range(1, 60))
    next_post = [scene.clock.now + 60]

    def pass_time() -> None:
        let_pass(scene.queue, scene.stop.waits[-1])
        if scene.clock.now >= next_post[0] and (number := next(minutes, None)) is not None:
            scene.post(f"chat:{7 + number % 2}")
            next_post[0] += 60

    scene.stop.during_wait = pass_time
    scene.loop(max_seconds=3720, sleep_seconds=20.0)

    assert {job.status for job in scene.jobs()} == {"done"}
    assert {job.attempts for job in scene.jobs()} == {1}
    done = sorted(scene.jobs(), key=lambda job: (job.processed_at, job.id))
    for lane in ("chat:7", "chat:8"):
        ids = [job.id for job in done if job.lane == lane]
        assert ids == sorted(ids)
    assert scene.outage is None


def test_it_is_tried_once_in_a_step_and_the_steps_double(scene: Scene):
    scene.post("chat:1", "chat:2", "chat:3", "chat:4", "chat:5")

    started = time.monotonic()
    scene.loop(max_seconds=400, sleep_seconds=1000.0)
    spent = time.monotonic() - started  # goes by in the database, beside the time of the test

    opened_by = 5
    probes = scene.began_at[opened_by:]
    pauses = [later - earlier for earlier, later in zip(scene.began_at[opened_by - 1 :], probes)]
    for pause, step in zip(pauses, (2, 4, 8, 16, 32, 60, 60, 60)):
        assert step - spent <= pause <= step + 1.5 + spent, (pauses, spent)
    assert len(pauses) in (8, 9, 10), pauses


def test_a_missing_bot_opens_it_at_once_whatever_the_lanes(scene: Scene):
    scene.result_of = lambda _: MISSING
    scene.post("chat:1", "chat:1", "chat:1")

    scene.loop(max_jobs=1)

    assert scene.outage is not None
    assert [job.attempts for job in scene.jobs()] == [0, 0, 0]


def test_a_runner_that_raises_that_the_bot_is_missing_is_the_same(scene: Scene):
    def raise_it(_: str) -> RunResult:
        raise BotMissing("BOT_PHP_BINARY: there is no php-cgi")

    scene.result_of = raise_it
    scene.post("chat:1")

    scene.loop(max_jobs=1)

    assert scene.outage is not None
    assert "no php-cgi" in scene.outage.cause
    assert scene.jobs()[0].attempts == 0


def test_what_waits_is_explained_with_the_job(scene: Scene):
    scene.open()

    (job,) = scene.jobs()
    rows = scene.sql("SELECT history FROM bot_jobs")
    assert [entry.outcome for entry in read_history(str(rows[0][0]))] == ["outage"]
    assert "there is no bot" in (job.error_message or "")


def test_a_single_chat_that_always_fails_stops_nobody_and_fails_after_its_attempts(scene: Scene):
    scene.result_of = lambda payload: FAILED if payload.startswith("bad") else DONE
    scene.post("bad", "chat:1", "chat:2", "chat:3")

    scene.loop(max_seconds=60, sleep_seconds=1000.0)

    assert [job.status for job in scene.jobs()] == ["failed", "done", "done", "done"]
    assert scene.jobs()[0].attempts == POLICY.max_attempts


def test_a_single_chat_that_fails_alone_fails_after_its_attempts(scene: Scene):
    scene.post("chat:1", "chat:1")

    scene.loop(max_seconds=60, sleep_seconds=1000.0)

    assert [job.status for job in scene.jobs()] == ["failed", "failed"]


def test_what_the_bot_refuses_is_no_evidence(scene: Scene):
    scene.result_of = lambda _: REFUSES
    scene.post(*(f"chat:{number}" for number in range(12)))

    scene.loop(max_seconds=30, sleep_seconds=1000.0)

    assert {job.status for job in scene.jobs()} == {"failed"}
    assert scene.outage is None


def test_a_probe_that_fails_by_itself_is_followed_by_one_of_another_lane(scene: Scene):
    """Given a bot that is back, and first in the queue an update that always fails."""
    (poison,) = scene.post("bad")
    scene.result_of = lambda _: MISSING
    scene.loop(max_jobs=1)
    scene.post("chat:1", "chat:2")
    scene.result_of = lambda payload: FAILED if payload.startswith("bad") else DONE

    scene.fresh_loop(max_seconds=60)

    assert [job.status for job in scene.jobs()] == ["failed", "done", "done"]
    assert scene.job(poison).attempts == POLICY.max_attempts
    assert scene.outage is None


def test_a_probe_that_the_bot_refuses_is_followed_by_another_soon(scene: Scene):
    scene.open()
    scene.result_of = lambda payload: REFUSES if payload.startswith("first") else DONE
    scene.post("chat:1")

    scene.fresh_loop(max_seconds=10)

    assert [job.status for job in scene.jobs()] == ["failed", "done"]


def test_an_urgent_update_is_tried_first(scene: Scene):
    scene.open()
    scene.post("chat:1")
    scene.queue.enqueue(Update("payment", None, "pre_checkout_query", "user:1", 10.0, 10.0))

    let_pass(scene.queue, 3)
    scene.fresh_loop(max_jobs=1)

    assert scene.runner.payloads[-1] == "payment"


def test_jobs_of_one_list_that_were_not_begun_are_given_back(scene: Scene):
    """Given a quick bot, of which a worker claims many at once."""
    scene.result_of = lambda _: RunResult(End.EXITED, 0.001, exit_code=0)
    scene.post(*(f"chat:{number}" for number in range(40)))
    scene.loop(max_jobs=20)
    scene.result_of = lambda _: MISSING

    scene.fresh_loop(max_seconds=1)

    waiting = [job for job in scene.jobs() if job.status != "done"]
    assert {(job.status, job.attempts) for job in waiting} == {("pending", 0)}


def test_another_worker_claims_nothing_and_asks_next_to_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    scene.open()
    scene.post(*(f"chat:{number}" for number in range(20)))
    scene.make_worker()
    asked = count_statements(scene, monkeypatch)

    scene.loop(max_seconds=300, sleep_seconds=1.0)

    # A worker that nobody wakes looks every second; the pool's are woken when the turn has come.
    assert len(scene.began_at) <= 10
    assert asked() <= 300


def count_statements(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    real, count = scene.database.run, [0]

    def run(*arguments: Any, **named: Any) -> Any:
        count[0] += 1
        return real(*arguments, **named)

    let_time_pass = scene.stop.during_wait
    monkeypatch.setattr(scene.database, "run", run)

    def uncounted() -> None:
        before = count[0]
        let_time_pass()
        count[0] = before

    scene.stop.during_wait = uncounted
    return lambda: count[0]


def test_a_drain_ends_and_says_why(scene: Scene, caplog: pytest.LogCaptureFixture):
    scene.open()

    tally = scene.fresh_loop(drain=True)

    assert (tally.runs, scene.stop.waits[-1:]) == (0, [])
    assert "the bot's side is down" in caplog.text
    assert "there is no bot" in caplog.text


def test_a_drain_probes_when_the_turn_has_come_and_goes_on_with_all_when_the_bot_is_back(scene: Scene):
    scene.open()
    scene.post("chat:1", "chat:2")
    scene.result_of = lambda _: DONE
    let_pass(scene.queue, 3)

    tally = scene.fresh_loop(drain=True)

    assert (tally.runs, tally.succeeded) == (3, 3)


def test_retry_after_is_kept_to_and_uses_no_attempt(scene: Scene):
    scene.result_of = lambda _: RunResult(End.RESPONDED, 0.1, http_status=503, retry_after="40")
    scene.post("chat:1", "chat:2", "chat:3", "chat:4", "chat:5", "chat:6")

    scene.loop(max_seconds=30, sleep_seconds=1000.0)

    assert {(job.status, job.attempts) for job in scene.jobs()} == {("pending", 0)}
    assert len(scene.began_at) == len(set(scene.runner.payloads)), "one was run again before its time"


def test_switched_off_every_update_is_tried_as_often_as_the_settings_say(tmp_path: Path):
    scene = Scene(tmp_path, RetryPolicy(3, 1, 1, has_breaker=False))
    scene.result_of = lambda _: MISSING
    scene.post("chat:1", "chat:2", "chat:3")

    scene.loop(max_seconds=30, sleep_seconds=1000.0)

    assert {(job.status, job.attempts) for job in scene.jobs()} == {("failed", 3)}
    assert scene.outage is None


def test_switched_off_while_it_is_open_it_is_not_waited_for(tmp_path: Path):
    Scene(tmp_path).open()
    scene = Scene(tmp_path, RetryPolicy(3, 1, 1, has_breaker=False))
    scene.result_of = lambda _: DONE

    scene.loop(max_seconds=10)

    assert [job.status for job in scene.jobs()] == ["done"]


def test_a_probe_that_is_stopped_lets_another_worker_probe_at_once(scene: Scene):
    scene.open()
    let_pass(scene.queue, 3)

    def stop_at_once(_: str) -> RunResult:
        scene.stop.request(signal.SIGQUIT)
        return DONE

    scene.result_of = stop_at_once
    scene.runner.during = lambda tick: [stop_at_once(""), tick()].clear()
    scene.fresh_loop(max_seconds=10)

    outage = scene.outage
    assert outage is not None
    assert (outage.prober, outage.seconds_to_probe <= 0, outage.step) == ("", True, 0)
    assert [(job.status, job.attempts) for job in scene.jobs()] == [("pending", 0)]


def test_a_short_outage_costs_an_attempt_of_nobody_when_it_is_over(scene: Scene):
    back_at = scene.clock.now + 30
    scene.result_of = lambda _: DONE if scene.clock.now >= back_at else FAILED
    scene.post(*(f"chat:{number % 4}" for number in range(12)))

    scene.loop(max_seconds=120, sleep_seconds=1000.0)

    assert {(job.status, job.attempts) for job in scene.jobs()} == {("done", 1)}
    assert scene.outage is None


def test_a_worker_at_its_last_job_does_not_spin_when_the_turn_has_come(scene: Scene):
    """Given a run that goes on, no other job that may be begun, and a turn that this worker cannot take."""
    scene.open()
    scene.make_worker()
    scene.worker.gate.claimed_nothing()
    assert scene.worker.gate.is_open

    scene.clock.advance(100)

    assert scene.worker.claim(0) == 0
    assert scene.worker.seconds_to_next_claim() > 0.1


def test_an_outage_that_another_worker_ended_lets_this_one_claim_when_it_is_woken(scene: Scene):
    scene.open()
    scene.post("chat:1")
    scene.make_worker()
    scene.worker.gate.claimed_nothing()
    scene.outages.close()

    scene.clock.advance(2.5)

    assert scene.worker.claim() == 1


def test_the_database_is_away_while_a_run_fails(scene: Scene):
    """Given an outage of both: the run is stored once the database is back, and nothing is lost."""
    scene.post("chat:1")
    back_at = scene.clock.now + 5

    def fail_and_lose_the_database(_: str) -> RunResult:
        scene.database.away = lambda: scene.clock.now < back_at
        return MISSING

    scene.result_of = fail_and_lose_the_database
    scene.stop.during_wait = lambda: None
    assert scene.work_one() is not None

    (job,) = scene.jobs()
    assert (job.status, job.attempts) == ("pending", 0)
