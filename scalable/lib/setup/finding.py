"""What a check found, as one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended; the value is what is printed."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What was checked, and what was seen; for a problem also what to do.

    The remedy may be a part of `seen` where another module wrote both in one sentence.
    """

    verdict: Verdict
    subject: str
    seen: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """As it is printed, and copied into a question."""
        return f"{self.verdict.value:<8} {self.subject}: {self.seen}" + (f"; {self.remedy}" if self.remedy else "")


def ok(subject: str, seen: str) -> Finding:
    """A finding that needs no action."""
    return Finding(Verdict.OK, subject, seen)


def warning(subject: str, seen: str, remedy: str = "") -> Finding:
    """A finding that it works, but not as well or as safely as it could."""
    return Finding(Verdict.WARNING, subject, seen, remedy)


def error(subject: str, seen: str, remedy: str = "") -> Finding:
    """A finding that something does not work."""
    return Finding(Verdict.ERROR, subject, seen, remedy)


def conclusion(findings: Sequence[Finding]) -> str:
    """The last line: whether anything is to be put right."""
    errors = sum(finding.verdict is Verdict.ERROR for finding in findings)
    return f"{errors} thing{'s' * (errors != 1)} to put right." if errors else "Everything needed is in place."
