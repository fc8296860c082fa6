"""How much the tests of chance and load do: a short form for every run, a long one for `make test-long`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("LONG_TESTS"))
QUICK = bool(os.environ.get("QUICK_TESTS"))


def sized(short: int, long: int) -> int:
    """The number for this run."""
    return long if LONG else short


def quick(count: int) -> int:
    """A tenth of `count` for `make test-quick`, all of it in every other run."""
    return max(1, count // 10) if QUICK else count
