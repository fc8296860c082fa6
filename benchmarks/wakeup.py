"""How soon an idle pool begins with an update, and what an idle pool costs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import percentile, table, verdict
from benchmarks.machine import cpu_seconds, memory_megabytes
from benchmarks.server import Server
from tests.support.servers.idle_installation import Ticks
from tests.support.servers.served_installation import ServedSite

BOT = Path(__file__).parent / "clock_bot.php"
TABLES = ("bot_jobs", "bot_jobs_workers", "bot_jobs_minutes")
UPDATES = 500
MEDIAN_GOAL_MS, P99_GOAL_MS = 10.0, 50.0
# Longer than the pool waits before it believes that all is quiet; then so long that rare things happen, too.
QUIET_SECONDS, IDLE_SECONDS = 75.0, 90.0
QUERIES_GOAL = 0.2
MEMORY_GOAL_MB = {"processes": 140.0, "threads": 60.0}


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: milliseconds from the webhook's answer to the bot's first line; what an idle pool asks and takes."""
    rows = [_latency_row(server, mode, say) for mode in ("fastcgi", "cli")]
    heads = ["bot", "median ms", "95th", "99th", "goal: median ≤ 10, 99th ≤ 50"]
    return table(heads, rows) + "\n\n" + _idle(server, say)


@contextmanager
def _pool(server: Server, mode: str) -> Iterator[ServedSite]:
    server.drop(*TABLES)
    with (
        TemporaryDirectory(prefix="bench-wakeup-") as folder,
        ServedSite(
            Path(folder),
            BOT,
            BOT_LEGACY_MODE=mode,
            BOT_WORKER_POOL_SIZE="4",
            BOT_WORKER_SLEEP="1",
            **server.settings,
        ) as site,
    ):
        yield site


def _latency_row(server: Server, mode: str, say: Callable[[str], None]) -> list[str]:
    with _pool(server, mode) as site:
        delays = _delays(site)
    median, p95, p99 = (percentile(delays, share) for share in (50, 95, 99))
    say(f"wake-up: {mode}: median {median:.1f} ms, 99th {p99:.1f} ms over {len(delays)} updates")
    goal = verdict(median, at_most=MEDIAN_GOAL_MS) + ", " + verdict(p99, at_most=P99_GOAL_MS)
    goal = goal if mode == "fastcgi" else "(PHP itself takes about 20 ms to start)"
    return [f"`{mode}`", f"{median:.1f}", f"{p95:.1f}", f"{p99:.1f}", goal]


def _delays(site: ServedSite) -> list[float]:
    """Milliseconds, one for each update; each is sent when the one before it has long been dealt with."""
    answered: dict[int, int] = {}
    for number in range(1, UPDATES + 21):
        site.send({"update_id": number, "message": {"chat": {"id": number}}})
        answered[number] = time.monotonic_ns()
        time.sleep(0.03 + random.random() * 0.03)
    site.wait_for_counts(done=len(answered))
    lines = [line.split() for line in (site.folder / "journal").read_text().splitlines()]
    started = {int(update): int(at) for update, at in lines}
    if started.keys() != answered.keys():
        raise BenchmarkFailed(f"{len(answered)} updates were sent, {len(started)} were run")
    # The first ones start php-cgi in every worker.
    return [(started[number] - answered[number]) / 1e6 for number in answered if number > 20]


def _idle(server: Server, say: Callable[[str], None]) -> str:
    with _pool(server, "cli") as site:
        site.send({"update_id": 1})
        site.wait_for_counts(done=1)
        time.sleep(QUIET_SECONDS)
        queries, cpu = server.status()["Questions"], cpu_seconds(site.pool.pid)
        time.sleep(IDLE_SECONDS)
        cpu = cpu_seconds(site.pool.pid) - cpu
        queries = server.status()["Questions"] - queries - 1  # the one that asks
        megabytes = memory_megabytes(site.pool.pid)
    per_second = queries / IDLE_SECONDS
    say(f"idle: {per_second:.3f} queries/s, {100 * cpu / IDLE_SECONDS:.2f} % of a core, {megabytes:.0f} MB")
    goal = MEMORY_GOAL_MB["processes"]
    return table(
        ["idle pool of four workers", "figure", "goal"],
        [
            [
                "queries per second",
                f"{per_second:.3f}",
                f"{verdict(per_second, at_most=QUERIES_GOAL)} (≤ {QUERIES_GOAL})",
            ],
            ["share of one core, %", f"{100 * cpu / IDLE_SECONDS:.2f}", ""],
            [
                "memory, MB (proportional set size, web server included)",
                f"{megabytes:.0f}",
                f"{verdict(megabytes, at_most=goal)} (≤ {goal:.0f})",
            ],
            _threads_row(server, say),
        ],
    )


def _threads_row(server: Server, say: Callable[[str], None]) -> list[str]:
    """Memory of `worker_pool.py --cron` when every one of its four workers has run a bot."""
    server.drop(*TABLES)
    with (
        TemporaryDirectory(prefix="bench-threads-") as folder,
        Ticks(
            Path(folder),
            BOT,
            BOT_WORKER_POOL_SIZE="4",
            **server.settings,
        ) as ticks,
    ):
        for number in range(1, 101):
            ticks.store(number)
        tick = ticks.start("worker_pool.py", "--cron", "--max-seconds", "50")
        ticks.wait_for_states(dict.fromkeys(range(1, 101), "done"), within_seconds=40)
        megabytes = memory_megabytes(tick.child.pid)
    say(f"threads: {megabytes:.0f} MB")
    goal = MEMORY_GOAL_MB["threads"]
    return [
        "memory of `--cron`, MB (proportional set size)",
        f"{megabytes:.0f}",
        f"{verdict(megabytes, at_most=goal)} (≤ {goal:.0f})",
    ]
