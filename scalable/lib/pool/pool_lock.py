"""One pool per installation, by a lock on a file that names its holder."""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import AlreadyRunning, ConfigurationError
from scalable.lib.pool.file_lock import take_file_lock

# `holder` shares the lock for some microseconds, which must not keep a pool from starting.
TRIES = 11


@dataclass(frozen=True)
class Holder:
    """What holds the lock: a process, and the machine it runs on; None for what cannot be read."""

    pid: Optional[int]
    host: Optional[str]

    @property
    def is_here(self) -> bool:
        """Whether that process can be sent signals from here: the data folder may be shared by several machines."""
        return self.pid is not None and self.host == socket.gethostname()


class PoolLock:
    """Held from `take` to `release`, or the end of the process. Opened close-on-exec: no worker inherits the lock."""

    def __init__(self, path: Path, tries: int = TRIES) -> None:
        """`tries`: how often `take` tries it while another process has it, see take_file_lock."""
        self._path = path
        self._tries = tries
        self._descriptor: Optional[int] = None

    def take(self, ensure: bool = False) -> bool:
        """Whether this process has the lock from now on; False when another pool has it and `ensure` asks for no more.

        Raises AlreadyRunning with the holder's pid otherwise, ConfigurationError when the file is unusable.
        """
        descriptor = take_file_lock(self._path, "the pool's lock", self._tries)
        if descriptor is None:
            if ensure:
                return False
            pid = (self.holder() or Holder(None, None)).pid
            raise AlreadyRunning(f"a pool of this installation is running already (pid {pid or 'unknown'})", pid)
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        return True

    def release(self) -> None:
        """Another pool may have it from now on; safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> Optional[Holder]:
        """What holds it now; None when it is free. Takes it shared for a moment, to be sure."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{self._path}: the pool's lock cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            pid, _, host = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip().partition(" ")
            return Holder(int(pid) if pid.isdigit() else None, host or None)
        finally:
            os.close(descriptor)
