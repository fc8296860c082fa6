"""One pool per installation, by a lock the kernel takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import AlreadyRunning, ConfigurationError

# Whoever only looks holds the lock for some microseconds, and must not keep a pool from starting.
LOOKS, LOOK_SECONDS = 10, 0.02


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: a process, and the machine it runs on; None for what cannot be read."""

    pid: Optional[int]
    host: Optional[str]

    @property
    def is_here(self) -> bool:
        """Whether that process can be sent signals from here: the data folder may be shared by several machines."""
        return self.pid is not None and self.host == socket.gethostname()


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
            _lock(descriptor)
        except BlockingIOError as error:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            message = f"a pool of this installation is running already (pid {holder.pid or 'unknown'})"
            raise AlreadyRunning(message, holder.pid) from error
        except OSError as error:
            os.close(descriptor)
            why = f"{self._path}: this file system has no locks ({error.strerror}); name a local folder as BOT_DATA_DIR"
            raise ConfigurationError(why) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        self._descriptor = descriptor

    def holder(self) -> Optional[Holder]:
        """Who holds it now; None when nobody does. Shares it for a moment with others that look, to be sure."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the pool's lock cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return _read_holder(descriptor)
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError when another process has the lock, and keeps it."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(descriptor: int) -> Holder:
    pid, _, host = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip().partition(" ")
    return Holder(int(pid) if pid.isdigit() else None, host or None)
