"""A worker as its pool starts and watches it. It counts as ended only when its guard has ended the bot, too."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import time
from typing import Optional

from scalable.lib.logs import event

log = logging.getLogger(__name__)
# The guard of a killed worker needs a few milliseconds. One that hangs must not keep the lane of its job for long.
GUARD_SECONDS = 0.2
GUARD_PATIENCE_SECONDS = 5.0


class WorkerProcess:
    """One started worker; see pool.Child. `bell` is the descriptor on which it hears that there is work.

    Worker and guard hold the write end of a pipe, the bot does not. Reading its end means that both are gone: only then
    may the job be given to another worker, or the bot would run twice at the same time.
    """

    def __init__(self, script: str, name: str, wakeup_pipe: int) -> None:
        self._lifeline, theirs = os.pipe()
        try:
            # A session of its own: a Ctrl-C in the terminal is the pool's to hear and to pass on.
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    script,
                    "--name",
                    name,
                    "--pool-pid",
                    str(os.getpid()),
                    "--lifeline",
                    str(theirs),
                    "--bell",
                    str(wakeup_pipe),
                ],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs, wakeup_pipe],
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(theirs)
        self._name = name
        self._ended: Optional[float] = None
        self._is_over = False

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """To the worker alone."""
        self._process.send_signal(number)

    def poll(self) -> Optional[int]:
        """The exit code once worker and guard are gone; None before. Waits a moment for the guard."""
        exit_code = self._process.poll()
        if exit_code is None or self._is_over:
            return exit_code
        self._ended = self._ended or time.monotonic()
        if not self._guard_is_gone():
            if time.monotonic() - self._ended < GUARD_PATIENCE_SECONDS:
                return None
            log.warning(event("guard of a dead worker did not end", worker=self._name))
        os.close(self._lifeline)
        self._is_over = True
        return exit_code

    def _guard_is_gone(self) -> bool:
        """Nobody ever writes into the pipe, so it becomes readable at its end alone."""
        return bool(select.select([self._lifeline], [], [], GUARD_SECONDS)[0])
