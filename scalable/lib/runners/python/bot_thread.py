"""A thread that calls the bot, one call after the other, and that can be told to stop in the middle of one.

Python has no way to end a thread from outside, but it can raise an exception in it, before its next instruction. A
thread that waits in a system call does not get that far: it is left running.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Optional

from scalable.lib.deadline import Deadline
from scalable.lib.host_limits import within_limits
from scalable.lib.runners.process import TERM_SECONDS

# How long a bot may take to stop.
GRACE_SECONDS = TERM_SECONDS


class StoppedByWorker(BaseException):
    """Raised inside the bot when its time is over. Not an Exception, so that `except Exception` lets it pass."""


@dataclass(frozen=True)
class CallEnd:
    """How a call ended: with a `value`, or with the `error` it raised."""

    value: object = field(default=None, repr=False)
    error: Optional[BaseException] = field(default=None, repr=False)


class Call(ABC):
    """One call of the bot, in another thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._ends: SimpleQueue[CallEnd] = SimpleQueue()

    def wait(self, deadline: Deadline) -> CallEnd:
        """How it ended. Raises what `deadline` raises; the call goes on then."""
        while True:
            wait_seconds = deadline.wait_seconds()
            with contextlib.suppress(Empty):
                return self._ends.get(timeout=wait_seconds)

    @abstractmethod
    def stop(self) -> bool:
        """Make it end within GRACE_SECONDS; False when it goes on all the same."""


class BotThread:
    """Runs until `end`, or until a call in it was stopped: a late exception might hit the next call."""

    def __init__(self) -> None:
        self.is_usable = True
        self._calls: SimpleQueue[Optional[_ThreadCall]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run_calls, name="bot", daemon=True)
        with within_limits():
            self._thread.start()

    def start(self, work: Callable[[], object]) -> Call:
        """Begin to call `work`; the one before must have ended."""
        call = _ThreadCall(self, work)
        self._calls.put(call)
        return call

    def stop(self) -> bool:
        """End it and the call at hand; False when the bot does not come back."""
        self.is_usable = False
        self._calls.put(None)
        for _ in range(2):  # a second time, for a bot that caught the first
            raise_in(self._thread, StoppedByWorker)
            self._thread.join(GRACE_SECONDS / 2)
            if not self._thread.is_alive():
                return True
        return False

    def end(self) -> None:
        """End it between two calls; safe to repeat."""
        self.is_usable = False
        self._calls.put(None)
        self._thread.join(GRACE_SECONDS)

    def _run_calls(self) -> None:
        with contextlib.suppress(StoppedByWorker):  # one that came too late for the call it was meant for
            while True:
                call = self._calls.get()
                if call is None:
                    return
                call.perform()
                del call  # not kept until the next one comes


class _ThreadCall(Call):
    def __init__(self, thread: BotThread, work: Callable[[], object]) -> None:
        super().__init__(work)
        self._thread = thread

    def perform(self) -> None:
        try:
            ended = CallEnd(self._work())
        except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt of the bot are not the worker's
            ended = CallEnd(error=error)
        self._ends.put(ended)

    def stop(self) -> bool:
        return self._thread.stop()


def raise_in(thread: threading.Thread, kind: type[BaseException]) -> None:
    """Raise `kind` in `thread` before its next instruction (C API, PyThreadState_SetAsyncExc)."""
    try:
        import ctypes  # here, because few runs need it, and a Python without libffi does not have it
    except ImportError:
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(kind))
