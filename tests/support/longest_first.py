"""Which files of tests come first in a run: those that take longest, so that no process is left alone with one."""

from __future__ import annotations

# Seconds on two processors, rounded. What is not here takes less than ten. A number that is no longer right costs a
# little time and nothing else.
SECONDS = {}


def seconds_of(node_id: str) -> int:
    """What the file of this test takes, 0 for the short ones."""
    return SECONDS.get(node_id.partition("::")[0], 0)
