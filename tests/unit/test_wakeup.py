"""The pipe between a pool and its idle workers: whoever is woken goes, the others stay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from scalable.lib.worker import wakeup
from scalable.lib.worker.stop import StopSignal
from scalable.lib.worker.wakeup import Bell, Listening, Polling

LONG_SECONDS = 60.0
WORKERS = 3


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell(WORKERS)
    yield bell
    bell.close()


def never() -> None:
    pytest.fail("too soon")


class Sleeper:
    """An idle worker in a thread."""

    def __init__(self, bell: Bell) -> None:
        self.stop = StopSignal()
        self._thread = threading.Thread(target=Listening(bell.reader).wait, args=(self.stop, LONG_SECONDS, never))
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

    Listening(reader).wait(StopSignal(), LONG_SECONDS, never)

    os.close(reader)


def test_waiting_ends_with_the_time(bell: Bell):
    started = time.monotonic()

    Listening(bell.reader).wait(StopSignal(), 0.05, never)
    Polling(1.0).wait(StopSignal(), 0.05, never)

    assert time.monotonic() - started < LONG_SECONDS / 2


def test_what_is_held_to_be_quick_is_given_back_after_a_while_once(bell: Bell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wakeup, "REST_SECONDS", 0.05)
    rests: list[str] = []

    Listening(bell.reader).wait(StopSignal(), 0.2, lambda: rests.append("listening"))
    Polling(0.06).wait(StopSignal(), 0.01, lambda: rests.append("polling"))

    assert rests == ["listening", "polling"]


def test_a_ring_after_that_is_heard_as_well(bell: Bell, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wakeup, "REST_SECONDS", 0.05)
    started = time.monotonic()

    Listening(bell.reader).wait(StopSignal(), LONG_SECONDS, lambda: bell.ring(1))

    assert time.monotonic() - started < LONG_SECONDS / 2
    assert unread(bell) == 0
