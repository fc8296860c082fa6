"""Slows down guessing of passwords, and never refuses the owner's own browser for the mistakes of others.

Wrong passwords are counted in a small file of fixed size: a CGI script runs for one request, and requests must not fill
a disk. Each count is a bucket that empties with time; a full one refuses, at once and without a sleeping thread. An
address is found by a keyed digest, so no address can be read in the file.

Who asks is one of three: a browser that gave the owner's password before, one that gave the reader's, or anybody else,
known by the address. Each of the three has buckets of its own and one for all of its kind together, so that neither a
crowd of strangers nor a reader uses up what the owner's browsers have. A right password empties no bucket.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.dashboard.access import Role
from scalable.lib.errors import ConfigurationError
from scalable.lib.pool.file_lock import open_private

_ROW = struct.Struct("<dd")
# Two processes count at the same time for some microseconds.
LOCK_TRIES, LOCK_PAUSE_SECONDS = 100, 0.01


@dataclass(frozen=True)
class Limit:
    """So many wrong passwords at once; after that one more in so many seconds."""

    burst: int
    seconds_each: float


OF_ONE, OF_ALL = Limit(10, 10.0), Limit(200, 1.0)


@dataclass(frozen=True)
class Guesser:
    """Who gives a password: `name` is an address, or that of a browser known to have given the password of `role`."""

    name: str
    role: Role = Role.STRANGER


@dataclass(frozen=True)
class Attempt:
    """What a password opened, None: nothing; with `wait_seconds` it was not looked at, and may be after that time."""

    role: Optional[Role] = None
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class _Region:
    """The rows of one role: `first` is the bucket of all of it together, `rows` behind it are those of each."""

    first: int
    rows: int


_REGIONS = {Role.STRANGER: _Region(0, 1024), Role.READER: _Region(1025, 256), Role.OWNER: _Region(1282, 256)}


class LoginAttempts:
    """The wrong passwords of one installation. Safe in many processes; raises ConfigurationError for a bad file."""

    def __init__(self, path: Path, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._secret = secret
        self._clock = clock

    def attempt(self, who: Guesser, compare: Callable[[], Optional[Role]]) -> Attempt:
        """What `compare` says of the password of `who`, unless they have to wait before it is looked at.

        Looked at and counted under one lock: passwords that come at the same time are as few as one after the other.
        """
        descriptor = open_private(self._path, "the count of wrong passwords")
        try:
            if not _lock(descriptor):
                return Attempt(wait_seconds=LOCK_TRIES * LOCK_PAUSE_SECONDS)
            return self._locked_attempt(descriptor, who, compare)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written ({error.strerror})") from error
        finally:
            os.close(descriptor)

    def _locked_attempt(self, descriptor: int, who: Guesser, compare: Callable[[], Optional[Role]]) -> Attempt:
        region = _REGIONS[who.role]
        buckets = ((self._row(who, region), OF_ONE), (region.first, OF_ALL))
        levels = [self._level(descriptor, row, limit) for row, limit in buckets]
        wait = max(_wait(level, limit) for level, (_, limit) in zip(levels, buckets))
        if wait:
            return Attempt(wait_seconds=wait)
        role = compare()
        if role is None:
            for level, (row, limit) in zip(levels, buckets):
                added = min(level + 1.0, float(limit.burst))
                os.pwrite(descriptor, _ROW.pack(added, self._clock()), row * _ROW.size)
        return Attempt(role)

    def _level(self, descriptor: int, row: int, limit: Limit) -> float:
        stored = os.pread(descriptor, _ROW.size, row * _ROW.size)
        if len(stored) < _ROW.size:
            return 0.0
        level, written = (float(value) for value in _ROW.unpack(stored))
        age = self._clock() - written
        if not 0.0 <= level <= limit.burst or not age > -limit.burst * limit.seconds_each:
            return 0.0  # another layout, or a clock that was wrong: it would refuse for years
        return max(0.0, level - max(0.0, age) / limit.seconds_each)

    def _row(self, who: Guesser, region: _Region) -> int:
        message = b"attempts\0" + who.name.encode("utf-8", "replace")
        digest = hmac.new(self._secret, message, hashlib.sha256).digest()
        return region.first + 1 + int.from_bytes(digest[:4], "big") % region.rows


def _lock(descriptor: int) -> bool:
    """Whether this process has the file for itself until it closes it. Raises OSError where there are no locks."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
    return False


def _wait(level: float, limit: Limit) -> float:
    return max(0.0, level - (limit.burst - 1)) * limit.seconds_each
