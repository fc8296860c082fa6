"""The pool's own server beside PHP-FPM: updates per second, and the processor time of everything that takes part.

The client is wrk, a program in C that costs next to nothing, so that both cores are left for what is measured. Each
answer has to be a success, and the job it names has to be in the table.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.jobs import CHAT_ID, NUMBER_MARK, UPDATE
from benchmarks.machine import cpu_seconds
from benchmarks.server import Server

HERE = Path(__file__).parent
ROUNDS, SECONDS = 6, 2
# Telegram's `max_connections` of a webhook is 40 unless it is told otherwise; the documents advise 10.
GOALS = {1: 1.4, 8: 1.5, 40: 2.5}
PROCESSOR_GOAL = 0.5
BROKEN_SHARE = 0.01
IDS = count(10**9, 10**6)  # the first update_id of each measurement


@dataclass(frozen=True)
class Side:
    """One of the two: its address, the processes that answer there, and the table that they store into."""

    url: str
    processes: tuple[int, ...]
    table: str


@dataclass(frozen=True)
class Measured:
    """Updates per second, and the microseconds of the processor that each took: of the side, database and client."""

    rate: float
    side: float
    database: float
    client: float


def wrk_available() -> str | None:
    """None when there is such a client, otherwise the reason in one line."""
    return None if shutil.which("wrk") else "wrk is not installed: python3 tests/install.py --only wrk"


def compare(
    server: Server, ours: Side, theirs: Side, say: Callable[[str], None]
) -> tuple[list[list[str]], list[list[str]]]:
    """Rows for the table of all webhooks, and rows of processor time for a table with the heads PROCESSOR_HEADS."""
    rates, processor = [], []
    for connections, goal in GOALS.items():
        for side in (ours, theirs):
            _measure(server, side, connections, seconds=1)  # what starts with the first requests
        rounds = [[_measure(server, side, connections) for side in (ours, theirs)] for _ in range(ROUNDS)]
        by_side = list(zip(*rounds))
        rates.append(_rate_row(connections, goal, *([each.rate for each in side] for side in by_side)))
        say(f"webhook: {' | '.join(rates[-1])}")
        processor.append(_processor_row(connections, *by_side))
    return rates, processor


PROCESSOR_HEADS = [
    "connections",
    "pool, µs of the processor per update",
    "its database",
    "its client",
    "Apache and PHP-FPM, µs per update",
    "their database",
    "their client",
    f"pool by Apache and PHP-FPM, goal ≤ {PROCESSOR_GOAL}",
    "with the database",
]


def processor_table(rows: list[list[str]]) -> str:
    """What `compare` found, as Markdown."""
    return table(PROCESSOR_HEADS, rows)


def _rate_row(connections: int, goal: float, ours: list[float], theirs: list[float]) -> list[str]:
    ratio = ratios(ours, theirs)
    judged = f"≥ {goal}: {verdict(ratio.median, at_least=goal)}" if goal else ""
    figures = [spread(values).text(0, " /s") for values in (ours, theirs)]
    return [
        "the pool's server",
        str(connections),
        figures[0],
        "PHP-FPM behind Apache",
        figures[1],
        ratio.text(),
        judged,
    ]


def _processor_row(connections: int, ours: tuple[Measured, ...], theirs: tuple[Measured, ...]) -> list[str]:
    figures = [
        spread([getattr(each, part) for each in side]).text(0)
        for side in (ours, theirs)
        for part in ("side", "database", "client")
    ]
    ratio = ratios([each.side for each in ours], [each.side for each in theirs])
    both = ratios([each.side + each.database for each in ours], [each.side + each.database for each in theirs])
    judged = verdict(ratio.median, at_most=PROCESSOR_GOAL)
    return [str(connections), *figures, f"{ratio.text()}: {judged}", both.text()]


def _measure(server: Server, side: Side, connections: int, seconds: int = SECONDS) -> Measured:
    first = next(IDS)
    before = [*map(cpu_seconds, side.processes), cpu_seconds(server.pid)]
    client_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = _wrk(side.url, connections, seconds, first)
    client_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = [now - then for now, then in zip([*map(cpu_seconds, side.processes), cpu_seconds(server.pid)], before)]
    jobs = said["jobs"].split()
    _check(server, side, jobs, said, first)
    client = sum(getattr(client_after, name) - getattr(client_before, name) for name in ("ru_utime", "ru_stime"))
    per_update = [1e6 * spent / len(jobs) for spent in (sum(used[:-1]), used[-1], client)]
    return Measured(len(jobs) / float(said["seconds"]), *per_update)


def _wrk(url: str, connections: int, seconds: int, first: int) -> dict[str, str]:
    """What wrk.lua printed, by the first word of each line."""
    body = json.dumps(UPDATE, separators=(",", ":")).replace(NUMBER_MARK, "NUMBER")
    body = body.replace(str(CHAT_ID), "-100NUMBER")  # each in a chat of its own
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "wrk.lua"), url]
    done = subprocess.run(
        [*command, "--", str(first), body], capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    lines = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    if done.returncode or "jobs" not in lines:
        raise BenchmarkFailed(f"wrk: {done.stdout[-300:]} {done.stderr[-300:]}")
    return lines


def _check(server: Server, side: Side, jobs: list[str], said: dict[str, str], first: int) -> None:
    """Raises BenchmarkFailed unless all answers were successes, each with a job of its own that is in the table.

    A busy Apache closes connections that are kept open, now and then while a request is on its way.
    """
    if said["failed"] or not jobs or int(said["broken"]) > BROKEN_SHARE * len(jobs):
        raise BenchmarkFailed(f"{side.url}: {said['broken']} connections broke; answered {said['failed'][:300]!r}")
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM `{side.table}` WHERE update_id > %s AND update_id < %s", (first, first + 10**6))
        stored: Iterator[str] = (str(row[0]) for row in cursor.fetchall())
        missing = set(jobs) - set(stored)
    if missing or len(set(jobs)) < len(jobs):
        raise BenchmarkFailed(f"{side.url}: of {len(jobs)} jobs that were told, {len(missing)} are not in {side.table}")
