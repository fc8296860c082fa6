"""Whether the SQLite file is the one that this installation has written so far, or something else was put in its place.

An older file beside a newer `-wal` opens without an error, takes updates, and is malformed where the two do not fit:
what is stored there may never be read again. So beside the file is a note, `-seen`, with its inode and size: the file
only grows. Where that does not fit, or somebody found it malformed, it is checked as a whole before it is used.

Cheap to import: a CGI process does it for each update.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

DAMAGED = "damaged"
MALFORMED = ("malformed", "not a database")
# A link that somebody put there is not written through.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class SqliteFile:
    """The file at `path`. Safe to share between threads."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._note = f"{path}-seen"
        self._checked: Optional[tuple[int, ...]] = None

    def is_as_seen(self) -> bool:
        """Whether it certainly is the file that was written so far; costs next to nothing. False for a new one."""
        try:
            found, noted = os.stat(self._path), self._read()
        except OSError:
            return False
        inode, size = _numbers(noted)
        return inode == found.st_ino and size <= found.st_size

    def make(self) -> None:
        """Make the file, for this user alone whatever the umask; nothing when there is one. Never raises.

        SQLite would make it as the umask says, and gives its `-wal` and `-shm` the mode of the file itself.
        """
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError:  # it is there; or it cannot be made, which SQLite says in its own words
            return

    def check(self) -> None:
        """Make sure of it before it is used.

        Raises sqlite3.DatabaseError with the remedy when it is damaged, or a file of another user.
        """
        state = self._state()
        if state is None or state == self._checked:
            return
        for path in (self._path, self._note):
            if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
                raise _not_ours(path)
        if not self.is_as_seen():
            problem = self._problem()
            if problem:
                self._write(DAMAGED)
                raise _damaged(self._path, problem)
        found = os.stat(self._path)
        if _numbers(self._read()) != (found.st_ino, found.st_size):
            self._write(f"{found.st_ino} {found.st_size}")
        self._checked = self._state()

    def noticed(self, error: Exception) -> None:
        """A statement failed: a damaged file is checked by every process before its next use. Raises as `check`."""
        if any(sign in str(error) for sign in MALFORMED):
            self._write(DAMAGED)
            self._checked = None
            self.check()

    def _state(self) -> Optional[tuple[int, ...]]:
        """What changes when the file is replaced or grows, and when the note does; None before there is a file."""
        try:
            found = os.stat(self._path)
            noted = os.stat(self._note) if os.path.exists(self._note) else None
        except FileNotFoundError:
            return None
        of_note = (noted.st_ino, noted.st_mtime_ns) if noted else (0, 0)
        return found.st_ino, found.st_size, *of_note

    def _problem(self) -> str:
        """What is wrong with the file, read as a whole; empty when nothing is."""
        import sqlite3

        # Read only where there is a -wal: the last one to close a connection that may write would mix the two for good.
        mode = "ro" if os.path.exists(f"{self._path}-wal") else "rw"
        try:
            connection = sqlite3.connect(f"file:{_quoted(self._path)}?mode={mode}", uri=True, timeout=15)
            try:
                answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            return str(error) if any(sign in str(error) for sign in MALFORMED) else ""
        return "" if answer == "ok" else " ".join(answer.split())

    def _read(self) -> str:
        try:
            with open(self._note, encoding="ascii", errors="replace") as note:
                return note.read(100)
        except FileNotFoundError:
            return ""

    def _write(self, text: str) -> None:
        """Whole or not at all; a note that cannot be written is missed by nobody but the next process."""
        unfinished = f"{self._note}.{os.getpid()}"
        try:
            with open(os.open(unfinished, _FLAGS, 0o600), "w", encoding="ascii") as note:
                note.write(text)
            os.replace(unfinished, self._note)
        except OSError:
            return


def _numbers(note: str) -> tuple[int, int]:
    """Inode and size; zeros for anything else."""
    words = note.split()
    return (int(words[0]), int(words[1])) if len(words) == 2 and "".join(words).isdigit() else (0, 0)


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(path))


def _not_ours(path: str) -> Exception:
    """Somebody ran a command as root, or as the user of the web server, and left its file."""
    import sqlite3

    from scalable.lib.queue.dialects.server_trust import name_of

    owner, us = name_of(os.stat(path).st_uid), name_of(os.geteuid())
    return sqlite3.OperationalError(
        f"{os.path.basename(path)} belongs to user {owner}, and user {us} may not read and write it: "
        f"chown {us} {path}; web server, cron and shell have to run as one user"
    )


def _damaged(path: str, problem: str) -> Exception:
    import sqlite3

    name = os.path.basename(path)
    return sqlite3.DatabaseError(
        f"the file is malformed, nothing is stored into it ({problem[:200]}). Often it is an older copy that was put "
        f"back beside a newer {name}-wal. Stop the pool, put the copy back and delete {name}-wal and {name}-shm; or "
        "move all three away: then a new file is made"
    )
