"""Histories of a WorkerPool: what happens, second by second, with a clock and children that do as the test says."""

from __future__ import annotations

import signal

import pytest

from scalable.lib.errors import ConfigurationError, ExitCode, ScalableError
from scalable.lib.pool.supervisor import STEADY_SECONDS, State, WorkerPool
from tests.support.fakes.clock import FakeClock

TERM, INT, QUIT, KILL, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGHUP
GRACE_SECONDS = 70.0


class FakeChild:
    """A worker that lives until the test ends it, or obeys signals; remembers those it got."""

    def __init__(self, name: str, pid: int) -> None:
        self.obeys = False
        self.name = name
        self.pid = pid
        self.exit_code: int | None = None
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return self.exit_code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if self.obeys:
            self.exit_code = 0


class History:
    """A pool and everything that happened to it."""

    def __init__(self, size: int = 2) -> None:
        self.clock = FakeClock()
        self.children: list[FakeChild] = []
        self.spawn_error: OSError | None = None
        self.spawn_tries = 0
        self.died: list[str] = []
        self.problem: ScalableError | None = None
        self.holds = False
        self.pool = WorkerPool(
            size,
            self._spawn,
            GRACE_SECONDS,
            self.died.append,
            self.clock,
            check=self._check,
            may_start=lambda: not self.holds,
        )

    def _spawn(self, name: str) -> FakeChild:
        self.spawn_tries += 1
        if self.spawn_error is not None:
            raise self.spawn_error
        self.children.append(FakeChild(name, 100 + len(self.children)))
        return self.children[-1]

    def _check(self) -> None:
        if self.problem is not None:
            raise self.problem

    def tick(self, after_seconds: float = 0.0) -> float:
        self.clock.advance(after_seconds)
        return self.pool.tick()

    def alive(self) -> list[FakeChild]:
        return [child for child in self.children if child.exit_code is None]

    def started_after(self, exit_code: int, lived_seconds: float = 0.0) -> float:
        """Let the newest child live, end it, and count the seconds until the next one is started."""
        self.clock.advance(lived_seconds)
        self.children[-1].exit_code = exit_code
        count = len(self.children)
        waited = 0.0
        self.tick()
        while len(self.children) == count:
            assert waited < 1000, "it was never started again"
            waited += 0.5
            self.tick(0.5)
        return waited


@pytest.fixture
def history() -> History:
    history = History()
    history.tick()
    return history


def test_all_workers_are_started_at_once_each_with_a_name_of_its_own():
    history = History(size=4)

    history.tick()

    assert len(history.children) == 4
    assert len({child.name for child in history.children}) == 4
    assert history.pool.state is State.RUNNING


def test_while_updates_are_held_no_worker_is_started_and_the_pool_stays():
    history = History()
    history.holds = True
    waits = [history.tick(1.0) for _ in range(100)]

    assert (history.spawn_tries, history.pool.state) == (0, State.RUNNING)
    assert min(waits) >= 0.5, "it does not ask again and again"

    history.holds = False
    history.tick(1.0)
    assert len(history.alive()) == 2


def test_workers_that_find_the_bot_unsuitable_are_started_again_when_it_is_not_any_more(history: History):
    history.holds = True
    for child in history.children:
        child.exit_code = ExitCode.BOT_MISSING
    for _ in range(100):
        history.tick(1.0)
    assert history.alive() == []

    history.holds = False
    history.tick(1.0)
    history.tick(1.0)
    assert len(history.alive()) == 2


def test_a_pool_that_holds_updates_can_be_stopped():
    history = History()
    history.holds = True
    history.tick()

    history.pool.handle(TERM)
    history.tick()

    assert (history.pool.state, history.pool.exit_code) == (State.STOPPED, ExitCode.OK)


def test_workers_that_live_are_left_alone(history: History):
    for _ in range(100):
        history.tick(1.0)

    assert len(history.children) == 2
    assert [child.signals for child in history.children] == [[], []]


def test_a_worker_that_ended_for_a_new_one_is_replaced_at_once(history: History):
    assert history.started_after(exit_code=0, lived_seconds=10.0) == 0.0


def test_a_worker_that_ends_in_order_again_and_again_is_started_less_and_less_often(history: History):
    assert [history.started_after(exit_code=0) for _ in range(3)] == [1, 2, 4]


def test_a_worker_that_keeps_dying_is_started_again_after_longer_and_longer_waits():
    history = History(size=1)
    history.tick()

    waits = [history.started_after(exit_code=1) for _ in range(9)]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_wait_starts_anew_after_a_worker_that_lived_a_minute():
    history = History(size=1)
    history.tick()
    assert [history.started_after(exit_code=1) for _ in range(4)] == [1, 2, 4, 8]

    assert history.started_after(exit_code=1, lived_seconds=59.5) == 16
    assert history.started_after(exit_code=1, lived_seconds=60.0) == 1
    assert history.started_after(exit_code=1) == 2


def test_one_dying_worker_does_not_slow_down_the_others(history: History):
    first, second = history.children

    first.exit_code = 1
    history.tick()
    history.tick(1.0)

    assert second.exit_code is None
    assert len(history.children) == 3
    assert history.children[2].name not in (first.name, second.name)


@pytest.mark.parametrize("exit_code", [ExitCode.OK, ExitCode.DATABASE_UNREACHABLE, ExitCode.BOT_MISSING])
def test_a_worker_that_ended_without_dying_is_started_again_and_held_no_job(history: History, exit_code: int):
    history.children[0].exit_code = exit_code

    history.tick()
    history.tick(1.0)

    assert len(history.children) == 3
    assert history.died == []


@pytest.mark.parametrize("exit_code", [1, -9, -11, -15])
def test_the_death_of_a_worker_is_reported_by_name_so_that_its_job_is_given_back(history: History, exit_code: int):
    dead = history.children[1]
    dead.exit_code = exit_code

    history.tick()
    history.tick(1.0)

    assert history.died == [dead.name]


def test_wrong_settings_stop_the_pool_with_exit_code_2(history: History):
    history.children[0].exit_code = ExitCode.BAD_CONFIGURATION

    history.tick()

    assert history.pool.state is State.STOPPING
    assert history.children[1].signals == [TERM]
    history.children[1].exit_code = 0
    history.tick()
    assert (history.pool.state, history.pool.exit_code) == (State.STOPPED, ExitCode.BAD_CONFIGURATION)
    assert len(history.children) == 2


@pytest.mark.parametrize("number", [TERM, INT])
def test_a_stop_lets_every_worker_finish(history: History, number: int):
    history.pool.handle(number)

    assert [child.signals for child in history.children] == [[TERM], [TERM]]
    history.tick(GRACE_SECONDS - 1)
    assert [child.signals for child in history.children] == [[TERM], [TERM]]
    for child in history.children:
        child.exit_code = 0
    history.tick()
    assert (history.pool.state, history.pool.exit_code) == (State.STOPPED, ExitCode.OK)


def test_a_worker_that_outlives_the_grace_time_gets_quit_and_then_kill(history: History):
    stubborn, obedient = history.children
    history.pool.handle(TERM)
    obedient.exit_code = 0

    history.tick(GRACE_SECONDS)
    assert (stubborn.signals, history.pool.state) == ([TERM, QUIT], State.KILLING)
    history.tick(4.9)
    assert stubborn.signals == [TERM, QUIT]
    history.tick(0.2)
    assert stubborn.signals == [TERM, QUIT, KILL]
    stubborn.exit_code = -9
    history.tick()

    assert obedient.signals == [TERM]
    assert history.pool.state is State.STOPPED
    assert history.died == [stubborn.name]


def test_kill_is_repeated_until_the_kernel_has_done_it(history: History):
    history.pool.handle(QUIT)

    for _ in range(3):
        history.tick(5.1)

    assert history.children[0].signals == [QUIT, KILL, KILL, KILL]
    assert history.pool.state is State.KILLING


@pytest.mark.parametrize(("first", "second"), [(INT, INT), (TERM, INT), (TERM, TERM), (TERM, QUIT)])
def test_a_second_signal_stops_at_once(history: History, first: int, second: int):
    history.pool.handle(first)
    history.pool.handle(second)

    assert [child.signals for child in history.children] == [[TERM, QUIT], [TERM, QUIT]]


def test_quit_stops_at_once(history: History):
    history.pool.handle(QUIT)

    assert [child.signals for child in history.children] == [[QUIT], [QUIT]]


def test_many_signals_cannot_put_off_the_kill(history: History):
    """Given one who presses Ctrl-C every second while a worker hangs."""
    for _ in range(12):
        history.pool.handle(INT)
        history.tick(1.0)

    assert KILL in history.children[0].signals


def test_the_end_of_a_child_is_a_signal_that_asks_for_nothing(history: History):
    history.pool.handle(signal.SIGCHLD)

    assert history.pool.state is State.RUNNING
    assert [child.signals for child in history.children] == [[], []]


def test_nothing_is_started_while_the_pool_stops(history: History):
    history.children[0].exit_code = 1
    history.tick()
    history.pool.handle(TERM)

    for _ in range(60):
        history.tick(1.0)

    assert len(history.children) == 2
    assert history.spawn_tries == 2


def test_a_dead_worker_is_reported_while_the_pool_stops_too(history: History):
    history.pool.handle(TERM)
    history.children[0].exit_code = -9

    history.tick()

    assert history.died == [history.children[0].name]


def test_a_worker_that_cannot_be_started_is_tried_again_later_and_the_pool_lives_on():
    history = History(size=1)
    history.spawn_error = BlockingIOError(11, "Resource temporarily unavailable")

    history.tick()
    tried = [history.spawn_tries]
    for _ in range(15):
        history.tick(1.0)
        tried.append(history.spawn_tries)

    assert [second for second in range(1, 16) if tried[second] > tried[second - 1]] == [1, 3, 7, 15]
    history.spawn_error = None
    history.tick(16.0)
    assert len(history.children) == 1
    assert history.died == []


def test_a_pool_that_could_start_no_worker_still_stops():
    history = History(size=2)
    history.spawn_error = OSError("no process left")
    history.tick()

    history.pool.handle(TERM)
    history.tick()

    assert history.pool.state is State.STOPPED


def test_the_pool_wakes_up_when_the_next_start_is_due(history: History):
    assert history.tick() == 1.0
    history.children[0].exit_code = 1
    history.tick()

    assert history.tick(0.75) == pytest.approx(0.25)


def test_a_pool_that_waits_for_its_last_worker_sleeps(history: History):
    """Given a stop during which one worker is gone already: there is nothing to be started early for."""
    history.pool.handle(TERM)
    history.children[0].exit_code = 0
    history.tick()

    assert history.tick(1.0) == 1.0


def test_the_pool_wakes_up_when_the_grace_time_ends(history: History):
    history.pool.handle(TERM)

    assert history.tick(GRACE_SECONDS - 0.25) == pytest.approx(0.25)


def told_to_leave(history: History) -> list[bool]:
    return [bool(child.signals) for child in history.children]


def test_hup_replaces_the_workers_one_by_one_and_the_others_go_on_meanwhile():
    history = History(size=3)
    history.tick()
    history.pool.handle(HUP)

    for number in range(3):
        history.tick()
        assert told_to_leave(history)[:3] == [True] * (number + 1) + [False] * (2 - number)
        history.children[number].exit_code = 0
        history.tick()  # its successor is started at once, and the next one stays until that one has come to stay
        assert len(history.children) == 4 + number
        assert told_to_leave(history)[:3] == [True] * (number + 1) + [False] * (2 - number)
        history.tick(STEADY_SECONDS)
    history.tick(100)

    assert [child.signals for child in history.children] == [[TERM]] * 3 + [[]] * 3
    assert history.pool.state is State.RUNNING
    assert history.died == []


def test_a_successor_that_does_not_start_keeps_the_others_where_they_are(history: History):
    history.pool.handle(HUP)
    history.tick()
    history.children[0].exit_code = 0
    history.tick()
    history.children[2].exit_code = 1

    for _ in range(10):
        history.tick(0.1)

    assert history.children[1].signals == []
    assert len(history.alive()) == 1


def test_settings_that_are_wrong_by_now_replace_no_worker(history: History):
    history.problem = ConfigurationError("BOT_WORKER_POOL_SIZE='four': expected a whole number")

    history.pool.handle(HUP)
    history.tick(100)

    assert [child.signals for child in history.children] == [[], []]
    assert history.pool.state is State.RUNNING


def test_a_worker_that_does_not_leave_gets_quit_and_then_kill(history: History):
    history.pool.handle(HUP)
    history.tick()
    history.tick(GRACE_SECONDS)
    history.tick(5.1)

    assert history.children[0].signals == [TERM, QUIT, KILL]
    history.children[0].exit_code = -9
    history.tick()
    assert history.died == [history.children[0].name]
    assert len(history.alive()) == 2


def test_a_second_hup_begins_anew_with_those_that_were_replaced_already(history: History):
    history.pool.handle(HUP)
    history.tick()
    history.children[0].exit_code = 0
    history.tick()
    history.tick(STEADY_SECONDS)
    assert history.children[1].signals == [TERM]

    history.pool.handle(HUP)
    history.children[1].exit_code = 0
    history.tick()
    history.tick(STEADY_SECONDS)

    assert history.children[2].signals == [TERM]


def test_a_stop_during_a_replacement_ends_every_worker(history: History):
    history.pool.handle(HUP)
    history.tick()
    history.pool.handle(TERM)
    for child in history.children:
        child.exit_code = 0

    history.tick()

    assert (history.pool.state, history.pool.exit_code) == (State.STOPPED, ExitCode.OK)
    assert len(history.children) == 2


def test_hup_in_a_terminal_means_that_it_was_closed(history: History):
    history.pool._hangup_stops = True

    history.pool.handle(HUP)

    assert history.pool.state is State.STOPPING


def test_run_supervises_until_everyone_is_gone(history: History):
    """Given children that end when they are told to, and a TERM that is waiting: the whole life, for real."""
    for child in history.children:
        child.obeys = True
    history.pool._signals.put(TERM)

    assert history.pool.run() is ExitCode.OK
    assert history.pool.state is State.STOPPED
