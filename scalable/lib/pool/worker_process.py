"""A worker as its pool starts it. It counts as ended only when its process reaper has ended the bot, too."""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
import time
from typing import Optional

from scalable.lib.inherited_umask import inherited_umask
from scalable.lib.logs import event

log = logging.getLogger(__name__)
# The reaper of a killed worker needs a few milliseconds. One that hangs must not block the lane of the job for long.
REAPER_SECONDS = 0.2
LONGEST_REAPER_SECONDS = 5.0


class WorkerProcess:
    """One started worker, which waits for work on the descriptor `wakeup_pipe`. Raises OSError.

    Worker and reaper hold the write end of a pipe, the bot does not. Its end means that both are gone: only then may
    the job be given to another worker, or the bot would run twice at the same time.
    """

    def __init__(self, script: str, name: str, wakeup_pipe: int) -> None:
        self._lifeline, theirs = os.pipe()
        pool_options = f"--pool-pid {os.getpid()} --lifeline {theirs} --bell {wakeup_pipe}".split()
        try:
            # A session of its own: a Ctrl-C in the terminal reaches the pool alone, which tells the workers.
            self._process = subprocess.Popen(
                [sys.executable, script, "--name", name, *pool_options],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                umask=inherited_umask(),  # the worker's bots get it; for itself it takes its own
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
        """Send a signal to the worker alone; the bot it runs is in a group of its own."""
        self._process.send_signal(number)

    def poll(self) -> Optional[int]:
        """The exit code once worker and reaper are gone; None before. Waits up to REAPER_SECONDS for the reaper."""
        exit_code = self._process.poll()
        if exit_code is None or self._is_over:
            return exit_code
        self._ended = self._ended or time.monotonic()
        if not select.select([self._lifeline], [], [], REAPER_SECONDS)[0]:  # nothing is written: readable at its end
            if time.monotonic() - self._ended < LONGEST_REAPER_SECONDS:
                return None
            log.warning(event("guard of a dead worker did not end", worker=self._name))
        os.close(self._lifeline)
        self._is_over = True
        return exit_code
