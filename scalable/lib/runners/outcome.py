"""What became of one run of the bot: one type for every runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional


class Kind(Enum):
    """How a run ended. Only judgement.py decides which one it was, and only FAILED_FOR_GOOD is not tried again."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_FOR_GOOD = "failed for good"
    TIMED_OUT = "timed out"
    DIED = "died"


@dataclass(frozen=True)
class Outcome:
    """`cause` is for a person (`exit code 1`), `seconds` by a monotonic clock, `output` the end of what was printed.

    `answer` is what the web server would have got from the bot: the body of its response, or its standard output. It
    may be a method call for Telegram. Empty when there was none, or when it was larger than any such call.
    `answer_type` is the Content-Type it was given with; None when there was no way to give one.
    `retry_after_seconds`: how long the bot, or the server in front of it, asked to be left alone.
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

    @property
    def succeeded(self) -> bool:
        """Whether the bot says it handled the update."""
        return self.kind is Kind.SUCCEEDED

    @property
    def may_be_retried(self) -> bool:
        """Whether another attempt may go better."""
        return self.kind not in (Kind.SUCCEEDED, Kind.FAILED_FOR_GOOD)

    def explanation(self) -> str:
        """Cause and output, as kept with the job."""
        return f"{self.cause}\n{self.output}".strip()
