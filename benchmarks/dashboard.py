"""Whether the dashboard is as quick beside millions of jobs as beside none, asked over one socket as a browser asks.

Both tables are asked in turns, so that a noisy moment of the machine falls on both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.figures import percentile, ratios, table, verdict
from benchmarks.jobs import Rows, fill
from benchmarks.server import Server, make_queue
from scalable.lib.dashboard.app import create_dashboard_app
from scalable.lib.dashboard.request import DashboardSettings
from scalable.lib.ingest.wsgi import mount
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.worker_registry import Heartbeat

GOAL = 1.5
ROUNDS = 60
SECRET = bytes(32)
# As many jobs as JSON lists are the second measure: what showing them costs is not what many more of them cost.
EMPTY, SOME, FULL = "dash_none", "dash_some", "dash_many"
LISTED = (Rows(100, lanes=25),)
ROWS = (
    Rows(1_000_000, status="done", lanes=250_000),
    Rows(100_000, status="failed", lanes=25_000),
    Rows(1_000_000, lanes=250_000),
)


@dataclass(frozen=True)
class View:
    """Something to open. `has_goal`: the issue at hand is how these grow; the others are for information."""

    name: str
    place: str
    has_goal: bool = False


VIEWS = (
    View("the page", "/", has_goal=True),
    View("JSON", "/?format=json", has_goal=True),
    View("what the page asks for every two seconds", "/?part=live"),
    View("metrics", "/?format=prometheus"),
    View("verdict for a monitor", "/?format=health"),
    View("failed jobs", "/jobs?status=failed"),
    View("failed jobs with a text in the error that none has", "/jobs?status=failed&q=nobody+said+this"),
    View("jobs of a chat that never wrote", "/jobs?q=77000077"),
    View("jobs of a lane that has none", "/jobs?lane=chat:77000077"),
)


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: what each view takes with 2.1 million jobs, and its ratio to the same view of two small tables."""
    database = open_database(server.address)
    queues = {name: make_queue(database, name) for name in (EMPTY, SOME, FULL)}
    try:
        _fill(server, queues[SOME], LISTED, say)
        _fill(server, queues[FULL], ROWS, say)
        seconds = {name: _housekeeping(queue) for name, queue in queues.items()}
        say("dashboard: measuring")
        counted = f"Housekeeping counts them for the page in {seconds[FULL]:.2f} s, in steps, once a minute at most."
        return f"{_report(_measured(queues))}\n\n{counted}"
    finally:
        database.close()
        server.drop(*[f"{name}{suffix}" for name in queues for suffix in ("", "_workers", "_minutes")])


def _fill(server: Server, queue: DatabaseQueue, what: tuple[Rows, ...], say: Callable[[str], None]) -> None:
    started = time.monotonic()
    with server.connect() as connection:
        for rows in what:
            fill(connection, queue.table.name, rows)
    server.analyze(queue.table.name)
    say(f"dashboard: {queue.table.name} filled in {time.monotonic() - started:.0f} s")


def _housekeeping(queue: DatabaseQueue) -> float:
    """What a living pool leaves in the tables; the seconds its count took."""
    for number in range(4):
        queue.workers.record_heartbeat(Heartbeat(f"web1:4711-c0de/{number}.1", "web1", 4711 + number, 3600))
    started = time.monotonic()
    queue.totals.refresh()
    return time.monotonic() - started


@contextmanager
def _asked(queue: DatabaseQueue, folder: Path) -> Iterator[Callable[[str], float]]:
    """A dashboard; called with a place, it returns the seconds until the whole answer was there."""
    app = create_dashboard_app(
        lambda: queue, lambda: SECRET, folder / f"{queue.table.name}-logins", DashboardSettings()
    )
    server = WebServer(mount({"dashboard.py": app}), "127.0.0.1:0")
    server.start()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(place: str) -> float:
        started = time.perf_counter()
        connection.request("GET", f"/dashboard.py{place}", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 503 if "health" in place else 200):
            raise BenchmarkFailed(f"{place} of {queue.table.name} was answered with {answer.status}")
        return time.perf_counter() - started

    try:
        yield ask
    finally:
        connection.close()
        server.stop()


def _measured(queues: dict[str, DatabaseQueue]) -> dict[View, dict[str, list[float]]]:
    seconds: dict[View, dict[str, list[float]]] = {view: {name: [] for name in queues} for view in VIEWS}
    with TemporaryDirectory(prefix="bench-dashboard-") as folder, ExitStack() as stack:
        asks = {name: stack.enter_context(_asked(queue, Path(folder))) for name, queue in queues.items()}
        for number in range(ROUNDS + 1):
            for queue in queues.values():
                queue.totals.refresh()  # when it is time; a pool does that
            for view in VIEWS:
                for name, ask in asks.items():
                    took = ask(view.place)
                    if number:  # the first time, templates are read
                        seconds[view][name].append(took)
    return seconds


def _report(seconds: dict[View, dict[str, list[float]]]) -> str:
    rows = []
    for view, measured in seconds.items():
        ratio = ratios(measured[FULL], measured[EMPTY])
        medians = [f"{statistics.median(measured[name]) * 1000:.1f}" for name in (EMPTY, SOME, FULL)]
        rows.append(
            [
                view.name,
                *medians,
                f"{percentile(measured[FULL], 95) * 1000:.1f}",
                ratio.text(),
                verdict(ratio.median, at_most=GOAL) if view.has_goal else "",
                ratios(measured[FULL], measured[SOME]).text(),
            ]
        )
    heads = [
        "opened",
        "no job: median ms",
        "100 jobs",
        "2.1 M jobs",
        "p95 ms",
        "ratio to none (rounds)",
        f"goal ≤ {GOAL}",
        "ratio to 100 (rounds)",
    ]
    return table(heads, rows)
