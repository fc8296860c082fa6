"""One pool per installation, by a lock the kernel takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Optional

from scalable.lib.errors import AlreadyRunning, ConfigurationError


class PoolLock:
    """Held from `take` to the end of the process. The file is opened close-on-exec, so no worker inherits the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: Optional[int] = None

    def take(self) -> None:
        """Raises AlreadyRunning with the holder's pid when another pool has it, ConfigurationError when unusable."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the pool's lock cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = _read_pid(descriptor)
            os.close(descriptor)
            message = f"a pool of this installation is running already (pid {pid or 'unknown'})"
            raise AlreadyRunning(message, pid) from error
        except OSError as error:
            os.close(descriptor)
            why = f"{self._path}: this file system has no locks ({error.strerror}); name a local folder as BOT_DATA_DIR"
            raise ConfigurationError(why) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor


def _read_pid(descriptor: int) -> Optional[int]:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
