"""How many updates a second a real pool of four workers brings through the same PHP bot, in every way to run it.

Beside bare starts of that bot, four at a time and without any queue: what no program that starts PHP can pass.
"""

from __future__ import annotations

import os
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
from benchmarks.server import Server, make_queue
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.registry import Registry
from tests.support.children import Child, tail

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


WAYS = (Way("cli", 600),)


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: updates per second of every way, as ratios to bare starts and to cli in the same round."""
    rates: dict[str, list[float]] = {BARE: [], **{way.name: [] for way in WAYS}}
    for number in range(ROUNDS):
        turns = [None, *WAYS] if number % 2 == 0 else [*reversed(WAYS), None]
        for way in turns:
            name, rate = (BARE, _bare_starts()) if way is None else (way.name, _through_the_pool(server, way))
            rates[name].append(rate)
        say(f"bots: round {number + 1} of {ROUNDS}: {', '.join(f'{values[-1]:.0f}' for values in rates.values())} /s")
    server.drop(TABLE)
    return _report(rates)


def _bare_starts(count: int = WAYS[0].jobs) -> float:
    with TemporaryDirectory(prefix="bench-bots-") as folder:
        update = Path(folder) / "update.json"
        update.write_text(payload(1))
        names = Path(folder) / "names"
        names.write_text(f"{update}\n" * count)
        started = time.monotonic()
        subprocess.run(
            ["xargs", "-a", str(names), "-P", str(WORKERS), "-n", "1", "php", str(BOT)],
            check=True, timeout=PATIENCE_SECONDS, stdin=subprocess.DEVNULL,
        )
        return count / (time.monotonic() - started)


def _through_the_pool(server: Server, way: Way) -> float:
    server.drop(TABLE, f"{TABLE}_workers", f"{TABLE}_minutes")
    queue = make_queue(open_database(server.address), TABLE)
    with TemporaryDirectory(prefix="bench-bots-") as folder:
        log = Path(folder) / "pool.log"
        pool = Child([sys.executable, str(POOL)], log=log, environment=_settings(server, Path(folder), way.mode))
        pool.start()
        try:
            registry = Registry(queue.database, TABLE)
            _wait(lambda: len(registry.alive()) == WORKERS, log)
            with server.connect() as connection:
                fill(connection, TABLE, Rows(way.jobs, lanes=LANES))
            _wait(lambda: queue.counts().done == way.jobs, log)
        finally:
            pool.close()
    return way.jobs / _span(queue)


def _span(queue: DatabaseQueue) -> float:
    [(seconds,)] = queue.database.run(lambda session: session.rows(SPAN))
    queue.close()
    return float(seconds)


def _settings(server: Server, folder: Path, mode: str) -> dict[str, str]:
    address = server.address
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "BOT_CONFIG": "", "BOT_DATA_DIR": str(folder / "data"),
        "BOT_LEGACY_PATH": str(BOT), "BOT_LEGACY_MODE": mode, "BOT_WORKER_POOL_SIZE": str(WORKERS),
        "BOT_DB_HOST": str(address.socket), "BOT_DB_NAME": address.database, "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }


def _wait(is_so: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"the pool did not do it in {PATIENCE_SECONDS:.0f} s:\n{tail(log)}")
        time.sleep(0.1)


def _report(rates: dict[str, list[float]]) -> str:
    rows = []
    cli = rates[Way("cli", 0).name]
    for name, values in rates.items():
        bare, by_cli = ratios(values, rates[BARE]), ratios(values, cli)
        goal = ""
        if values is cli:
            goal = f"{verdict(bare.median, at_least=CLI_GOAL)} (≥ {CLI_GOAL} × bare)"
        elif "`fastcgi`" in name:
            goal = f"{verdict(by_cli.median, at_least=FASTCGI_GOAL)} (≥ {FASTCGI_GOAL:.0f} × cli)"
        rows.append([name, spread(values).text(0), bare.text(), by_cli.text(), goal])
    heads = ["way to run the bot", "updates/s (rounds)", "times bare (rounds)", "times cli (rounds)", "goal"]
    return table(heads, rows)
