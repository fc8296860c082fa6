"""Hosts where nothing but web requests starts anything: a WSGI server on its own, or Apache with CGI scripts.

The bots run in `folder`, so what they write there is the same on each of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, accepts_connections, free_port, tail, wait_until_ready
from tests.support.servers.site import Answer, request, wait_until
from tests.support.waiting import PATIENCE_SECONDS

TICK_TOKEN = "tick-tock"
# What both kinds of host are set up with.
OPEN = {"BOT_TICK_TOKEN": TICK_TOKEN, "BOT_MONITOR_TOKEN": "let-me-in"}
Result = TypeVar("Result")
# A line for the begin and one for the end of every run: +, update, worker's pid.
OVERLAP_BOT = """
import json, os, sys, time
update = json.load(sys.stdin)["update_id"]
for sign in "+-":
    with open("runs", "a") as file:
        file.write(f"{sign} {update} {os.getppid()}\\n")
    time.sleep(0.01)
"""


@dataclass(frozen=True)
class WebHost:
    """`url` is the folder `scalable/` as the web server shows it; `server` is the web server's process."""

    url: str
    folder: Path
    data_folder: Path
    server: Child
    logs: Callable[[], str]

    def send(self, update_id: int, chat: int | None = None) -> Answer:
        """Deliver one update as Telegram does."""
        message = {"chat": {"id": update_id if chat is None else chat, "type": "private"}, "text": "/start", "date": 1}
        body = json.dumps({"update_id": update_id, "message": message}).encode()
        return request(f"{self.url}/webhook_queue.py", body, Content_Type="application/json")

    def tick(self, query: str = f"?token={TICK_TOKEN}", method: str = "GET") -> Answer:
        """Fetch the tick."""
        return request(f"{self.url}/worker.py{query}", b"" if method == "POST" else None, method)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        answer = request(f"{self.url}/dashboard.py?token=let-me-in&format=json")
        assert answer.status == 200, (answer, self.logs())
        counts: dict[str, int] = answer.json()["counts"]
        return counts

    def jobs(self) -> list[dict[str, Any]]:
        """The newest jobs."""
        jobs: list[dict[str, Any]] = request(f"{self.url}/dashboard.py?token=let-me-in&format=json").json()["jobs"]
        return jobs

    def wait_for_counts(self, timeout_seconds: float = PATIENCE_SECONDS, **expected: int) -> None:
        """Return once the dashboard shows these counts."""
        wait_until(
            lambda: expected.items() <= self.counts().items(), lambda: (self.jobs(), self.logs()), timeout_seconds
        )

    def wait_for_bot(self, update_id: int) -> int:
        """Return once the gated bot runs that update; its process id."""
        path = self.folder / f"started-{update_id}"
        wait_until(lambda: path.exists() and path.read_text(), self.logs)
        return int(path.read_text().split()[-1])

    def let_go(self) -> None:
        """Let every gated bot finish."""
        (self.folder / "go").touch()

    def runs(self) -> list[tuple[str, int, int]]:
        """What OVERLAP_BOT wrote down: + or -, update, worker's process id."""
        path = self.folder / "runs"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(sign, int(update), int(worker)) for sign, update, worker in lines]

    def drain_log(self) -> str:
        """What the drains of this host had to say."""
        path = self.data_folder / ".ht-drain.log"
        return path.read_text() if path.exists() else ""

    def drains(self) -> list[int]:
        """The processes that have this host's lock for drains, which a drain has from its first moment to its last."""
        return [pid for pid in _processes() if str(self.data_folder / ".ht-tick.lock") in descriptors_of(pid).values()]

    def wait_until_nothing_is_left(self) -> None:
        """Return once no drain of this host runs any more, and the web server has no child that nobody waits for."""
        wait_until(lambda: not self.drains() and not zombies(self.server.pid), lambda: (self.drains(), self.logs()))


def in_background(work: Callable[[], Result]) -> Future[Result]:
    """What `work` returns or raises, from a thread of its own."""
    return ThreadPoolExecutor(1).submit(work)


def serve_wsgi(environment: dict[str, str], folder: Path) -> tuple[Child, str, Path]:
    """The whole plugin under a WSGI server without a pool: its process, its address, its log."""
    port, log = free_port(), folder / "wsgi.log"
    command = [
        sys.executable,
        "-m",
        "waitress",
        "--threads=32",
        f"--listen=127.0.0.1:{port}",
        "scalable.passenger_wsgi:application",
    ]
    child = Child(command, log=log, environment={**environment, "PYTHONPATH": str(REPOSITORY)})
    child.start()
    wait_until_ready(child, lambda: accepts_connections(port), what="waitress", log=log)
    return child, f"http://127.0.0.1:{port}", log


def wsgi_host(environment: dict[str, str], folder: Path, data_folder: Path) -> WebHost:
    """The caller closes its `server`."""
    child, url, log = serve_wsgi(environment, folder)
    return WebHost(url, folder, data_folder, child, lambda: tail(log))


def parent_of(pid: int) -> int:
    """The process that started it."""
    return int(_status(pid)[1])


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return _status(pid)[0] != "Z"
    except OSError:
        return False


def zombies(pid: int) -> list[int]:
    """Children of that process that have ended and that it did not take note of."""
    found = []
    for child in _processes():
        with suppress(OSError):  # it is gone meanwhile
            state, parent = _status(child)[:2]
            if state == "Z" and int(parent) == pid:
                found.append(child)
    return found


def descriptors_of(pid: int) -> dict[int, str]:
    """Where each descriptor of a process leads; none of a process that is gone."""
    found = {}
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            found[int(path.name)] = os.readlink(path)
    return found


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
