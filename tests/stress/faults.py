"""What goes wrong during a run of stress: one method for each kind, each of which puts right what it broke.

Knows processes, disks and the database server; nothing of updates, and nothing of the product but its processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pymysql.connections

from tests.stress.hosts import Host
from tests.support.fakes.worker_killer import children, comes_to, kill_one_worker
from tests.support.generators.reaped_bots import is_guard
from tests.support.judges.judge import Kill
from tests.support.servers.database_servers import DatabaseServer

BALLAST_BYTES = 1 << 16
# How long something to strike is looked for: a bot at work, a worker of a pool that was killed just now.
LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class Strike:
    """What is to go wrong, and how many seconds after the first update."""

    at: float
    kind: str


class Faults:
    """All that is done to `hosts` and `server`; `kills` is the record for the judge, `done` counts the kinds.

    The first host is the one whose disk fills, the last one the one with the wrong clock. A pool that is killed leaves
    workers that are told by nobody; they have to find out, and whoever keeps the host starts another pool.
    """

    def __init__(self, hosts: list[Host], server: DatabaseServer, database: str, chance: random.Random) -> None:
        self.kills: list[Kill] = []
        self.done: Counter[str] = Counter()
        self._hosts = hosts
        self._server = server
        self._database = database
        self._chance = chance
        self._over = threading.Event()
        self._ways: dict[str, Callable[[], bool]] = {
            "worker killed": self._kill_worker,
            "bot killed": self._kill_bot,
            "pool killed": lambda: self._kill_pool(self._chance.choice(self._hosts)),
            "database killed": self._kill_database,
            "connections used up": self._use_up_connections,
            "disk of the data folder full": lambda: self._fill(self._hosts[0].disk),
            "disk of the database full": lambda: self._fill(self._server.run_folder.parent),
            "clock turned": self._turn_the_clock,
            "dependency of the bots away": self._take_the_dependency,
        }

    def happen(self, strikes: list[Strike]) -> None:
        """Do all of it in time; one that comes too late for that, or finds nothing to strike, comes when it can."""
        began = time.monotonic()
        for strike in strikes:
            if self._over.wait(max(0.0, began + strike.at - time.monotonic())):
                return
            gives_up = time.monotonic() + LOOK_SECONDS
            while not (struck := self._ways[strike.kind]()) and time.monotonic() < gives_up:
                self._pause(0.0, 0.02)
            self.done[strike.kind] += struck

    def stop(self) -> None:
        """Leave out what has not happened yet."""
        self._over.set()

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))

    def _kill_worker(self) -> bool:
        kill = kill_one_worker(self._chance.choice(self._hosts).site.pool.pid, self._chance)
        self.kills += [kill] if kill is not None else []
        return kill is not None

    def _kill_bot(self) -> bool:
        """The php-cgi of a worker on one host, or the PHP program of an update on the other; one that is at work."""
        workers = [worker for host in self._hosts for worker in children(host.site.pool.pid)]
        found = [child for worker in workers for child in children(worker)]
        bots = [child for child in found if not is_guard(child) and _is_at_work(child)]
        if not bots:
            return False
        bot, at = self._chance.choice(bots), time.monotonic()
        try:
            os.kill(bot, signal.SIGKILL)
        except ProcessLookupError:
            return False
        assert comes_to(bot, "ZX"), f"the bot {bot} survived SIGKILL"
        self.kills.append(Kill(0, (bot,), at, time.monotonic()))
        return True

    def _kill_pool(self, host: Host) -> bool:
        is_there = host.site.pool.is_running()
        host.site.pool.send(signal.SIGKILL)
        return is_there

    def _kill_database(self) -> bool:
        self._server.kill()
        self._pause(0.2, 2.0)
        self._server.restart()
        return True

    def _use_up_connections(self) -> bool:
        """Somebody else takes every connection that the server has left, or that comes free in some seconds."""
        taken: list[pymysql.connections.Connection] = []
        ends = time.monotonic() + self._chance.uniform(1.0, 3.0)
        while time.monotonic() < ends:
            try:
                taken.append(self._server.connect(self._database))
            except pymysql.err.MySQLError:
                self._pause(0.01, 0.03)
        for connection in taken:
            with contextlib.suppress(pymysql.err.MySQLError):
                connection.close()
        return bool(taken)

    def _fill(self, folder: Path) -> bool:
        """A disk that is full to the last byte, for some seconds."""
        ballast = folder / "ballast"
        try:
            with ballast.open("wb", buffering=0) as stream:
                while stream.write(b"x" * BALLAST_BYTES):
                    pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._pause(2.0, 4.0)
        finally:
            ballast.unlink(missing_ok=True)
        return True

    def _take_the_dependency(self) -> bool:
        """What all bots need, on both hosts, is away for some seconds: every run fails."""
        journal = Path(self._hosts[0].site.environment["BOT_JOURNAL"])
        gone = journal.with_name("dependency-away")
        gone.touch()
        self._pause(3.0, 8.0)
        gone.unlink()
        return True

    def _turn_the_clock(self) -> bool:
        """The last host begins again, its clock wrong in the other direction."""
        self._hosts[-1].turn_the_clock()
        return self._kill_pool(self._hosts[-1])


def _is_at_work(bot: int) -> bool:
    """Whether it has the lock of a lane open."""
    try:
        return any("/lanes/" in os.readlink(file) for file in Path(f"/proc/{bot}/fd").iterdir())
    except OSError:
        return False
