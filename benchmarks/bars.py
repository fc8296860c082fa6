"""Reads the tables of a report back as bars of a chart. Knows no measurement and no picture."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.failed import BenchmarkFailed

# `2,242 (1,950–2,534)`, perhaps with a unit: the median, and between what the rounds were.
FIGURE = re.compile(r"([\d.,]+)(?: [/a-z]+)?(?: \(([\d.,]+)–([\d.,]+)\))?")
# `≤ 0.5: met`: less is better, so the bar is drawn the other way round, as a speed.
GOAL = re.compile(r"([≤≥]) ([\d.]+)")


@dataclass(frozen=True)
class Bar:
    """One row of a table; `goal` is None where there is none."""

    name: str
    median: float
    low: float
    high: float
    goal: float | None = None

    @property
    def text(self) -> str:
        """The median, short enough to stand beside the bar."""
        return f"{self.median:,.0f}" if self.median >= 20 else f"{self.median:.2f}"

    def reciprocal(self) -> Bar:
        """The same, said the other way round."""
        return Bar(self.name, 1 / self.median, 1 / self.high, 1 / self.low, self.goal and 1 / self.goal)


def bars(report: str, part: str, column: str) -> list[Bar]:
    """The rows of the first table in the section whose title begins with `part`.

    Where rows have a `peer`, a bar is how many times as fast as that one ours is. Raises BenchmarkFailed when there is
    no such column.
    """
    section = next((text for text in report.split("\n## ") if text.startswith(part)), "")
    table = re.search(r"(?:^\|.*\n)+", f"{section}\n", re.MULTILINE)
    heads, *rows = [_cells(line) for line in table.group().splitlines() if "---" not in line] if table else [[]]
    if column not in heads:
        raise BenchmarkFailed(f"expected a column {column!r} under {part!r}")
    return [_bar(dict(zip(heads, row)), heads[0], column) for row in rows]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "").replace("**", "") for cell in line.strip("|").split("|")]


def _bar(row: dict[str, str], name: str, column: str) -> Bar:
    found, goal = FIGURE.match(row[column]), GOAL.match(row.get("goal", ""))
    if not found:
        raise BenchmarkFailed(f"{row[name]}: expected a figure, found {row[column]!r}")
    median, low, high = (float((text or found.group(1)).replace(",", "")) for text in found.groups())
    if "peer" not in row:
        return Bar(row[name], median, low, high)
    bar = Bar(_against(row, name), median, low, high, float(goal.group(2)) if goal else None)
    return bar.reciprocal() if goal and goal.group(1) == "≤" else bar


def _against(row: dict[str, str], name: str) -> str:
    connections = "1 connection" if row["connections"] == "1" else f"{row['connections']} connections"
    return f"{row[name]}, {connections},\nagainst {row['peer']}"
