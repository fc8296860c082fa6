"""How much the tests of chance and load do: a short form for every run, a long one for `make test-long`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("LONG_TESTS"))


def sized(short: int, long: int) -> int:
    """The number for this run."""
    return long if LONG else short
