"""Whether more worker processes are ever slower: how fast whole pools empty a queue, by lanes and by processes.

Beside two of them version 1.0.0, taken from the history of this repository, in the same round.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.pools import REPOSITORY, TABLES, VERSION_1, Drained, running_pool, version_1
from benchmarks.server import Server

JOBS = 6_000
BEST_GOAL = 0.8
# How many times as fast as version 1.0.0, by lanes and worker processes.
VERSION_1_GOALS = {(20, 32): 20.0, (1_000, 16): 2.5}
Case = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """Which cases are measured, how often, and how long one drain may take."""

    lanes: Sequence[int]
    workers: Sequence[int]
    rounds: int
    at_most_seconds: float


SMALL = Plan((20, 1_000), (1, 4, 16, 32), 1, 40.0)
FULL = Plan((1, 20, 1_000, 100_000), (1, 2, 4, 8, 16, 32, 64), 3, 120.0)


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: jobs per second of some cases, each beside the best with as many lanes, and beside version 1.0.0."""
    return _measured(server, say, SMALL)


def run_full(server: Server, say: Callable[[str], None]) -> str:
    """The same of all cases."""
    return _measured(server, say, FULL)


def _measured(server: Server, say: Callable[[str], None], plan: Plan) -> str:
    ours: dict[Case, list[Drained]] = {case: [] for case in itertools.product(plan.lanes, plan.workers)}
    theirs: dict[Case, list[Drained]] = {case: [] for case in VERSION_1_GOALS if case in ours}
    with version_1() as old_project:
        for number in range(plan.rounds):
            for workers in plan.workers if number % 2 == 0 else [*reversed(plan.workers)]:
                _drain(server, say, plan, [(lanes, workers) for lanes in plan.lanes], ours)
                if old_project is not None:
                    old_cases = [case for case in theirs if case[1] == workers]
                    _drain(server, say, plan, old_cases, theirs, old_project)
    server.drop(*TABLES)
    note = "" if old_project else f"\n\nVersion 1.0.0 is left out: this repository has no commit {VERSION_1[:7]}."
    return _report(ours, theirs) + note


def _drain(
    server: Server,
    say: Callable[[str], None],
    plan: Plan,
    cases: Sequence[Case],
    drained: dict[Case, list[Drained]],
    project: Path = REPOSITORY,
) -> None:
    """Drain cases with as many workers by one pool, one after the other; one that does not end is the pool's last."""
    left = list(cases)
    while left:
        with running_pool(server, left[0][1], project) as pool:
            ended = True
            while left and ended:
                lanes, workers = left.pop(0)
                result = pool.drain(JOBS, lanes, plan.at_most_seconds, by_verbs=project == REPOSITORY)
                drained[lanes, workers].append(result)
                ended = result.ended
                version = "" if project == REPOSITORY else ", version 1.0.0"
                say(f"lanes: {lanes:,} lanes, {workers} workers{version}: {_rate(result)} jobs/s")


def _rate(result: Drained) -> str:
    return f"{result.rate:,.0f}" + ("" if result.ended else f" (not ended: {result.done:,} of {result.jobs:,})")


def _report(ours: dict[Case, list[Drained]], theirs: dict[Case, list[Drained]]) -> str:
    rows = []
    for (lanes, workers), results in ours.items():
        rates = [result.rate for result in results]
        beside = [[result.rate for result in ours[case]] for case in ours if case[0] == lanes]
        to_best = ratios(rates, [max(round_rates) for round_rates in zip(*beside)])
        goal = f"{verdict(to_best.median, at_least=BEST_GOAL)} (≥ {BEST_GOAL} × best)"
        old, times_old = "", ""
        if theirs.get((lanes, workers)):
            old_rates = [result.rate for result in theirs[lanes, workers]]
            ratio, wanted = ratios(rates, old_rates), VERSION_1_GOALS[lanes, workers]
            old, times_old = spread(old_rates).text(0), ratio.text()
            goal += f"; {verdict(ratio.median, at_least=wanted)} (≥ {wanted:g} × 1.0.0)"
        unended = sum(not result.ended for result in results)
        goal += f"; **{unended} of {len(results)} drains did not end**" if unended else ""
        name = f"{lanes:,} {'lane' if lanes == 1 else 'lanes'}, {workers} {'worker' if workers == 1 else 'workers'}"
        rows.append([name, spread(rates).text(0), to_best.text(), old, times_old, goal])
    if not rows:
        raise BenchmarkFailed("no case was measured")
    heads = ["case", "jobs/s (rounds)", "times the best with as many lanes (rounds)", "1.0.0, jobs/s", "times 1.0.0"]
    return table([*heads, "goal"], rows)
