"""How many updates a second a real pool of four workers brings through the same PHP bot, in every way to run it.

Beside bare starts of that bot, four at a time and without any queue: what no program that starts PHP can pass.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import ratios, spread, table, verdict
from benchmarks.jobs import Rows, fill, payload
from benchmarks.machine import memory_megabytes
from benchmarks.server import Server, make_queue
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from tests.support.servers.children import Child, tail

BOT = Path(__file__).parent / "bot.php"
POOL = Path(__file__).parents[1] / "scalable" / "worker_pool.py"
TABLE = "bot_jobs"
WORKERS, LANES, ROUNDS = 4, 1000, 3
PATIENCE_SECONDS = 120.0
BARE = "bare `php bot.php`, four at a time"
CLI_GOAL, FASTCGI_GOAL = 0.97, 25.0
# From the first claim to the last end, by the database's own clock: starting the pool is not part of it.
SPAN = f"SELECT TIMESTAMPDIFF(MICROSECOND, MIN(reserved_at), MAX(processed_at)) / 1000000 FROM {TABLE}"


@dataclass(frozen=True)
class Way:
    """A way to run the bot, and how many updates take some seconds in it."""

    mode: str
    jobs: int

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"the pool, `{self.mode}`"


CLI, CGI, FASTCGI = Way("cli", 600), Way("cgi", 400), Way("fastcgi", 10_000)
WAYS = (CLI, CGI, FASTCGI)


@dataclass(frozen=True)
class Passed:
    """Updates per second, and the memory of the pool with all it started, in MB; none for bare starts."""

    rate: float
    megabytes: float = 0.0


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: updates per second of every way, as ratios to bare starts and to cli in the same round."""
    passed: dict[str, list[Passed]] = {BARE: [], **{way.name: [] for way in WAYS}}
    for number in range(ROUNDS):
        turns = [None, *WAYS] if number % 2 == 0 else [*reversed(WAYS), None]
        for way in turns:
            passed[way.name if way else BARE].append(_through_the_pool(server, way) if way else _bare_starts())
        rates = ", ".join(f"{values[-1].rate:.0f}" for values in passed.values())
        say(f"bots: round {number + 1} of {ROUNDS}: {rates} /s")
    server.drop(TABLE)
    return _report(passed)


def _bare_starts(count: int = CLI.jobs) -> Passed:
    with TemporaryDirectory(prefix="bench-bots-") as folder:
        update = Path(folder) / "update.json"
        update.write_text(payload(1))
        names = Path(folder) / "names"
        names.write_text(f"{update}\n" * count)
        started = time.monotonic()
        subprocess.run(
            ["xargs", "-a", str(names), "-P", str(WORKERS), "-n", "1", "php", str(BOT)],
            check=True,
            timeout=PATIENCE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        return Passed(count / (time.monotonic() - started))


def _through_the_pool(server: Server, way: Way) -> Passed:
    server.drop(TABLE, f"{TABLE}_workers", f"{TABLE}_minutes")
    queue = make_queue(open_database(server.address), TABLE)
    with TemporaryDirectory(prefix="bench-bots-") as folder:
        log = Path(folder) / "pool.log"
        pool = Child([sys.executable, str(POOL)], log=log, environment=_settings(server, Path(folder), way.mode))
        pool.start()
        try:
            registry = queue.workers
            _wait(lambda: len(registry.alive()) == WORKERS, log)
            with server.connect() as connection:
                fill(connection, TABLE, Rows(way.jobs, lanes=LANES))
            _wait(lambda: queue.counts().done == way.jobs, log)
            megabytes = memory_megabytes(pool.pid)
        finally:
            pool.close()
    return Passed(way.jobs / _span(queue), megabytes)


def _span(queue: DatabaseQueue) -> float:
    [(seconds,)] = queue.database.run(lambda session: session.rows(SPAN))
    queue.close()
    return float(seconds)


def _settings(server: Server, folder: Path, mode: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BOT_CONFIG": "",
        "BOT_DATA_DIR": str(folder / "data"),
        "BOT_LEGACY_PATH": str(BOT),
        "BOT_LEGACY_MODE": mode,
        "BOT_WORKER_POOL_SIZE": str(WORKERS),
        **server.settings,
    }


def _wait(is_so: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"the pool did not do it in {PATIENCE_SECONDS:.0f} s:\n{tail(log)}")
        time.sleep(0.1)


def _report(passed: dict[str, list[Passed]]) -> str:
    rates = {name: [each.rate for each in values] for name, values in passed.items()}
    rows = []
    for name, values in rates.items():
        bare, by_cli = ratios(values, rates[BARE]), ratios(values, rates[CLI.name])
        goal = ""
        if name == CLI.name:
            goal = f"{verdict(bare.median, at_least=CLI_GOAL)} (≥ {CLI_GOAL} × bare)"
        elif name == FASTCGI.name:
            goal = f"{verdict(by_cli.median, at_least=FASTCGI_GOAL)} (≥ {FASTCGI_GOAL:.0f} × cli)"
        megabytes = statistics.median(each.megabytes for each in passed[name])
        rows.append(
            [name, spread(values).text(0), bare.text(), by_cli.text(), f"{megabytes:.0f}" if megabytes else "", goal]
        )
    heads = [
        "way to run the bot",
        "updates/s (rounds)",
        "times bare (rounds)",
        "times cli (rounds)",
        "memory of the pool, MB",
        "goal",
    ]
    return table(heads, rows) + "\n\nMemory is the proportional set size of the pool and of all processes below it."
