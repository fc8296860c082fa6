"""A progress bar for a person who has a worker drain the queue in a terminal."""

from __future__ import annotations

import sys
from typing import Optional, TextIO

BAR_WIDTH = 30


class ProgressBar:
    """Redraws one line on a terminal; silent when `stream` is none, so that cron sends no mail."""

    def __init__(self, pending: int, stream: Optional[TextIO] = None) -> None:
        # The real one: what is printed by ours may not move the cursor.
        self._stream = stream or sys.__stderr__ or sys.stderr
        self._total = pending
        self._active = self._stream.isatty() and self._total > 0

    def show(self, runs: int) -> None:
        """`runs` of the jobs that were pending at the start have been run."""
        if not self._active:
            return
        total = max(self._total, runs)
        filled = BAR_WIDTH * runs // total
        self._stream.write(f"\r[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {runs}/{total} updates")
        self._stream.flush()

    def end(self) -> None:
        """Leave the bar and go to the next line."""
        if self._active:
            self._stream.write("\n")
