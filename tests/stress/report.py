"""The figures of a run of stress, for a person. Pure: values in, text out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.stress.senders import Accepted
from tests.support.judges.judge import KILLED, Run


@dataclass(frozen=True)
class Outcome:
    """What a run came to; `wrongs` is empty when every promise was kept.

    `failures`: how many attempts each failed update had, and why the last one failed.
    """

    seed: int
    seconds: float
    sent: int
    accepted: Sequence[Accepted]
    states: Mapping[int, str]
    failures: Mapping[int, str]
    runs: Sequence[Run]
    faults: Mapping[str, int]
    refusals: Mapping[str, int]
    pool_starts: int
    wrongs: Sequence[str]

    @property
    def waits(self) -> list[float]:
        """Seconds from the webhook's answer to the bot's first line, for every update that was run, in order."""
        first: dict[int, float] = {}
        for run in self.runs:
            first.setdefault(run.update, run.start)
        return sorted(
            max(0.0, first[each.arrival.update] - each.at) for each in self.accepted if each.arrival.update in first
        )


def report(outcome: Outcome) -> str:
    """Lines of Markdown."""
    states = Counter(outcome.states.values())
    reruns = len(outcome.runs) - len({run.update for run in outcome.runs})
    waits = outcome.waits or [0.0, 0.0]
    rows = {
        "updates sent": f"{outcome.sent:,}",
        "accepted": f"{len(outcome.accepted):,}",
        "accepted only when sent again": f"{sum(each.tries > 1 for each in outcome.accepted):,}",
        "refused or unanswered requests": _counts(outcome.refusals),
        "ended": _counts(states),
        "runs of the bot": f"{len(outcome.runs):,}",
        "of them reruns": f"{reruns:,}",
        "of them killed": f"{sum(run.result == KILLED for run in outcome.runs):,}",
        **{kind: f"{times:,} times" for kind, times in sorted(outcome.faults.items())},
        "starts of a pool": f"{outcome.pool_starts:,}",
        "wait for the bot, median / p99 / longest": f"{statistics.median(waits):.3f} s / "
        f"{waits[int(len(waits) * 0.99)]:.1f} s / {waits[-1]:.1f} s",
        "rate, all in all": f"{len(outcome.states) / outcome.seconds:,.0f} updates a second",
        "seconds": f"{outcome.seconds:,.0f}",
        "promises broken": f"{len(outcome.wrongs):,}",
    }
    lines = ["| what | figure |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows.items())]
    return "\n".join([f"Seed {outcome.seed}", "", *lines, *_wrongs(outcome)])


def _wrongs(outcome: Outcome) -> list[str]:
    """What is needed to understand them: every update that failed for good, and each of its runs."""
    if not outcome.wrongs:
        return []
    first = min((run.start for run in outcome.runs), default=0.0)
    failed = [
        f"\nupdate {update} failed: {why}"
        + "".join(
            f"\n  {run.start - first:.3f} to {run.end - first:.3f} s: {run.result}, {run.lane}, worker {run.worker}"
            for run in outcome.runs
            if run.update == update
        )
        for update, why in outcome.failures.items()
    ]
    return [*(f"\nWRONG: {wrong}" for wrong in outcome.wrongs[:20]), *failed[:20]]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
