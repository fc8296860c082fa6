"""The event loop of a bot whose function is `async`: it runs in a thread of its own, between updates too.

There is one for the whole process, however many runners there are: libraries tie sessions, locks and queues to the loop
that first used them, so that a bot's one `Bot` object works in no other (measured: aiogram 3 and python-telegram-bot 22
fail every call from a second loop).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Optional

from scalable.lib.host_limits import within_limits
from scalable.lib.logs import event
from scalable.lib.runners.python.bot_thread import GRACE_SECONDS, Call, CallEnd, StoppedByWorker, raise_in

log = logging.getLogger(__name__)
# How long what the bot left running may take to end, when the worker does.
CANCEL_SECONDS = 5.0


class BotLoop:
    """Its thread starts with the first call. `is_stuck`: something in it does not end, although it was told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.is_stuck = False
        self._closing = False
        self._starting = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def start(self, work: Callable[[], object]) -> Call:
        """Begin to call `work` in a task, and to await what it returns when it can be awaited. From any thread."""
        call = _LoopCall(self, work)
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run_loop, name="bot loop", daemon=True)
                with within_limits():
                    thread.start()
                self._thread = thread
        self.loop.call_soon_threadsafe(call.begin)
        return call

    def close(self) -> None:
        """Cancel the tasks that are left, close asynchronous generators and the loop, in CANCEL_SECONDS."""
        if self._thread is None:
            self.loop.close()
            return
        self._closing = True
        with contextlib.suppress(RuntimeError):  # it is closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(GRACE_SECONDS if self.is_stuck else CANCEL_SECONDS + GRACE_SECONDS)
        if self._thread.is_alive():
            log.warning(event("bot loop left running", cause="something in it does not end"))

    def interrupt(self) -> None:
        """Raise StoppedByWorker in whatever its thread is executing."""
        if self._thread is not None:
            raise_in(self._thread, StoppedByWorker)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._closing:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt, StoppedByWorker) as error:  # of a task that no run waits for
                log.warning(event("bot loop interrupted", cause=type(error).__name__))
        with contextlib.suppress(asyncio.TimeoutError):
            left = asyncio.all_tasks(self.loop)
            self.loop.run_until_complete(asyncio.wait_for(self._cancel(left), CANCEL_SECONDS))
        self.loop.close()

    async def _cancel(self, left: set[asyncio.Task[object]]) -> None:
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCEL_SECONDS / 2)
        await self.loop.shutdown_asyncgens()


class _LoopCall(Call):
    def __init__(self, bot_loop: BotLoop, work: Callable[[], object]) -> None:
        super().__init__(work)
        self._bot_loop = bot_loop
        self._task: Optional[asyncio.Task[None]] = None
        self._is_cancelled = False

    def begin(self) -> None:
        self._task = self._bot_loop.loop.create_task(self._perform())
        if self._is_cancelled:
            self._task.cancel()

    async def _perform(self) -> None:
        try:
            value = self._work()
            ended = CallEnd(await value if inspect.isawaitable(value) else value)
        except BaseException as error:  # noqa: BLE001  # SystemExit and KeyboardInterrupt would end the loop
            ended = CallEnd(error=error)
        self._ends.put(ended)

    def stop(self) -> bool:
        self._is_cancelled = True
        if self._task is None:  # the loop was busy with another update all the time: `begin` will cancel this one
            return True
        for force in (self._cancel, self._interrupt) * 2:  # a second time, for a bot that caught the first
            force(self._task)
            gives_up = time.monotonic() + GRACE_SECONDS / 4
            while not self._task.done() and time.monotonic() <= gives_up:
                time.sleep(0.01)
            if self._task.done():
                return True
        self._bot_loop.is_stuck = True
        return False

    def _cancel(self, task: asyncio.Task[None]) -> None:
        self._bot_loop.loop.call_soon_threadsafe(task.cancel)

    def _interrupt(self, task: asyncio.Task[None]) -> None:
        if asyncio.current_task(self._bot_loop.loop) is task:  # it awaits nothing, so it cannot be cancelled
            self._bot_loop.interrupt()
