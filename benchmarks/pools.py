"""A whole pool of any version of the project, with a bot that does nothing, and how fast it empties its queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.failed import BenchmarkFailed
from benchmarks.jobs import new_job
from benchmarks.machine import family
from benchmarks.server import Server, open_queue
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.enqueue_batch import MOST_AT_ONCE
from tests.support.servers.children import Child, tail

TABLE = "bot_jobs"
TABLES = (TABLE, f"{TABLE}_workers", f"{TABLE}_minutes")
BOT = Path(__file__).parent / "nothing_bot.py"
REPOSITORY = Path(__file__).parents[1]
VERSION_1 = "6c9187c3239d410df16198af0751dc2a50e75d8b"
START_SECONDS, STOP_SECONDS = 120.0, 10.0
LOOK_SECONDS = 0.2
ROWS_PER_INSERT = 500
BARE_ROW = "(:payload_{0}, :update_id_{0}, 'message', :lane_{0})"
WORKERS_ALIVE = f"SELECT COUNT(*) FROM {TABLE}_workers"
LAST_ID = f"SELECT COALESCE(MAX(id), 0) FROM {TABLE}"
DONE = f"SELECT COUNT(*) FROM {TABLE} WHERE id > :first AND status = 'done'"
# From the first claim to the last end, by the database's own clock: waking the pool is not part of it.
SPAN = f"""
SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(reserved_at), MAX(processed_at)) / 1000000
FROM {TABLE}
WHERE id > :first
  AND status = 'done'
"""


@dataclass(frozen=True)
class Drained:
    """How many of `jobs` were done, and in how many seconds; fewer than `jobs`: the time was over."""

    jobs: int
    done: int
    seconds: float

    @property
    def ended(self) -> bool:
        """Whether all of them were done."""
        return self.done == self.jobs

    @property
    def rate(self) -> float:
        """Jobs per second."""
        return self.done / self.seconds


@contextmanager
def version_1() -> Iterator[Path | None]:
    """A folder with version 1.0.0 as it was released, from the history of this repository; None where it has none."""
    found = subprocess.run(
        ["git", "archive", VERSION_1, "scalable"], cwd=REPOSITORY, capture_output=True, timeout=60, check=False
    )
    with TemporaryDirectory(prefix="bench-version-1-") as folder:
        if found.returncode:
            yield None
            return
        with tarfile.open(fileobj=BytesIO(found.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


class Pool:
    """A running `worker_pool.py` of the project in `project`, with `workers` processes, on tables of its own."""

    def __init__(self, server: Server, workers: int, folder: Path, project: Path = REPOSITORY, **settings: str) -> None:
        self.queue = open_queue(server.address, TABLE)
        self._workers = workers
        self._log = folder / "pool.log"
        command = [sys.executable, str(project / "scalable" / "worker_pool.py")]
        self._child = Child(command, log=self._log, environment={**_settings(server, folder, workers), **settings})
        self._last_update = 0

    @property
    def pid(self) -> int:
        """The process that started the workers."""
        return self._child.pid

    def start(self) -> None:
        """Return once every worker is there. Raises BenchmarkFailed."""
        self._child.start()
        ends = time.monotonic() + START_SECONDS
        while self._workers_alive() < self._workers:
            if time.monotonic() > ends or not self._child.is_running():
                raise BenchmarkFailed(f"{self._workers} workers did not start:\n{tail(self._log)}")
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """End it with all its workers, by force those that do not end in time."""
        started = {pid: _start_of(pid) for pid in family(self._child.pid)}
        self._child.stop(STOP_SECONDS)
        self._child.close()
        for pid, start in started.items():
            if start is not None and _start_of(pid) == start:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.queue.close()

    def drain(self, jobs: int, lanes: int, at_most_seconds: float, by_verbs: bool = True) -> Drained:
        """Put `jobs` into the queue while it is paused, resume it, and see them done.

        With `by_verbs` false they are bare rows, written in one transaction, which every version understands.
        """
        first = self._number(LAST_ID)
        numbers = range(self._last_update + 1, self._last_update + jobs + 1)
        self._last_update += jobs
        if by_verbs:
            self.queue.pause("benchmark")
            enqueue(self.queue, numbers, lanes)
            self.queue.resume()
        else:
            insert_bare_rows(self.queue, numbers, lanes)
        ends = time.monotonic() + at_most_seconds
        while self._number(DONE, first=first) < jobs and time.monotonic() < ends:
            time.sleep(LOOK_SECONDS)
        [(done, seconds)] = self.queue.database.run(lambda session: session.rows(SPAN, first=first))
        return Drained(jobs, int(done), float(seconds) if done == jobs else at_most_seconds)

    def _number(self, query: str, **values: object) -> int:
        [(number,)] = self.queue.database.run(lambda session: session.rows(query, **values))
        return int(number)

    def _workers_alive(self) -> int:
        tables = self.queue.database.run(lambda session: session.rows(f"SHOW TABLES LIKE '{TABLE}_workers'"))
        return self._number(WORKERS_ALIVE) if tables else 0


@contextmanager
def running_pool(server: Server, workers: int, project: Path = REPOSITORY, **settings: str) -> Iterator[Pool]:
    """A Pool on fresh tables, ended at the end; `settings` beside the usual ones."""
    server.drop(*TABLES)
    with TemporaryDirectory(prefix="bench-pool-") as folder:
        pool = Pool(server, workers, Path(folder), project, **settings)
        try:
            pool.start()
            yield pool
        finally:
            pool.close()


def _start_of(pid: int) -> str | None:
    """When a process started, in the kernel's own count (proc(5), stat); None when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _settings(server: Server, folder: Path, workers: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BOT_CONFIG": "",
        "BOT_DATA_DIR": str(folder / "data"),
        "BOT_LEGACY_PATH": f"{BOT}:handle",
        "BOT_JOURNAL": str(folder / "journal"),
        "BOT_WORKER_POOL_SIZE": str(workers),
        **server.settings,
    }


def enqueue(queue: DatabaseQueue, numbers: range, lanes: int) -> None:
    """Updates of these numbers, in `lanes` lanes by turns, as the pool's own webhook stores them."""
    for first in range(numbers.start, numbers.stop, MOST_AT_ONCE):
        some = range(first, min(first + MOST_AT_ONCE, numbers.stop))
        queue.enqueue_many([new_job(number, lanes) for number in some])


def insert_bare_rows(queue: DatabaseQueue, numbers: range, lanes: int) -> None:
    """The same as rows with nothing but what they are, all of them in one transaction."""

    def insert(count: int) -> str:
        rows = ", ".join(BARE_ROW.format(number) for number in range(count))
        return f"INSERT INTO {TABLE} (payload, update_id, update_type, lane) VALUES {rows}"

    def work(session: Session) -> None:
        for first in range(numbers.start, numbers.stop, ROWS_PER_INSERT):
            jobs = [new_job(number, lanes) for number in range(first, min(first + ROWS_PER_INSERT, numbers.stop))]
            values = {
                f"{name}_{place}": getattr(job, name)
                for place, job in enumerate(jobs)
                for name in ("payload", "update_id", "lane")
            }
            session.execute(insert(len(jobs)), **values)

    queue.database.run(work, transaction=True)
