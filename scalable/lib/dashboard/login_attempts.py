"""Slows down guessing of passwords, without ever refusing a right one for the mistakes of others.

Wrong passwords are counted for each address, and for all together, in a small file of fixed size: a CGI script runs
for one request, and requests must not fill a disk. Each count is a bucket that empties with time; a full one refuses,
at once and without a sleeping thread. An address is found by a keyed digest, so no address can be read in the file.

The owner is not locked out: a browser that logged in before has a bucket of its own, an address without a wrong
password is never refused because of others, and an open session is not asked for a password.
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

from scalable.lib.errors import ConfigurationError

BUCKETS = 1024
_ROW = struct.Struct("<dd")


@dataclass(frozen=True)
class Limit:
    """So many wrong passwords at once; after that one more in so many seconds."""

    burst: int
    seconds_each: float


OF_ADDRESS, OF_ALL = Limit(10, 10.0), Limit(200, 1.0)


class LoginAttempts:
    """The wrong passwords of one installation. Safe in many processes; raises ConfigurationError for a bad file."""

    def __init__(self, path: Path, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._secret = secret
        self._clock = clock

    def wait_seconds(self, who: str, is_known: bool = False) -> float:
        """How long `who` has to wait before a password of theirs is compared; 0: not at all.

        `who`: an address, or (`is_known`) the name of a browser that logged in before.
        """
        own, of_all = self._levels(who)
        waits = [_wait(own, OF_ADDRESS)]
        if own > 0 and not is_known:
            waits.append(_wait(of_all, OF_ALL))
        return max(waits)

    def failed(self, who: str) -> None:
        """The password of `who` was wrong."""
        self._change(who, 1.0)

    def succeeded(self, who: str) -> None:
        """The password of `who` was right: their count starts again."""
        if self._levels(who)[0] > 0:
            self._change(who, -float(OF_ADDRESS.burst))

    def _levels(self, who: str) -> tuple[float, float]:
        descriptor = self._open()
        try:
            return self._level(descriptor, self._row(who), OF_ADDRESS), self._level(descriptor, BUCKETS, OF_ALL)
        finally:
            os.close(descriptor)

    def _change(self, who: str, by: float) -> None:
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._add(descriptor, self._row(who), OF_ADDRESS, by)
            if by > 0:
                self._add(descriptor, BUCKETS, OF_ALL, by)
        finally:
            os.close(descriptor)

    def _add(self, descriptor: int, row: int, limit: Limit, by: float) -> None:
        level = min(max(0.0, self._level(descriptor, row, limit) + by), float(limit.burst))
        os.pwrite(descriptor, _ROW.pack(level, self._clock()), row * _ROW.size)

    def _level(self, descriptor: int, row: int, limit: Limit) -> float:
        stored = os.pread(descriptor, _ROW.size, row * _ROW.size)
        if len(stored) < _ROW.size:
            return 0.0
        level, written = (float(value) for value in _ROW.unpack(stored))
        return max(0.0, level - max(0.0, self._clock() - written) / limit.seconds_each)

    def _row(self, who: str) -> int:
        digest = hmac.new(self._secret, b"attempts\0" + who.encode("utf-8", "replace"), hashlib.sha256).digest()
        return int.from_bytes(digest[:4], "big") % BUCKETS

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written ({error.strerror})") from error


def _wait(level: float, limit: Limit) -> float:
    return max(0.0, level - (limit.burst - 1)) * limit.seconds_each
