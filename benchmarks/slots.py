"""What slots are for: many runs of a bot that waits in few processes, and payments that need not wait for slow runs."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import percentile, ratios, spread, table, verdict
from benchmarks.machine import family, memory_megabytes_of
from benchmarks.nothing_bot import FIRST_WATCHED
from benchmarks.pools import REPOSITORY, START_SECONDS, TABLES, Pool, running_pool, version_1
from benchmarks.server import Server
from benchmarks.watched import seconds_to_begin
from tests.support.servers.children import command_of
from tests.support.servers.idle_installation import Ticks

HERE = Path(__file__).parent
WAITING_BOT, SLOW_BOT = HERE / "waiting_bot.php", HERE / "slow_bot.php"
WORKERS, AT_ONCE, WAIT_SECONDS = 2, 64, 0.2
IDEAL = AT_ONCE / WAIT_SECONDS
JOBS, ROUNDS, AT_MOST_SECONDS = 2_560, 3, 120.0
RATE_GOAL, MEMORY_GOAL_MB, CONNECTIONS_GOAL, PROCESSES_GOAL = 0.9, 70.0, 3, 70
PAYMENTS, BEGIN_GOAL_SECONDS = 100, 1.0
BUSY_SECONDS = 60.0
CONNECTIONS = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE()"


@dataclass(frozen=True)
class Used:
    """What a pool takes while it works: MB of its Python processes, connections to the database, processes in all."""

    megabytes: float
    connections: int
    processes: int


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: 64 runs at once beside version 1.0.0 with as many processes; how soon a payment begins beside them."""
    parts = [_many_at_once(server, say), _payments(server, say)]
    server.drop(*TABLES)
    return "\n\n".join(parts)


def _many_at_once(server: Server, say: Callable[[str], None]) -> str:
    rates: dict[str, list[float]] = {"slots": [], "1.0.0": []}
    used: dict[str, Used] = {}
    with version_1() as old_project:
        for number in range(ROUNDS):
            for name in ("slots", "1.0.0") if number % 2 == 0 else ("1.0.0", "slots"):
                project = REPOSITORY if name == "slots" else old_project
                if project is not None:
                    rate, used[name] = _measure(server, project, WORKERS if name == "slots" else AT_ONCE)
                    rates[name].append(rate)
                    say(f"slots: {name}: {rate:.0f} of {IDEAL:.0f} jobs/s, {used[name]}")
    rows = []
    for name, title in (("slots", f"{WORKERS} workers with {AT_ONCE // WORKERS} slots each"), ("1.0.0", "1.0.0, 64")):
        if rates[name]:
            ratio = ratios(rates[name], [IDEAL] * len(rates[name]))
            mine = used[name]
            goal = verdict(ratio.median, at_least=RATE_GOAL) if name == "slots" else ""
            rows.append([title, spread(rates[name]).text(0), ratio.text(), goal])
            rows.append(
                [f"{title}: MB of Python", f"{mine.megabytes:.0f}", "", _most(name, mine.megabytes, MEMORY_GOAL_MB)]
            )
            rows.append(
                [f"{title}: connections", str(mine.connections), "", _most(name, mine.connections, CONNECTIONS_GOAL)]
            )
            rows.append([f"{title}: processes", str(mine.processes), "", _most(name, mine.processes, PROCESSES_GOAL)])
    heads = [
        "64 updates at once, a bot that waits 200 ms, FastCGI",
        "jobs/s (rounds)",
        f"times the ideal {IDEAL:.0f}/s",
        "goal",
    ]
    return table(heads, rows)


def _most(name: str, value: float, goal: float) -> str:
    return verdict(value, at_most=goal) if name == "slots" else ""


def _measure(server: Server, project: Path, workers: int) -> tuple[float, Used]:
    """One round on a warm pool: jobs per second, and what it took in the middle of it."""
    settings = {"BOT_LEGACY_PATH": str(WAITING_BOT), "BOT_LEGACY_MODE": "fastcgi"}
    if project == REPOSITORY:
        settings["BOT_WORKER_SLOTS"] = str(AT_ONCE // WORKERS)
    with running_pool(server, workers, project, **settings) as pool:
        by_verbs = project == REPOSITORY
        pool.drain(JOBS // 4, JOBS, AT_MOST_SECONDS, by_verbs=by_verbs)
        seen: list[Used] = []
        watcher = threading.Timer(JOBS / IDEAL / 2, lambda: seen.append(_used(server, pool)))
        watcher.start()
        drained = pool.drain(JOBS, JOBS, AT_MOST_SECONDS, by_verbs=by_verbs)
        watcher.join()
    if not drained.ended:
        raise BenchmarkFailed(f"{drained.done} of {JOBS} jobs were done in {AT_MOST_SECONDS:.0f} s")
    return drained.rate, seen[0]


def _used(server: Server, pool: Pool) -> Used:
    processes = family(pool.pid)
    python = [process for process in processes if "python" in command_of(process).split(" ")[0]]
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(CONNECTIONS)
        [(connections,)] = cursor.fetchall()
    others = 2  # this one, and the one that waits for the end of the drain
    return Used(memory_megabytes_of(python), int(connections) - others, len(processes))


def _payments(server: Server, say: Callable[[str], None]) -> str:
    """How soon payments begin while every slot is in a run of 20 seconds, and more wait: a pool, and a tick of cron."""
    rows = []
    for name, arguments in (("pool", []), ("tick of cron", ["--cron", "--max-seconds", "3000"])):
        waits = sorted(_waits(server, arguments))
        soon = sum(wait <= BEGIN_GOAL_SECONDS for wait in waits)
        say(f"slots: {name}: {soon} of {PAYMENTS} payments within a second, the slowest {waits[-1]:.2f} s")
        figures = [f"{soon} of {PAYMENTS}", f"{percentile(waits, 50):.3f}", f"{waits[-1]:.3f}"]
        rows.append([name, *figures, verdict(soon, at_least=PAYMENTS)])
    heads = ["payments beside runs of 20 s in every slot", "within 1 s", "median, s", "slowest, s", "goal"]
    return table(heads, rows)


@contextmanager
def _busy(server: Server, arguments: list[str]) -> Iterator[Ticks]:
    """A pool, or a tick, all of whose slots run messages that take 20 seconds, with more of them waiting."""
    server.drop(*TABLES)
    with TemporaryDirectory(prefix="bench-slots-") as folder:
        bot = Path(shutil.copy(SLOW_BOT, folder))
        settings = {"BOT_LEGACY_MODE": "fastcgi", "BOT_WORKER_POOL_SIZE": str(WORKERS), "BOT_WORKER_SLEEP": "60"}
        with Ticks(Path(folder), bot, **settings, **server.settings) as ticks:
            ticks.start("worker_pool.py", *arguments)
            ticks.wait_for_ear()
            for number in range(1, 1 + 400):
                ticks.store(number)
            ticks.data_folder.notify_pool()
            ends = time.monotonic() + START_SECONDS
            while ticks.queue.counts().processing < WORKERS * 8:
                if time.monotonic() > ends:
                    raise BenchmarkFailed(f"not every slot is busy: {ticks.queue.counts()}\n{ticks.logs()}")
                time.sleep(0.1)
            yield ticks


def _waits(server: Server, arguments: list[str]) -> list[float]:
    """Seconds from the end of the INSERT to the begin of the bot, one payment after the other."""
    waits = []
    with _busy(server, arguments) as ticks:
        journal = ticks.folder / "journal"
        for number in range(FIRST_WATCHED, FIRST_WATCHED + PAYMENTS):
            ticks.deliver_payment(number)
            stored_ns = time.monotonic_ns()
            waited = seconds_to_begin(journal, number, stored_ns, time.monotonic() + BUSY_SECONDS)
            waits.append(BUSY_SECONDS if waited is None else waited)
    return waits
