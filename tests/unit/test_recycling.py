"""When a worker has lived long enough."""

from __future__ import annotations

import pytest

from scalable.lib.worker.recycling import MOST_MORE_MEGABYTES, MOST_RUNS, MOST_SECONDS, Recycling, resident_megabytes
from tests.support.fakes.clock import FakeClock


class Life:
    """A worker, its clock and its memory."""

    def __init__(self, chance: float = 0.5) -> None:
        self.clock = FakeClock()
        self.megabytes = 30.0
        self.recycling = Recycling(self.clock, lambda: chance, lambda: self.megabytes)

    def after(self, seconds: float, runs: int = 10) -> str | None:
        self.clock.advance(seconds)
        return self.recycling.reason(runs)


def test_an_ordinary_worker_goes_on():
    life = Life()

    assert [life.after(60, runs) for runs in range(0, 1000, 10)] == [None] * 100


def test_after_very_many_runs_it_ends():
    life = Life()

    assert life.after(1, MOST_RUNS - 1) is None
    assert life.after(1, MOST_RUNS) == f"{MOST_RUNS} updates"


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_after_a_day_it_ends_and_not_all_at_the_same_moment(chance: float):
    life = Life(chance)
    day = MOST_SECONDS * (0.9 + 0.2 * chance)

    assert life.after(day - 1) is None
    assert life.after(2) == "its age"


def test_one_that_grows_ends_and_what_it_starts_with_does_not_count():
    life = Life()
    life.megabytes = 250.0
    assert life.after(10) is None

    life.megabytes += MOST_MORE_MEGABYTES
    assert life.after(20) is None
    life.megabytes += 1
    assert life.after(20) == "201 MB more memory than at first"


def test_memory_is_looked_at_now_and_then_only():
    looks: list[float] = []
    clock = FakeClock()
    recycling = Recycling(clock, megabytes=lambda: looks.append(clock.now) or 30.0)  # type: ignore[func-returns-value]

    for runs in range(1, 1001):
        clock.advance(0.1)
        recycling.reason(runs)

    assert 9 <= len(looks) <= 11


def test_the_memory_of_this_process_is_told_in_megabytes():
    assert 5 < resident_megabytes() < 5000
