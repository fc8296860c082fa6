"""The outcome of one run of the bot, as it is stored in the queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional


class Kind(Enum):
    """What a run meant. Only judgement.py decides which one it was, and only FAILED_FOR_GOOD is not tried again."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_FOR_GOOD = "failed for good"
    TIMED_OUT = "timed out"
    DIED = "died"


@dataclass(frozen=True)
class Outcome:
    """`cause` is for a person (`exit code 1`). `output`, `answer` and `answer_type` are those of the RunResult.

    `was_not_started`: the bot could not be run at all. `retry_after_seconds`: how long the bot, or the server in front
    of it, asked not to be run again. `warnings`: the part of `output` that the bot, or PHP, wrote for its operator.
    """

    kind: Kind
    cause: str
    seconds: float
    exit_code: Optional[int] = None
    http_status: Optional[int] = None
    retry_after_seconds: Optional[float] = None
    output: str = field(default="", repr=False)
    answer: bytes = field(default=b"", repr=False)
    answer_type: Optional[str] = None
    was_not_started: bool = False
    warnings: str = field(default="", repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the bot reported success."""
        return self.kind is Kind.SUCCEEDED

    @property
    def may_be_retried(self) -> bool:
        """Whether another attempt may go better."""
        return self.kind not in (Kind.SUCCEEDED, Kind.FAILED_FOR_GOOD)

    def explanation(self) -> str:
        """Cause and output, as kept with the job."""
        return f"{self.cause}\n{self.output}".strip()
