"""Draws the tables of a report as pictures, so that both always say the same. Knows no measurement."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from benchmarks.bars import Bar, bars

OURS, OTHERS, GOAL_INK, INK = "#2a78d6", "#9aa0a6", "#c2410c", "#1f2328"
# Text stays text in the files, so that it can be searched and read out.
STYLE = {"svg.hashsalt": "charts", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 10}


@dataclass(frozen=True)
class Chart:
    """Bars of one column of a report's table.

    `part` begins the title of its section. `others` begin the names of rows that are not ours. `goal` is marked
    at every bar where all share one.
    """

    file: str
    title: str
    part: str
    column: str
    goal: float | None = None
    others: tuple[str, ...] = ()
    logarithmic: bool = False


CHARTS = (
    Chart(
        "drain",
        "Jobs per second: four worker processes, a bot that does nothing",
        "Drain",
        "jobs/s (rounds)",
        others=("huey", "Celery"),
    ),
    Chart(
        "lanes",
        "Jobs per second of whole pools, times the best with as many lanes",
        "Lanes",
        "times the best with as many lanes (rounds)",
        goal=0.8,
    ),
    Chart(
        "bots",
        "Updates per second through a real PHP bot (logarithmic)",
        "Bots",
        "updates/s (rounds)",
        others=("bare",),
        logarithmic=True,
    ),
    Chart(
        "growth", "Time for a job, times that with 1,000 jobs waiting", "Growth", "ratio of medians (rounds)", goal=1.5
    ),
    Chart("webhook", "The webhook, times as fast as its peer on the same host (goals marked)", "Webhook", "ratio"),
)


def main() -> int:
    """0; raises BenchmarkFailed for a report that does not hold what a chart is drawn from."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description="Draws a report's tables.")
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path, help="where the pictures go, as bench-NAME.svg")
    wanted = parser.parse_args()
    draw_all(wanted.report.read_text(), wanted.folder)
    return 0


def draw_all(report: str, folder: Path) -> list[Path]:
    """Write every chart; the paths. The same report gives the same bytes."""
    matplotlib.rcParams.update(STYLE)
    paths = []
    for chart in CHARTS:
        path = folder / f"bench-{chart.file}.svg"
        _picture(chart, bars(report, chart.part, chart.column)).savefig(path, metadata={"Date": None})
        paths.append(path)
    return paths


def _picture(chart: Chart, rows: list[Bar]) -> Figure:
    figure = Figure(figsize=(8.6, 0.75 + 0.42 * len(rows)), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    names = [row.name for row in rows]
    axes.barh(
        names,
        [row.median for row in rows],
        height=0.6,
        log=chart.logarithmic,
        color=[OTHERS if row.name.startswith(chart.others or ("\0",)) else OURS for row in rows],
        xerr=[[row.median - row.low for row in rows], [row.high - row.median for row in rows]],
        error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 3},
    )
    axes.invert_yaxis()
    for place, row in enumerate(rows):
        axes.annotate(row.text, (row.high, place), (6, 0), textcoords="offset points", va="center", color=INK)
    for place, goal in _goals(chart, rows):
        axes.plot([goal, goal], [place - 0.42, place + 0.42], color=GOAL_INK, linewidth=2)
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=11, color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    return figure


def _goals(chart: Chart, rows: list[Bar]) -> Iterator[tuple[int, float]]:
    for place, row in enumerate(rows):
        goal = row.goal or chart.goal
        if goal:
            yield place, goal


if __name__ == "__main__":
    sys.exit(main())
