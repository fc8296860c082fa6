"""A slot with its thread: what it keeps for the next run may fail to be released, and it still serves."""

from __future__ import annotations

import logging
import math
import time
from queue import SimpleQueue

import pytest

from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker import slot as slot_module
from scalable.lib.worker.job_list import JobList
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot import Report, Slot
from tests.support.fakes.worker_bench import ScriptedRunner


class Restless(ScriptedRunner):
    """It cannot release what it keeps; `rested` has an entry for each time it should."""

    def __init__(self) -> None:
        super().__init__()
        self.rested: SimpleQueue[None] = SimpleQueue()

    def rest(self) -> None:
        """Raises OSError."""
        self.rested.put(None)
        raise OSError("no such process")


def test_a_slot_that_cannot_release_what_it_keeps_serves_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slot_module, "IDLE_SECONDS", 0.01)
    reports: SimpleQueue[Report] = SimpleQueue()
    runner = Restless()
    slot = Slot(1, runner, ReplySender(None), StopSignal(), reports.put)
    slot.start()
    runner.rested.get(timeout=20)

    job = ClaimedJob(17, "{}", 1, 1, "message", "chat:7", Lease(17, "token", "worker"), 0.0)
    assert slot.assign(JobList([job], time.monotonic(), math.inf, 60.0))
    report = reports.get(timeout=20)
    slot.end()

    assert (report.is_last, [end.job.id for end in report.ended]) == (True, [17])
    assert slot.join(60)
    assert [record.levelno for record in caplog.records][:1] == [logging.ERROR]
