"""The history of a job: a line for every attempt that ended without success, and for what an operator did to it.

The statement that ends an attempt writes its line into the job's own row, so a job costs no statement more. A line is
`start|end|attempt|["outcome", "worker", "output"]`. When there are too many, the oldest are cut off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional

from scalable.lib.queue.rows import time_of

# Fits into a TEXT column of MySQL (65,535 bytes) whatever the characters are.
MAX_HISTORY_CHARACTERS = 16_000
# Of the output of one attempt; the whole of the last one is the job's error message.
MAX_OUTPUT_CHARACTERS = 1_000

RETRIED, FAILED, RELEASED, DIED, OUTAGE = "retried", "failed", "released", "died", "outage"
DONE, RUNNING = "done", "running"
SKIPPED, REQUEUED = "skipped", "requeued"
# What an operator did between attempts; their lines have no attempt of their own.
BY_OPERATOR = (SKIPPED, REQUEUED)


@dataclass(frozen=True)
class HistoryEntry:
    """Something that happened to a job: an attempt, or what an operator did (then `started_at` means nothing).

    `outcome`: retried (failed, and to be tried again), failed (for good), released (given back, not run to its end),
    outage (failed because the bot's side was down, given back, too), died (its worker did), skipped or requeued (by an
    operator), done or running. `output`: what the bot said, its end.
    """

    attempt: int
    outcome: str
    worker: str
    started_at: datetime
    ended_at: Optional[datetime]
    output: str = field(repr=False, default="")

    @property
    def by_operator(self) -> bool:
        """Whether an operator did it."""
        return self.outcome in BY_OPERATOR

    @property
    def seconds(self) -> Optional[float]:
        """How long the attempt took; None while it runs."""
        return None if self.ended_at is None else max(0.0, (self.ended_at - self.started_at).total_seconds())


def entry_text(outcome: str, worker: str = "", output: str = "") -> str:
    """The last part of a line, for the parameter of a statement with `{history:…}`."""
    short = output if len(output) <= MAX_OUTPUT_CHARACTERS else "…" + output[-MAX_OUTPUT_CHARACTERS + 1 :]
    return json.dumps([outcome, worker, short], ensure_ascii=False)


def read_history(text: Optional[str]) -> list[HistoryEntry]:
    """The entries of the lines, oldest first. A line that was cut in two, or is not ours, is left out."""
    lines = [_read_line(line) for line in (text or "").split("\n") if line]
    return [found for found in lines if found is not None]


def _read_line(line: str) -> Optional[HistoryEntry]:
    try:
        started, ended, attempt, told = line.split("|", 3)
        value: Any = json.loads(told)
        outcome, worker, output = (str(part) for part in value)
        return HistoryEntry(int(attempt), outcome, worker, time_of(started), time_of(ended), output)
    except ValueError:
        return None
