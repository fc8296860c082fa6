"""The slots of one worker: opened when there is more to do than the open ones can take, and what they report.

Only the worker's own thread calls it; what a slot's thread calls is `Reports.put`. Knows neither queue nor leases.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Optional

from scalable.lib.errors import NoProcessLeft
from scalable.lib.host_room import HostRoom
from scalable.lib.logs import event
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.claim_size import SLOW_SECONDS
from scalable.lib.worker.job_list import JobList
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot import Report, Slot

log = logging.getLogger(__name__)
# Of a worker whose owner did not say how many.
MOST_AUTO_SLOTS = 8
# After the host refused a process or a thread, no further slot is opened for so long.
REFUSED_SECONDS = 60.0
# And a free one is not tried again for so long while others are busy: their end makes room.
PAUSED_SECONDS = 1.0
# How long the slots have at the end to end what they keep: an idle php-cgi, the bot's on_worker_stop.
END_SECONDS = 15.0


class Reports:
    """What the slots of one worker report, and a descriptor that can be read while there is something."""

    def __init__(self) -> None:
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._reader, self._writer = self._ends = list(os.pipe())
        for descriptor in self._ends:
            os.set_blocking(descriptor, False)

    def put(self, report: Report) -> None:
        """From any thread; never waits."""
        self._reports.put(report)
        with contextlib.suppress(BlockingIOError):  # full: it can be read already
            os.write(self._writer, b"!")

    def fileno(self) -> int:
        """What can be read while there is a report that was not taken."""
        return self._reader

    @property
    def are_there(self) -> bool:
        """Whether there is one to take."""
        return not self._reports.empty()

    def take(self) -> list[Report]:
        """All that are there; in this order, so that none is left without its byte."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 65536)
        reports = []
        with contextlib.suppress(Empty):
            while True:
                reports.append(self._reports.get_nowait())
        return reports

    def close(self) -> None:
        """Once no slot is left; safe to repeat."""
        for descriptor in self._ends:
            os.close(descriptor)
        self._ends = []


@dataclass(frozen=True)
class SlotLimit:
    """How many slots a worker may open. `most` at once; more than the first one only where `runs_left` has room.

    `most_plain`: of a bot that does not run side by side without being asked to, see Runner.runs_side_by_side.
    """

    most: int = 1
    most_plain: int = 1
    runs_left: Callable[[], float] = lambda: math.inf


def slot_limit(slots: Optional[int], workers: int = 1) -> SlotLimit:
    """Of `workers` workers together, for a BOT_WORKER_SLOTS of `slots` (None: auto), as far as the host has room."""
    runs_left = HostRoom().runs_left
    if slots is None:
        return SlotLimit(MOST_AUTO_SLOTS * workers, workers, runs_left)
    return SlotLimit(slots * workers, slots * workers, runs_left)


class SlotGroup:
    """Opens slots with `create_slot`, which is given their number and where they report. The first is there at once.

    Raises NoProcessLeft when not even that one can be started.
    """

    def __init__(
        self,
        create_slot: Callable[[int, Callable[[Report], None]], Slot],
        limit: SlotLimit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reports = Reports()
        self._create_slot = create_slot
        self._limit = limit
        self._clock = clock
        self._number = 0
        self._busy: dict[Slot, JobList] = {}
        self._refused_until = self._paused_until = 0.0
        self._urgent: Optional[Slot] = None
        self._first = self._opened()
        self._free = [self._first]  # the one that ran last is the last

    @property
    def lists(self) -> Iterable[JobList]:
        """What is being run."""
        return self._busy.values()

    @property
    def is_busy(self) -> bool:
        """Whether a slot runs something, or has not reported its last run yet."""
        return bool(self._busy)

    @property
    def free_count(self) -> int:
        """How many open slots, the urgent one not among them, have nothing to do."""
        if self._busy and self._clock() < self._paused_until:
            return 0
        self._free = [slot for slot in self._free if not slot.has_left]
        return len(self._free)

    @property
    def retire_reason(self) -> Optional[str]:
        """See Runner.retire_reason: that of any open slot."""
        for slot in (self._first, *self._free, *self._busy, self._urgent):
            if slot is not None and slot.runner.retire_reason is not None:
                return slot.runner.retire_reason
        return None

    def can_open(self) -> int:
        """How many more slots may be opened now."""
        missing = self._most - self._ordinary
        if missing <= 0 or self._clock() < self._refused_until:
            return 0
        return int(min(missing, self._limit.runs_left()))

    @property
    def urgent_is_possible(self) -> bool:
        """Whether a slot above the limit may run an urgent job now; never beside a bot that runs one at a time."""
        is_free = self._urgent is None or self._urgent not in self._busy
        return is_free and self._first.runner.runs_side_by_side and self._clock() >= self._refused_until

    def seconds_until_slow(self) -> float:
        """Until every slot has been with its job for SLOW_SECONDS, if none ends or begins one; 0 or less: they have."""
        youngest = max((jobs.began for jobs in self._busy.values()), default=self._clock())
        return youngest + SLOW_SECONDS - self._clock()

    def assign(self, jobs: JobList, is_urgent: bool = False) -> None:
        """Have them run by a slot that is free, or by one that is opened for them; `is_urgent`: above the limit.

        Raises NoProcessLeft when no slot could be opened; then they are still the caller's.
        """
        while True:
            slot = self._urgent_slot() if is_urgent else self._free.pop() if self.free_count else self._opened()
            self._busy[slot] = jobs
            if slot.assign(jobs):
                return
            del self._busy[slot]  # it has just left
            self._urgent = None if is_urgent else self._urgent

    def take_reports(self) -> list[tuple[Report, JobList]]:
        """What was reported, each with the list it belongs to; the slots of last reports are free from now on."""
        taken = []
        for report in self.reports.take():
            taken.append((report, self._busy[report.slot]))
            if report.is_last:
                del self._busy[report.slot]
                if report.slot is not self._urgent:
                    self._free.append(report.slot)
        return taken

    def refused(self, slot: Slot) -> bool:
        """The host did not let `slot` start the bot: do with fewer for a while; False when no other one is busy."""
        now = self._clock()
        self._refused_until, self._paused_until = now + REFUSED_SECONDS, now + PAUSED_SECONDS
        if slot is self._first or slot is self._urgent:
            return self.is_busy
        if slot in self._free:
            self._free.remove(slot)
            slot.end()
        return True

    def close(self) -> None:
        """End all of them; none may be busy."""
        slots = [self._first, *(slot for slot in self._free if slot is not self._first)]
        if self._urgent is not None:
            slots.append(self._urgent)
        for slot in slots:
            slot.end()
        ends = self._clock() + END_SECONDS
        for slot in slots:
            if not slot.join(max(0.0, ends - self._clock())):
                log.error(event("slot did not end", seconds=END_SECONDS))
                return  # it may still report
        self.reports.close()

    @property
    def _most(self) -> int:
        return self._limit.most if self._first.runner.runs_side_by_side else self._limit.most_plain

    @property
    def _ordinary(self) -> int:
        """How many slots are open but the urgent one."""
        return self.free_count + len(self._busy) - (self._urgent in self._busy)

    def _urgent_slot(self) -> Slot:
        if self._urgent is None:
            self._urgent = self._opened()
        return self._urgent

    def _opened(self) -> Slot:
        self._number += 1
        try:
            slot = self._create_slot(self._number, self.reports.put)
            slot.start()
        except NoProcessLeft:
            self._refused_until = self._clock() + REFUSED_SECONDS
            raise
        log.debug(event("slot opened", slot=self._number))
        return slot


def open_slots(
    first: Runner,
    create_runner: Callable[[], Runner],
    create_replies: Callable[[], ReplySender],
    stop: StopSignal,
    limit: SlotLimit,
    is_strict: bool = False,
) -> SlotGroup:
    """The slots of a worker; the first one has the runner `first`. `is_strict`: see Slot. Raises NoProcessLeft."""

    def create_slot(number: int, report: Callable[[Report], None]) -> Slot:
        runner = first if number == 1 else create_runner()
        return Slot(number, runner, create_replies(), stop, report, is_strict=is_strict)

    return SlotGroup(create_slot, limit)
