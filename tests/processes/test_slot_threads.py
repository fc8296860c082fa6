"""SlotThreads: every piece of work in a thread of its own, at the same time, and none forgotten."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from scalable.lib.errors import NoProcessLeft
from scalable.lib.pool import slot_threads as scheduler
from scalable.lib.pool.slot_threads import SlotThreads


def limit_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As where a host counts a user's threads: one more cannot be started."""
    real, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(scheduler, "START_SECONDS", 0.3)


def test_all_of_them_run_at_the_same_time_and_join_waits_for_the_last():
    meet = threading.Barrier(4)
    ended: list[int] = []

    def work(number: int) -> Callable[[], None]:
        def meet_and_end() -> None:
            meet.wait(60)
            ended.append(number)

        return meet_and_end

    slots = SlotThreads([work(number) for number in range(4)])
    slots.start()
    slots.join()

    assert sorted(ended) == [0, 1, 2, 3]


def test_a_scheduler_that_is_slow_to_forget_what_it_began_is_not_shut_down_meanwhile(monkeypatch: pytest.MonkeyPatch):
    real, ended, shown = BackgroundScheduler.remove_job, threading.Event(), []

    def remove_job(self: BackgroundScheduler, *arguments: str) -> None:
        ended.wait(0.3)
        real(self, *arguments)

    monkeypatch.setattr(BackgroundScheduler, "remove_job", remove_job)
    monkeypatch.setattr(threading, "excepthook", shown.append)

    slots = SlotThreads([lambda: None] * 2)
    slots.start()
    slots.join()
    ended.set()

    assert shown == []


def test_each_runs_once():
    runs: list[str] = []
    slots = SlotThreads([lambda: runs.append("a"), lambda: runs.append("b")])

    slots.start()
    slots.join()

    assert sorted(runs) == ["a", "b"]


def test_where_threads_are_few_the_others_work_and_it_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    go_on = threading.Event()
    runs: list[bool] = []
    limit_threads(monkeypatch, 3)  # the scheduler's own, and two

    slots = SlotThreads([lambda: runs.append(go_on.wait(60))] * 4)
    slots.start()

    told = [record.getMessage() for record in caplog.records if record.name == scheduler.__name__]
    assert told == [f'workers not started started=2 wanted=4 cause="{scheduler.NO_THREADS}"']
    go_on.set()
    slots.join()
    assert set(runs) == {True}


def test_without_a_single_thread_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    limit_threads(monkeypatch, 1)

    with pytest.raises(NoProcessLeft, match=r"none of 4 workers could be started: .* lower BOT_WORKER_POOL_SIZE"):
        SlotThreads([lambda: None] * 4).start()
