"""Locks on files, which the kernel releases when the last process that holds one has ended (flock(2))."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError

PAUSE_SECONDS = 0.02


def take_file_lock(path: Path, name: str = "the lock", tries: int = 1) -> Optional[int]:
    """A descriptor that holds the lock of the file at `path`, close-on-exec; None when another process has the lock.

    The file is made when there is none. A lock that is taken is tried `tries` times, PAUSE_SECONDS apart; otherwise
    this costs some microseconds. `name` is what the ConfigurationError calls it when it is unusable.
    """
    descriptor = open_private(path, name)
    for tries_left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if tries_left:
                time.sleep(PAUSE_SECONDS)
        except OSError as error:
            os.close(descriptor)
            remedy = "name a local folder, in your home, as BOT_DATA_DIR"
            why = f"{path}: this file system has no locks ({error.strerror}); {remedy}"
            raise ConfigurationError(why) from error
    os.close(descriptor)
    return None


def open_private(path: Path, name: str) -> int:
    """A descriptor of the file for reading and writing, close-on-exec. It is made when there is none.

    Only its owner can open it from now on: whoever can open a file can hold its lock, and keep us waiting (flock(2)).
    Raises ConfigurationError for one that is a link, cannot be opened, or is another user's and open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: {name} cannot be opened ({error.strerror})") from error
    status = os.fstat(descriptor)
    if not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return descriptor
    try:
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        if status.st_uid != os.geteuid():
            os.close(descriptor)
            raise ConfigurationError(f"{path}: {name} is another user's file; delete it, it is made anew") from error
    return descriptor
