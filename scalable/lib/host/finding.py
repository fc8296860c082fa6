"""What a check of the installation says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a check ended; the value is what is printed."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, and what was seen; for a problem also what to do."""

    verdict: Verdict
    subject: str
    seen: str
