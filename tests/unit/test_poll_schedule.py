"""PollSchedule: histories of snapshots and notifications, second by second, and when the next poll is due."""

from __future__ import annotations

import pytest

from scalable.lib.pool.poll_schedule import CONVINCING_NOTIFICATIONS, QUIET_SECONDS, QUIET_STEP_SECONDS, PollSchedule
from scalable.lib.queue.job import QueueSnapshot
from tests.support.fakes.clock import FakeClock

STEP_SECONDS = 1.0


class History:
    """A queue, its schedule, and the snapshots of it."""

    def __init__(self, id_step: int = 1) -> None:
        self.id_step = id_step
        self.clock = FakeClock()
        self.schedule = PollSchedule(STEP_SECONDS, self.clock)
        self.newest_id = 100
        self.snapshot()

    def snapshot(self, due_in_seconds: float | None = None) -> float:
        self.schedule.polled(QueueSnapshot(self.newest_id, due_in_seconds, False, self.id_step))
        return self.schedule.next_poll_seconds()

    def arrives(self, *, notified: bool) -> None:
        self.newest_id += self.id_step
        if notified:
            self.schedule.notified()

    def passes(self, seconds: float) -> float:
        """Time goes by, with a snapshot whenever one is due; the pause before the last one."""
        ends = self.clock.now + seconds
        while self.clock.now < ends:
            pause = self.schedule.next_poll_seconds()
            self.clock.advance(pause)
            self.snapshot()
        return pause


@pytest.fixture
def history() -> History:
    return History()


def test_polls_are_at_every_step_while_there_is_traffic(history: History):
    for _ in range(100):
        history.arrives(notified=True)
        history.clock.advance(1)
        assert history.snapshot() == STEP_SECONDS


def test_polls_are_rare_after_a_quiet_minute_where_ids_come_in_steps_of_three():
    history = History(id_step=3)
    history.arrives(notified=True)

    assert history.passes(QUIET_SECONDS + 20) == QUIET_STEP_SECONDS

    history.newest_id += 1  # at another server of the cluster, and so without a notification here
    assert history.passes(QUIET_SECONDS + 20) == STEP_SECONDS


def test_polls_are_rare_after_a_quiet_minute(history: History):
    history.arrives(notified=True)

    assert history.passes(QUIET_SECONDS - 2) == STEP_SECONDS
    assert history.passes(20) == QUIET_STEP_SECONDS


def test_a_notification_ends_the_quiet(history: History):
    history.passes(2 * QUIET_SECONDS)

    history.arrives(notified=True)

    assert history.schedule.next_poll_seconds() == STEP_SECONDS


def test_an_update_without_a_notification_ends_the_rare_polls_until_notifications_come_again(history: History):
    """Given a webhook on another host, or another program that inserts rows."""
    history.passes(2 * QUIET_SECONDS)
    history.arrives(notified=False)
    history.passes(QUIET_STEP_SECONDS + 1)

    assert history.passes(10 * QUIET_SECONDS) == STEP_SECONDS


def test_some_notifications_in_a_row_bring_the_rare_polls_back(history: History):
    history.arrives(notified=False)
    history.passes(2 * QUIET_SECONDS)
    for _ in range(CONVINCING_NOTIFICATIONS):
        history.arrives(notified=True)
        history.passes(2)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_a_snapshot_between_the_insert_and_its_notification_is_no_reason_for_doubt(history: History):
    history.newest_id += 1
    history.snapshot()
    history.schedule.notified()
    history.passes(5)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_notifications_of_duplicates_do_not_count_for_updates_without_one(history: History):
    for _ in range(10):
        history.schedule.notified()
    history.snapshot()
    history.arrives(notified=False)
    history.passes(3)

    assert history.passes(2 * QUIET_SECONDS) == STEP_SECONDS


def test_a_job_in_back_off_is_polled_for_when_it_is_due_and_not_sooner(history: History):
    history.passes(2 * QUIET_SECONDS)

    assert history.snapshot(due_in_seconds=4.2) == pytest.approx(4.2)
    assert history.snapshot(due_in_seconds=400) == QUIET_STEP_SECONDS
    assert history.snapshot(due_in_seconds=0.0001) >= 0.05


def test_a_job_that_is_due_already_changes_nothing(history: History):
    assert history.snapshot(due_in_seconds=-30) == STEP_SECONDS
