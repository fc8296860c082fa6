"""Watch: histories of looks and pokes, second by second, and when the next look is due."""

from __future__ import annotations

import pytest

from scalable.lib.queue.job import Look
from scalable.lib.worker.watch import CONVINCING_POKES, QUIET_SECONDS, QUIET_STEP_SECONDS, Watch
from tests.support.clock import FakeClock

STEP_SECONDS = 1.0


class History:
    """A queue, its watch, and the looks at it."""

    def __init__(self, id_step: int = 1) -> None:
        self.id_step = id_step
        self.clock = FakeClock()
        self.watch = Watch(STEP_SECONDS, self.clock)
        self.newest_id = 100
        self.look()

    def look(self, due_in_seconds: float | None = None) -> float:
        self.watch.looked(Look(self.newest_id, due_in_seconds, False, self.id_step))
        return self.watch.next_look_seconds()

    def arrives(self, *, poked: bool) -> None:
        self.newest_id += self.id_step
        if poked:
            self.watch.poked()

    def passes(self, seconds: float) -> float:
        """Time goes by, with a look whenever one is due; the pause before the last one."""
        ends = self.clock.now + seconds
        while self.clock.now < ends:
            pause = self.watch.next_look_seconds()
            self.clock.advance(pause)
            self.look()
        return pause


@pytest.fixture
def history() -> History:
    return History()


def test_looks_are_at_every_step_while_there_is_traffic(history: History):
    for _ in range(100):
        history.arrives(poked=True)
        history.clock.advance(1)
        assert history.look() == STEP_SECONDS


def test_looks_are_rare_after_a_quiet_minute_where_ids_come_in_steps_of_three():
    history = History(id_step=3)
    history.arrives(poked=True)

    assert history.passes(QUIET_SECONDS + 20) == QUIET_STEP_SECONDS

    history.newest_id += 1  # at another server of the cluster, and so not announced here
    assert history.passes(QUIET_SECONDS + 20) == STEP_SECONDS


def test_looks_are_rare_after_a_quiet_minute(history: History):
    history.arrives(poked=True)

    assert history.passes(QUIET_SECONDS - 2) == STEP_SECONDS
    assert history.passes(20) == QUIET_STEP_SECONDS


def test_a_poke_ends_the_quiet(history: History):
    history.passes(2 * QUIET_SECONDS)

    history.arrives(poked=True)

    assert history.watch.next_look_seconds() == STEP_SECONDS


def test_an_update_that_nobody_announced_ends_the_rare_looks_for_as_long_as_nobody_announces_any(history: History):
    """Given a webhook on another host, or another program that inserts rows."""
    history.passes(2 * QUIET_SECONDS)
    history.arrives(poked=False)
    history.passes(QUIET_STEP_SECONDS + 1)

    assert history.passes(10 * QUIET_SECONDS) == STEP_SECONDS


def test_some_announced_updates_in_a_row_bring_the_rare_looks_back(history: History):
    history.arrives(poked=False)
    history.passes(2 * QUIET_SECONDS)
    for _ in range(CONVINCING_POKES):
        history.arrives(poked=True)
        history.passes(2)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_a_look_between_the_insert_and_its_poke_is_no_reason_for_doubt(history: History):
    history.newest_id += 1
    history.look()
    history.watch.poked()
    history.passes(5)

    assert history.passes(2 * QUIET_SECONDS) == QUIET_STEP_SECONDS


def test_pokes_for_duplicates_are_no_credit_for_updates_that_are_not_announced(history: History):
    for _ in range(10):
        history.watch.poked()
    history.look()
    history.arrives(poked=False)
    history.passes(3)

    assert history.passes(2 * QUIET_SECONDS) == STEP_SECONDS


def test_a_job_in_back_off_is_looked_for_when_it_is_due_and_not_sooner(history: History):
    history.passes(2 * QUIET_SECONDS)

    assert history.look(due_in_seconds=4.2) == pytest.approx(4.2)
    assert history.look(due_in_seconds=400) == QUIET_STEP_SECONDS
    assert history.look(due_in_seconds=0.0001) >= 0.05


def test_a_job_that_is_due_already_changes_nothing(history: History):
    assert history.look(due_in_seconds=-30) == STEP_SECONDS
