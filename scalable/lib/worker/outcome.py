"""What became of one run of the bot: one type for every runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional


class Kind(Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    DIED = "died"


@dataclass(frozen=True)
class Outcome:
    """`cause` is for a person (`exit code 1`), `seconds` by a monotonic clock, `output` the end of what was printed."""

    kind: Kind
    cause: str
    seconds: float
    exit_code: Optional[int] = None
    output: str = field(default="", repr=False)

    @property
    def succeeded(self) -> bool:
        """Whether the bot says it handled the update."""
        return self.kind is Kind.SUCCEEDED

    def explanation(self) -> str:
        """Cause and output, as kept with the job."""
        return f"{self.cause}\n{self.output}".strip()
