"""What a worker has run and not stored yet, in a small file of the data folder, for the case that it is killed.

A worker claims several jobs at once, and stores how quick runs ended together. The database cannot know what it was
about when it died: a statement for each run would cost more than many a run. A line of the file is written in place
when a run begins, and when it succeeded, and outlives the process, but not a fall of the whole machine. Whoever ends
the leases of the worker reads it: see queue/reaping.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import struct
import time
from pathlib import Path
from typing import Optional

from scalable.lib.logs import event
from scalable.lib.queue.job import KnownRuns, Lease

log = logging.getLogger(__name__)
# Two for each run; more than a worker has at hand, however many slots it has.
MOST_LINES = 2048
# A link that somebody put there is not written through.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
KEEP_SECONDS = 30 * 86_400.0
_NAME = ".ht-runs-"
_HEADER = struct.Struct("64s")
_LINE = struct.Struct("<q16sq")  # job, token of the lease, what happened
_BEGUN, _SUCCEEDED = 1, 2
_SIZE = _HEADER.size + MOST_LINES * _LINE.size
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RunLog:
    """The file of one worker, which knows what it has run since it was opened. For all its slots; never raises.

    When the file cannot be written any more it is deleted, and nothing is known of this worker.
    """

    def __init__(self, path: Path, boot_id: bytes) -> None:
        self._path = path
        self._numbers = itertools.count()  # next() is one step for all threads
        self._file: Optional[int] = None
        try:
            self._file = os.open(path, _FLAGS, 0o600)
            os.write(self._file, _HEADER.pack(boot_id).ljust(_SIZE, b"\0"))  # all of it: later the disk may be full
        except OSError as error:
            self._give_up(error)

    def begun(self, lease: Lease) -> None:
        """The bot is run from now on with that job."""
        self._write(lease, _BEGUN)

    def succeeded(self, lease: Lease) -> None:
        """That run is over, and was a plain success."""
        self._write(lease, _SUCCEEDED)

    def close(self, is_needed: bool = False) -> None:
        """The worker ends; `is_needed`: it still holds jobs, and others have to find out what became of them."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if not is_needed:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _write(self, lease: Lease, what: int) -> None:
        if self._file is None:
            return
        line = _LINE.pack(lease.job_id, lease.token.encode(), what)
        try:
            os.pwrite(self._file, line, _HEADER.size + next(self._numbers) % MOST_LINES * _LINE.size)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        log.warning(event("runs are not noted", file=self._path.name, cause=error))
        self.close()


class RunLogs:
    """Those of all workers of this installation on this machine."""

    def __init__(self, folder: Path, boot_id: Optional[bytes] = None) -> None:
        self._folder = folder
        self._boot_id = _read_boot_id() if boot_id is None else boot_id

    def open(self, worker: str) -> RunLog:
        """That of a worker that begins. Never raises."""
        return RunLog(self._path(worker), self._boot_id)

    def of(self, worker: str) -> Optional[KnownRuns]:
        """What it has run; None when that is not known."""
        try:
            kept = self._path(worker).read_bytes()
        except OSError:
            return None
        if len(kept) != _SIZE or not self._boot_id or kept[: _HEADER.size] != _HEADER.pack(self._boot_id):
            return None
        lines = [(job_id, token.rstrip(b"\0").decode("ascii", "replace"), what) for job_id, token, what in _lines(kept)]
        succeeded = {(job_id, token) for job_id, token, what in lines if what == _SUCCEEDED}
        return KnownRuns({(job_id, token) for job_id, token, _ in lines}, succeeded)

    def forget(self, worker: str) -> None:
        """Nothing of that worker's is left."""
        with contextlib.suppress(OSError):
            self._path(worker).unlink()

    def prune(self) -> None:
        """Delete those of workers that ended long ago, in whatever way."""
        for path in self._folder.glob(f"{_NAME}*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                    path.unlink()

    def _path(self, worker: str) -> Path:
        return self._folder / f"{_NAME}{hashlib.sha256(worker.encode()).hexdigest()[:24]}"


def _lines(kept: bytes) -> list[tuple[int, bytes, int]]:
    return [(job_id, token, what) for job_id, token, what in _LINE.iter_unpack(kept[_HEADER.size :]) if what]


def _read_boot_id() -> bytes:
    """What changes when the machine starts again; empty when it is not told: then nothing is known of a dead worker."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""
