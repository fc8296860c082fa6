"""Which logins have ended before their time: a cookie that was copied is no good after its owner logged out.

A small private file of the data folder, where the secret is that seals the cookies. It cannot grow without end: of each
role MOST_OF_A_ROLE are kept by name; of more than that, all logins up to the age of the older half have ended.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scalable.lib.dashboard.access import Role, Session
from scalable.lib.errors import ConfigurationError
from scalable.lib.pool.file_lock import take_file_lock
from scalable.lib.setup.files import write_file

MOST_OF_A_ROLE = 200
# Two seconds: another process holds the lock for some milliseconds.
TRIES = 100
ALL = "-"
_LINE = re.compile(r"(owner|reader) ([0-9]{1,12}) ([0-9a-f]{32}|-)", re.ASCII)


@dataclass(frozen=True)
class EndedSessions:
    """The file at `path`. Safe in many processes; what cannot be read or written raises ConfigurationError."""

    path: Path
    clock: Callable[[], float] = time.time

    def has(self, session: Session) -> bool:
        """Whether this login has ended."""
        return any(
            each.role is session.role
            and (each.name == session.name or (each.name == ALL and session.expires <= each.expires))
            for each in self._read()
        )

    def end(self, session: Session) -> None:
        """From now on it has ended, in every process. Safe to repeat."""
        lock = take_file_lock(self.path.with_name(f"{self.path.name}.lock"), "the lock of the sessions", TRIES)
        if lock is None:
            raise ConfigurationError(f"{self.path}: another process keeps its lock; end that process")
        try:
            now = self.clock()
            left = [each for each in self._read() if each.expires > now and each != session]
            self._write(_bounded([*left, session], session.role))
        finally:
            os.close(lock)

    def _read(self) -> list[Session]:
        try:
            lines = self.path.read_text(encoding="ascii").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.path}: cannot be read ({error})") from error
        found = [_LINE.fullmatch(line) for line in lines]
        if None in found:
            raise ConfigurationError(f"{self.path}: expected role, time and name in each line; delete it to start anew")
        return [Session(Role(each.group(1)), int(each.group(2)), each.group(3)) for each in found if each is not None]

    def _write(self, sessions: list[Session]) -> None:
        text = "".join(f"{each.role.value} {each.expires} {each.name}\n" for each in sessions)
        try:
            write_file(self.path, text.encode())
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be written ({error.strerror})") from error


def _bounded(sessions: list[Session], role: Role) -> list[Session]:
    """The same, or when those of `role` are too many, one line for the older half of them."""
    of_role = sorted((each for each in sessions if each.role is role), key=lambda each: each.expires)
    if len(of_role) <= MOST_OF_A_ROLE:
        return sessions
    until = of_role[len(of_role) // 2].expires
    others = [each for each in sessions if each.role is not role]
    return [*others, Session(role, until, ALL), *(each for each in of_role if each.expires > until)]
