"""The pipe between a pool and its idle workers: whoever is woken goes, the others stay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from scalable.lib.worker.stop import StopSignal
from scalable.lib.worker.wakeup import Bell, Listening, Polling

LONG_SECONDS = 60.0
WORKERS = 3


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell(WORKERS)
    yield bell
    bell.close()


class Sleeper:
    """An idle worker in a thread."""

    def __init__(self, bell: Bell) -> None:
        self.stop = StopSignal()
        self._thread = threading.Thread(target=Listening(bell.reader).wait, args=(self.stop, LONG_SECONDS))
        self._thread.start()

    @property
    def is_awake(self) -> bool:
        return not self._thread.is_alive()

    def woke_up(self) -> bool:
        self._thread.join(LONG_SECONDS / 2)
        return self.is_awake


def unread(bell: Bell) -> int:
    """Bytes that no worker has taken; takes them."""
    try:
        return len(os.read(bell.reader, 1000))
    except BlockingIOError:
        return 0


def test_one_ring_wakes_one_of_several_workers(bell: Bell):
    sleepers = [Sleeper(bell) for _ in range(WORKERS)]

    bell.ring(1)
    deadline = time.monotonic() + LONG_SECONDS / 2
    while not any(sleeper.is_awake for sleeper in sleepers):
        assert time.monotonic() < deadline
        time.sleep(0.005)

    assert sum(sleeper.is_awake for sleeper in sleepers) == 1
    bell.ring()
    assert all(sleeper.woke_up() for sleeper in sleepers)


def test_a_ring_while_everybody_is_busy_is_heard_by_the_next_who_waits(bell: Bell):
    bell.ring(1)

    assert Sleeper(bell).woke_up()


def test_rings_that_nobody_hears_do_not_pile_up(bell: Bell):
    for _ in range(10_000):
        bell.ring(1)

    assert unread(bell) == WORKERS


def test_a_stop_wakes_every_worker(bell: Bell):
    sleepers = [Sleeper(bell) for _ in range(WORKERS)]

    for sleeper in sleepers:
        sleeper.stop.request()

    assert all(sleeper.woke_up() for sleeper in sleepers)
    assert unread(bell) == 0


def test_the_end_of_the_pool_wakes_every_worker():
    bell = Bell(WORKERS)
    reader = os.dup(bell.reader)
    bell.close()

    Listening(reader).wait(StopSignal(), LONG_SECONDS)

    os.close(reader)


def test_waiting_ends_with_the_time(bell: Bell):
    started = time.monotonic()

    Listening(bell.reader).wait(StopSignal(), 0.05)
    Polling(60.0).wait(StopSignal(), 0.05)

    assert time.monotonic() - started < LONG_SECONDS / 2
