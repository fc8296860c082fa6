"""From lists of measured values to lines of a table. Pure arithmetic and text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median of some values, and between what eight of ten of them are; of less than ten: all of them."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2, unit: str = "") -> str:
        """`1.52 (1.40–1.71)`."""
        return f"{self.median:,.{digits}f}{unit} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(statistics.median(values), percentile(values, 10), percentile(values, 90))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is at least as large as `percent` % of all of them."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def ratios(values: Sequence[float], bases: Sequence[float]) -> Spread:
    """Each value by the one measured beside it in the same round."""
    return spread([value / base for value, base in zip(values, bases)])


def verdict(ratio: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """`met` or `MISSED`, by the one goal that is given."""
    met = ratio <= at_most if at_most is not None else ratio >= (at_least or 0.0)
    return "met" if met else "**MISSED**"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
