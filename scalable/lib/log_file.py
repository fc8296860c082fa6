"""Keeps the file that a line of cron sends the log to from growing for ever: some files of a bounded size.

Cron opens the file, `>> scalable.log 2>&1`, and knows nothing of this. Any number of processes may write it. A full
file gets the name of an older one, and the oldest goes; every process looks before each line whether the file still has
its name, and otherwise goes on in the new one. So no line is lost on the way, and logrotate is followed, too.

Cron's umask is often 022: then another user may have opened the file before the first line. To take the right to read
it away does not end that. So such a file is put aside like a full one, and what is written goes into one made private.
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
_STANDARD_STREAMS = (1, 2)
LOCK = ".lock"
# Device and inode of files that were open to others and could not be put aside.
_were_open: set[tuple[int, int]] = set()


def bounded_log(max_bytes: int = MAX_BYTES, older_files: int = OLDER_FILES) -> Callable[[], None]:
    """What is to be called before each line of standard error: it keeps the file below `max_bytes`. Never raises.

    So many `older_files` are kept beside it. No line goes into one that others may have open. Does nothing where
    standard error is no file of this user: a terminal, a pipe, the log of a web server.
    """
    try:
        found = os.fstat(2)
        is_own_file = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        name = _name_of(2) if is_own_file else ""
    except OSError:  # no such stream
        name = ""
    if not name:
        return lambda: None
    # This process was started by one that has not gone on to the new file yet.
    path = Path(_IS_OLDER.sub("", name.removesuffix(" (deleted)")))
    return _LogFile(path, max_bytes, older_files).keep_short


def is_for_us_alone(descriptor: int) -> bool:
    """Whether it is a file that nobody else can have open: private, ours, and never found open to others.

    Where the folder is not ours to write, an open file cannot have been put aside by an earlier process of ours.
    Raises OSError.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & FOR_OTHERS:
        return False
    name = _name_of(descriptor)
    has_name = bool(name) and os.path.exists(name) and os.path.samestat(os.lstat(name), found)
    was_open = (found.st_dev, found.st_ino) in _were_open
    return has_name and not was_open and os.access(os.path.dirname(name), os.W_OK | os.X_OK)


def _name_of(descriptor: int) -> str:
    """Empty on a system without /proc."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        _close_to_others(descriptor)
        return ""


def _close_to_others(descriptor: int) -> None:
    """All that is left where the file cannot be put aside: who has it open reads on."""
    found = os.fstat(descriptor)
    if found.st_mode & FOR_OTHERS:
        _were_open.add((found.st_dev, found.st_ino))
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~FOR_OTHERS)


class _LogFile:
    def __init__(self, path: Path, max_bytes: int, older_files: int) -> None:
        self._path = path
        self._older = [Path(f"{path}{OLDER}" + (f".{number}" if number > 1 else "")) for number in _to(older_files)]
        self._max_bytes = max_bytes
        self._is_given_up = False

    def keep_short(self) -> None:
        """Go on in the file that has the name now; first give this one another name when it is full, or open."""
        if self._is_given_up:
            return
        try:
            if self._is_open():
                self._put_aside(fcntl.LOCK_EX)
            elif self._has_its_name() and os.fstat(2).st_size >= self._max_bytes:
                self._put_aside(fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._has_its_name():
                self._go_on()
                if self._is_open():  # who took the old one away made this one, with another umask
                    self._put_aside(fcntl.LOCK_EX)
                    self._go_on()
        except OSError as error:
            self._is_given_up = True
            with contextlib.suppress(OSError):
                _close_to_others(2)
            with contextlib.suppress(OSError):
                line = event("log is not kept short", file=self._path, cause=error)
                os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))

    def _is_open(self) -> bool:
        return bool(os.fstat(2).st_mode & FOR_OTHERS) and self._has_its_name()

    def _has_its_name(self) -> bool:
        return _is_at(self._path, 2)

    def _put_aside(self, how: int) -> None:
        """One process does it. Of a full one, others write on meanwhile; of an open one they wait for the new file."""
        lock = Path(f"{self._path}{LOCK}")  # not the log: whoever has that open could lock it
        descriptor = os.open(lock, _FLAGS, 0o600)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & FOR_OTHERS:
                raise PermissionError(f"{lock} is no private file of ours")
            fcntl.flock(descriptor, how)
            if not _is_at(lock, descriptor):  # another process has done it
                return
            if self._has_its_name():
                self._rename()
            lock.unlink()
        except BlockingIOError:
            return
        finally:
            os.close(descriptor)

    def _rename(self) -> None:
        was_open, older = self._is_open(), self._older
        if not older and os.fstat(2).st_size >= self._max_bytes:
            self._path.unlink()
        elif not older:  # open, and perhaps written on by the shell that made it
            older = [Path(f"{self._path}{OLDER}")]
        names = [self._path, *older]
        for younger, elder in reversed(list(zip(names, names[1:]))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(younger, elder)
        if was_open:  # at last: a process that begins now has to see either that it is open or that it has no name
            os.fchmod(2, stat.S_IMODE(os.fstat(2).st_mode) & ~FOR_OTHERS)

    def _go_on(self) -> None:
        """Standard error, and standard output where it is the same file, from now on go to the one of the name."""
        before = os.fstat(2)
        new = os.open(self._path, _FLAGS, stat.S_IMODE(before.st_mode) & ~FOR_OTHERS)
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


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _to(last: int) -> range:
    return range(1, last + 1)
