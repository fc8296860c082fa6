"""Watch: histories of looks and pokes, second by second, and when the next look is due."""

from __future__ import annotations

import pytest

from scalable.lib.pool.poll_schedule import CONVINCING_NOTIFICATIONS, QUIET_SECONDS, QUIET_STEP_SECONDS, PollSchedule
from scalable.lib.queue.job import QueueSnapshot
from tests.support.fakes.clock import FakeClock

STEP_SECONDS = 1.0


class History:
    """A queue, its watch, and the looks at it."""

    def __init__(self, id_step: int = 1) -> None:
        self.id_step = id_step
        self.clock = FakeClock()
        self.watch = PollSchedule(STEP_SECONDS, self.clock)
        self.newest_id = 100
        self.snapshot()

    def snapshot(self, due_in_seconds: float | None = None) -> float:
        self.watch.polled(QueueSnapshot(self.newest_id, due_in_seconds, False, self.id_step))
        return self.watch.next_poll_seconds()

    def arrives(self, *, notified: bool) -> None:
        self.newest_id += self.id_step
        if notified:
            self.watch.notified()

    def passes(self, seconds: float) -> float:
        """Time goes by, with a look whenever one is due; the pause before the last one."""
        ends = self.clock.now + seconds
        while self.clock.now < ends:
            pause = self.watch.next_poll_seconds()
            self.clock.advance(pause)
            self.snapshot()
        return pause


@pytest.fixture
def history() -> History:
    return History()


def test_looks_are_at_every_step_while_there_is_traffic(history: History):
    for _ in range(100):
        history.arrives(notified=True)
        history.clock.advance(1)
        assert history.snapshot() == STEP_SECONDS


def test_looks_are_rare_after_a_quiet_minute_where_ids_come_in_steps_of_three():
    history = History(id_step=3)
    history.arrives(notified=True)

    assert history.passes(QUIET_SECONDS + 20) == QUIET_STEP_SECONDS

    history.newest_id += 1  # at another server of the cluster, and so not announced here
    assert history.passes(QUIET_SECONDS + 20) == STEP_SECONDS


def test_looks_are_rare_after_a_quiet_minute(history: History):
    history.arrives(notified=True)

    assert history.passes(QUIET_SECONDS - 2) == STEP_SECONDS
    assert history.passes(20) == QUIET_STEP_SECONDS


def test_a_poke_ends_the_quiet(history: History):
    history.passes(2 * QUIET_SECONDS)

    history.arrives(notified=True)

    assert history.watch.next_poll_seconds() == STEP_SECONDS


def test_an_update_that_nobody_announced_ends_the_rare_looks_for_as_long_as_nobody_announces_any(history: History):
    """Given a webhook on another host, or another program that inserts rows."""
    history.passes(2 * QUIET_SECONDS)
    history.arrives(notified=False)
    history.passes(QUIET_STEP_SECONDS + 1)

    assert history.passes(10 * QUIET_SECONDS) == STEP_SECONDS


def test_some_announced_updates_in_a_row_bring_the_rare_looks_back(history: History):
    history.arrives(notified=False)
    history.passes(2 * QUIET_SECONDS)
    for _ in range(CONVINCING_NOTIFICATIONS):
        history.arrives(notified=True)
        history.passes(2)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_a_look_between_the_insert_and_its_poke_is_no_reason_for_doubt(history: History):
    history.newest_id += 1
    history.snapshot()
    history.watch.notified()
    history.passes(5)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_pokes_for_duplicates_are_no_credit_for_updates_that_are_not_announced(history: History):
    for _ in range(10):
        history.watch.notified()
    history.snapshot()
    history.arrives(notified=False)
    history.passes(3)

    assert history.passes(2 * QUIET_SECONDS) == STEP_SECONDS


def test_a_job_in_back_off_is_looked_for_when_it_is_due_and_not_sooner(history: History):
    history.passes(2 * QUIET_SECONDS)

    assert history.snapshot(due_in_seconds=4.2) == pytest.approx(4.2)
    assert history.snapshot(due_in_seconds=400) == QUIET_STEP_SECONDS
    assert history.snapshot(due_in_seconds=0.0001) >= 0.05


def test_a_job_that_is_due_already_changes_nothing(history: History):
    assert history.snapshot(due_in_seconds=-30) == STEP_SECONDS
