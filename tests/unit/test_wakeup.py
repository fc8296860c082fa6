"""The pipe between a pool and its idle workers: one that is woken goes, the others stay."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker import wakeup
from scalable.lib.worker.wakeup import WaitForInterval, WaitForWakeup, WakeupPipe

LONG_SECONDS = 60.0
WORKERS = 3


@pytest.fixture
def wakeup_pipe() -> Iterator[WakeupPipe]:
    wakeup_pipe = WakeupPipe(WORKERS)
    yield wakeup_pipe
    wakeup_pipe.close()


def never() -> None:
    pytest.fail("too soon")


class Sleeper:
    """An idle worker in a thread."""

    def __init__(self, wakeup_pipe: WakeupPipe) -> None:
        self.stop = StopSignal()
        self._thread = threading.Thread(
            target=WaitForWakeup(wakeup_pipe.reader).wait, args=(self.stop, LONG_SECONDS, never)
        )
        self._thread.start()

    @property
    def is_awake(self) -> bool:
        return not self._thread.is_alive()

    def woke_up(self) -> bool:
        self._thread.join(LONG_SECONDS / 2)
        return self.is_awake


def unread(wakeup_pipe: WakeupPipe) -> int:
    """Bytes that no worker has taken; takes them."""
    try:
        return len(os.read(wakeup_pipe.reader, 1000))
    except BlockingIOError:
        return 0


def test_one_wakeup_wakes_one_of_several_workers(wakeup_pipe: WakeupPipe):
    sleepers = [Sleeper(wakeup_pipe) for _ in range(WORKERS)]

    wakeup_pipe.wake_workers(1)
    deadline = time.monotonic() + LONG_SECONDS / 2
    while not any(sleeper.is_awake for sleeper in sleepers):
        assert time.monotonic() < deadline
        time.sleep(0.005)

    assert sum(sleeper.is_awake for sleeper in sleepers) == 1
    wakeup_pipe.wake_workers()
    assert all(sleeper.woke_up() for sleeper in sleepers)


def test_a_wakeup_while_all_workers_are_busy_wakes_the_next_one_that_waits(wakeup_pipe: WakeupPipe):
    wakeup_pipe.wake_workers(1)

    assert Sleeper(wakeup_pipe).woke_up()


def test_wakeups_that_no_worker_reads_do_not_pile_up(wakeup_pipe: WakeupPipe):
    for _ in range(10_000):
        wakeup_pipe.wake_workers(1)

    assert unread(wakeup_pipe) == WORKERS


def test_a_stop_wakes_every_worker(wakeup_pipe: WakeupPipe):
    sleepers = [Sleeper(wakeup_pipe) for _ in range(WORKERS)]

    for sleeper in sleepers:
        sleeper.stop.request()

    assert all(sleeper.woke_up() for sleeper in sleepers)
    assert unread(wakeup_pipe) == 0


def test_the_end_of_the_pool_wakes_every_worker():
    wakeup_pipe = WakeupPipe(WORKERS)
    reader = os.dup(wakeup_pipe.reader)
    wakeup_pipe.close()

    WaitForWakeup(reader).wait(StopSignal(), LONG_SECONDS, never)

    os.close(reader)


def test_waiting_ends_with_the_time(wakeup_pipe: WakeupPipe):
    started = time.monotonic()

    WaitForWakeup(wakeup_pipe.reader).wait(StopSignal(), 0.05, never)
    WaitForInterval(1.0).wait(StopSignal(), 0.05, never)

    assert time.monotonic() - started < LONG_SECONDS / 2


def test_what_is_held_to_be_quick_is_given_back_after_a_while_once(
    wakeup_pipe: WakeupPipe, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wakeup, "REST_SECONDS", 0.05)
    rests: list[str] = []

    WaitForWakeup(wakeup_pipe.reader).wait(StopSignal(), 0.2, lambda: rests.append("listening"))
    WaitForInterval(0.06).wait(StopSignal(), 0.01, lambda: rests.append("polling"))

    assert rests == ["listening", "polling"]


def test_a_wakeup_after_that_works_as_well(wakeup_pipe: WakeupPipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wakeup, "REST_SECONDS", 0.05)
    started = time.monotonic()

    WaitForWakeup(wakeup_pipe.reader).wait(StopSignal(), LONG_SECONDS, lambda: wakeup_pipe.wake_workers(1))

    assert time.monotonic() - started < LONG_SECONDS / 2
    assert unread(wakeup_pipe) == 0
