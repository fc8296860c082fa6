"""How long a run may go on, by a clock that the tests turn."""

from __future__ import annotations

import pytest

from scalable.lib.deadline import Deadline, DeadlinePassed, TickRaised
from tests.support.fakes.clock import FakeClock


def test_waits_are_no_longer_than_half_a_second_nor_than_the_time_that_is_left():
    clock = FakeClock()
    deadline = Deadline(1.2, lambda: None, clock)

    assert deadline.wait_seconds() == pytest.approx(0.5)
    clock.advance(0.4)
    assert deadline.wait_seconds() == pytest.approx(0.1)
    clock.advance(0.6)
    assert deadline.wait_seconds() == pytest.approx(0.2)
    assert deadline.seconds == pytest.approx(1.0)


def test_the_tick_comes_twice_a_second_however_often_somebody_asks():
    clock, ticks = FakeClock(), []
    deadline = Deadline(60, lambda: ticks.append(clock.now), clock)

    for _ in range(1000):
        deadline.wait_seconds()
        clock.advance(0.01)

    assert len(ticks) == pytest.approx(20, abs=1)


def test_a_tick_that_takes_long_is_not_made_up_for():
    clock, ticks = FakeClock(), []

    def slow_tick() -> None:
        ticks.append(clock.now)
        clock.advance(3)

    deadline = Deadline(60, slow_tick, clock)
    clock.advance(0.5)

    assert deadline.wait_seconds() == 0.0
    assert len(ticks) == 1


def test_a_tick_that_outlasts_the_time_leaves_one_more_look_at_the_bot():
    """Given a database that stalled while the bot ended in time."""
    clock = FakeClock()
    deadline = Deadline(1.0, lambda: clock.advance(5), clock)
    clock.advance(0.6)

    assert deadline.wait_seconds() == 0.0
    with pytest.raises(DeadlinePassed):
        deadline.wait_seconds()


def test_the_end_of_the_time_is_told_again_and_again():
    clock = FakeClock()
    deadline = Deadline(1.0, lambda: None, clock)
    clock.advance(1.0)

    for _ in range(2):
        with pytest.raises(DeadlinePassed):
            deadline.wait_seconds()


def test_what_the_tick_raises_is_told_apart_from_every_other_error():
    clock = FakeClock()
    reason = ConnectionError("the database")

    def tick() -> None:
        raise reason

    deadline = Deadline(60, tick, clock)
    deadline.wait_seconds()
    clock.advance(0.5)

    with pytest.raises(TickRaised) as caught:
        deadline.wait_seconds()
    assert caught.value.reason is reason
