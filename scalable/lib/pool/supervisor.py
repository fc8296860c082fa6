"""The supervisor: keeps a number of workers running. Starts them as programs, never forks itself.

Clock and spawn are arguments, so that unit tests can simulate exits and signals. Uses neither queue nor bot.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Optional

from scalable.lib.errors import ExitCode, ScalableError
from scalable.lib.logs import event
from scalable.lib.pool.worker_process import WorkerProcess
from scalable.lib.process_name import process_name

log = logging.getLogger(__name__)
LONGEST_BACKOFF_SECONDS = 60.0
# A worker that ran this long started properly: its next respawn waits 1 s again.
SETTLED_SECONDS = 60.0
# One that ends in order after so long is replaced at once.
REPLACEABLE_SECONDS = 5.0
# A successor that ran so long has read its settings and found its bot.
STEADY_SECONDS = 2.0
KILL_WAIT_SECONDS = 5.0
LONGEST_TICK_SECONDS = 1.0
HELD_SECONDS = 1.0
# Sent by the kernel when a child ends; it only has to end the pool's wait.
_WAKE = signal.SIGCHLD


class State(Enum):
    """RUNNING → STOPPING (workers finish) → KILLING (the grace time is over) → STOPPED."""

    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    STOPPED = "stopped"


@dataclass
class _Slot:
    """The place of one worker at a time. `is_leaving`: it was told to end, to be replaced by a new one."""

    number: int
    worker: Optional[WorkerProcess] = None
    name: str = ""
    generation: int = 0
    started: float = 0.0
    respawn_at: float = 0.0
    backoff: float = 0.0
    is_leaving: bool = False
    was_told_to_quit: bool = False


class WorkerPool:
    """Keeps `size` workers alive until told to stop. `grace_seconds`: how long a stop waits for jobs at hand.

    `check` raises ScalableError when new workers could not start; then the old ones are not replaced. While `may_start`
    says no, none is started; it is asked every HELD_SECONDS.
    """

    def __init__(
        self,
        size: int,
        spawn: Callable[[str], WorkerProcess],
        grace_seconds: float,
        worker_died: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
        check: Callable[[], object] = lambda: None,
        may_start: Callable[[], bool] = lambda: True,
    ) -> None:
        self.state = State.RUNNING
        self.exit_code = ExitCode.OK
        self._spawn = spawn
        self._grace_seconds = grace_seconds
        self._worker_died = worker_died
        self._clock = clock
        self.name = name or process_name()
        self._slots = [_Slot(number) for number in range(1, size + 1)]
        self._deadline = 0.0  # of the workers that were told to end
        self._signals: SimpleQueue[int] = SimpleQueue()
        self._check = check
        self._may_start = may_start
        self._hangup_stops = False
        self._to_replace: list[_Slot] = []
        self._replaced: Optional[_Slot] = None

    def listen(self, has_terminal: bool = False) -> None:
        """Take over the process's signals (main thread only); handlers only put into a queue.

        HUP replaces the workers, but with a terminal, and without nohup, it means that the terminal was closed.
        """
        self._hangup_stops = has_terminal and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, _WAKE):
            signal.signal(number, lambda received, _frame: self._signals.put(received))

    def run(self) -> ExitCode:
        """Supervise until STOPPED; the exit code says why."""
        while True:
            wait_seconds = self.tick()
            if self.state is State.STOPPED:
                return self.exit_code
            with contextlib.suppress(Empty):
                self.handle(self._signals.get(timeout=wait_seconds))

    def handle(self, number: int) -> None:
        """React to one signal: TERM and INT stop gracefully, a second one or QUIT at once, HUP replaces the workers."""
        if number == _WAKE or self.state is State.KILLING:  # another signal must not put off the KILL that is due
            return
        if number == signal.SIGHUP and not self._hangup_stops:
            self.replace_all()
        elif number == signal.SIGQUIT or self.state is not State.RUNNING:
            self._stop_at_once()
        else:
            self.stop(f"received {signal.Signals(number).name}")

    def stop(self, why: str) -> None:
        """Let every worker finish its job, for at most the grace time."""
        if self.state is State.RUNNING:
            log.info(event("pool stopping", cause=why, grace_seconds=self._grace_seconds))
            self.state = State.STOPPING
            self._signal_all(signal.SIGTERM, self._grace_seconds)

    def replace_all(self) -> None:
        """Replace the workers one by one, each after the job at hand; the others go on working."""
        if self.state is not State.RUNNING:
            return
        try:
            self._check()
        except ScalableError as error:
            log.error(event("workers not replaced", cause=error))
            return
        log.info(event("replacing the workers", workers=len(self._slots)))
        self._to_replace = [slot for slot in self._slots if slot is not self._replaced]

    def tick(self) -> float:
        """Do for every worker what is due; the seconds until that is useful again."""
        for slot in self._slots:
            self._update(slot)
        if self.state is State.RUNNING:
            self._replace_next()
        else:
            self._enforce_deadline()
            if all(slot.worker is None for slot in self._slots):
                log.info(event("pool stopped", exit_code=int(self.exit_code)))
                self.state = State.STOPPED
        if self.state is State.RUNNING:
            due = [slot.respawn_at for slot in self._slots if slot.worker is None]
        else:
            due = [self._deadline]
        return max(0.01, min([LONGEST_TICK_SECONDS, *(moment - self._clock() for moment in due)]))

    def _update(self, slot: _Slot) -> None:
        if slot.worker is not None:
            exit_code = slot.worker.poll()
            if exit_code is None:
                return
            self._clear(slot, exit_code)
        if self.state is State.RUNNING and self._clock() >= slot.respawn_at:
            self._start(slot)

    def _start(self, slot: _Slot) -> None:
        if not self._may_start():
            slot.respawn_at = self._clock() + HELD_SECONDS
            return
        slot.generation += 1
        slot.name = f"{self.name}/{slot.number}.{slot.generation}"
        slot.started = self._clock()
        try:
            slot.worker = self._spawn(slot.name)
        except OSError as error:  # no process left for this user: wait like after a crash
            self._back_off(slot)
            log.error(event("worker not started", slot=slot.number, cause=error, again_in_seconds=slot.backoff))
            return
        log.info(event("worker started", slot=slot.number, pid=slot.worker.pid))

    def _clear(self, slot: _Slot, exit_code: int) -> None:
        """Empty the slot of a worker that has ended, and decide when the next one starts."""
        was_leaving, lived_seconds = slot.is_leaving, self._clock() - slot.started
        slot.worker, slot.is_leaving, slot.was_told_to_quit = None, False, False
        if exit_code < 0 or exit_code == ExitCode.UNEXPECTED:
            self._worker_died(slot.name)
        if self.state is not State.RUNNING:
            log.info(event("worker stopped", slot=slot.number, exit_code=exit_code))
        elif exit_code == ExitCode.BAD_CONFIGURATION:
            self.exit_code = ExitCode.BAD_CONFIGURATION
            self.stop("a worker found the settings wrong; its message is above")
        elif was_leaving or (exit_code == ExitCode.OK and lived_seconds >= REPLACEABLE_SECONDS):
            slot.respawn_at, slot.backoff = self._clock(), 0.0
        else:
            if lived_seconds >= SETTLED_SECONDS:
                slot.backoff = 0.0
            self._back_off(slot)
            log.warning(event("worker ended", slot=slot.number, exit_code=exit_code, again_in_seconds=slot.backoff))

    def _back_off(self, slot: _Slot) -> None:
        slot.backoff = min(max(1.0, slot.backoff * 2), LONGEST_BACKOFF_SECONDS)
        slot.respawn_at = self._clock() + slot.backoff

    def _replace_next(self) -> None:
        """Tell the next worker to end, once the successor of the last one runs steadily."""
        slot = self._replaced
        if slot is not None:
            if slot.is_leaving:
                self._enforce_leaving(slot)
                return
            if slot.worker is None or self._clock() - slot.started < STEADY_SECONDS:
                return
        self._replaced = slot = self._to_replace.pop(0) if self._to_replace else None
        if slot is not None and slot.worker is not None:
            slot.is_leaving = True
            self._deadline = self._clock() + self._grace_seconds
            slot.worker.send_signal(signal.SIGTERM)

    def _enforce_leaving(self, slot: _Slot) -> None:
        """QUIT after the grace time, so that the worker gives its job back; KILL when it does not end after that."""
        if self._clock() < self._deadline or slot.worker is None:
            return
        log.warning(event("worker does not make way", slot=slot.number, grace_seconds=self._grace_seconds))
        slot.worker.send_signal(signal.SIGKILL if slot.was_told_to_quit else signal.SIGQUIT)
        slot.was_told_to_quit = True
        self._deadline = self._clock() + KILL_WAIT_SECONDS

    def _enforce_deadline(self) -> None:
        if self._clock() < self._deadline:
            return
        if self.state is State.STOPPING:
            log.warning(event("grace time over", grace_seconds=self._grace_seconds))
            self._stop_at_once()
        else:
            self._signal_all(signal.SIGKILL, KILL_WAIT_SECONDS)

    def _stop_at_once(self) -> None:
        """QUIT: workers end their bots and release the jobs; KILL follows for one that does not."""
        log.info(event("pool stopping at once"))
        self.state = State.KILLING
        self._signal_all(signal.SIGQUIT, KILL_WAIT_SECONDS)

    def _signal_all(self, number: int, seconds: float) -> None:
        """`seconds` is how long they have to end."""
        self._deadline = self._clock() + seconds
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.send_signal(number)
