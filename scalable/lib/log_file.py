"""Keeps the file that a line of cron sends the log to from growing for ever: some files of a bounded size.

Cron opens the file, `>> scalable.log 2>&1`, and knows nothing of this. Any number of processes may write it. A full
file gets the name of an older one, and the oldest goes; every process looks before each line whether the file still has
its name, and otherwise goes on in the new one. So no line is lost on the way, and logrotate is followed, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from scalable.lib.logs import event

# A megabyte is some 6,000 updates.
MAX_BYTES = 10_000_000
OLDER_FILES = 3
# The youngest of them is `.older`, then `.older.2`, `.older.3`.
OLDER = ".older"
_IS_OLDER = re.compile(r"\.older(\.\d+)?$")
FOR_OTHERS = 0o077
# Somebody may have put a pipe in the file's place: without O_NONBLOCK, opening it waits for who reads it.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_STANDARD_STREAMS, _STANDARD_ERROR = (1, 2), "/proc/self/fd/2"


def bounded_log(max_bytes: int = MAX_BYTES, older_files: int = OLDER_FILES) -> Callable[[], None]:
    """What is to be called before each line of standard error: it keeps the file below `max_bytes`. Never raises.

    So many `older_files` are kept beside it. The file is made private at once. Does nothing where standard error is no
    file of this user: a terminal, a pipe, the log of a web server.
    """
    try:
        found = os.fstat(2)
        is_own_file = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if is_own_file and found.st_mode & FOR_OTHERS:  # cron made it, and its umask is often 022
            os.fchmod(2, stat.S_IMODE(found.st_mode) & ~FOR_OTHERS)
        name = os.readlink(_STANDARD_ERROR) if is_own_file else ""
    except OSError:  # no such stream, or a system without /proc: there it stays as it is
        name = ""
    if not name:
        return lambda: None
    # This process was started by one that has not gone on to the new file yet.
    path = Path(_IS_OLDER.sub("", name.removesuffix(" (deleted)")))
    return _LogFile(path, max_bytes, older_files).keep_short


class _LogFile:
    def __init__(self, path: Path, max_bytes: int, older_files: int) -> None:
        self._path = path
        self._older = [Path(f"{path}{OLDER}" + (f".{number}" if number > 1 else "")) for number in _to(older_files)]
        self._max_bytes = max_bytes
        self._is_given_up = False

    def keep_short(self) -> None:
        """Go on in the file that has the name now; first give this one another name when it is full."""
        if self._is_given_up:
            return
        try:
            if self._has_its_name() and os.fstat(2).st_size >= self._max_bytes:
                self._put_aside()
            if not self._has_its_name():
                self._go_on()
        except OSError as error:
            self._is_given_up = True
            with contextlib.suppress(OSError):
                line = event("log is not kept short", file=self._path, cause=error)
                os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))

    def _has_its_name(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(2))
        except FileNotFoundError:
            return False

    def _put_aside(self) -> None:
        """One process does it; one that comes at the same moment writes on, and finds it done before its next line."""
        descriptor = os.open(_STANDARD_ERROR, os.O_RDONLY | os.O_CLOEXEC)  # of its own, as a lock needs it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._has_its_name():
                self._rename()
        except BlockingIOError:
            return
        finally:
            os.close(descriptor)

    def _rename(self) -> None:
        if not self._older:
            self._path.unlink()
        names = [self._path, *self._older]
        for younger, older in reversed(list(zip(names, names[1:]))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(younger, older)

    def _go_on(self) -> None:
        """Standard error, and standard output where it is the same file, from now on go to the one of the name."""
        before = os.fstat(2)
        new = os.open(self._path, _FLAGS, stat.S_IMODE(before.st_mode))
        try:
            found = os.fstat(new)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != before.st_uid:
                raise PermissionError("another user has made a file of this name")
            os.set_blocking(new, True)  # what is started from here gets it, too
            for stream in _STANDARD_STREAMS:
                if os.path.samestat(os.fstat(stream), before):
                    os.dup2(new, stream)
        finally:
            os.close(new)


def _to(last: int) -> range:
    return range(1, last + 1)
