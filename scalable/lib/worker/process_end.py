"""Ends a process in which a bot was run, whatever threads the bot left in it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time

END_SECONDS = 5.0


def end_within(seconds: float, exit_code: int) -> None:
    """Call it last: the process ends by itself, or after `seconds` with `exit_code` whatever still runs in it.

    Python waits for every thread that is no daemon, and a bot may have started some, or left its executor busy.
    """
    with contextlib.suppress(RuntimeError):  # the host allows no more threads: then there is no time limit
        threading.Thread(target=_end_late, args=(seconds, exit_code), name="ending", daemon=True).start()


def _end_late(seconds: float, exit_code: int) -> None:
    time.sleep(seconds)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # its reader is gone, or it is closed
            stream.flush()
    os._exit(exit_code)
