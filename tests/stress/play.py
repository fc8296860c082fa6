"""One run of stress: hosts, database, senders and faults put together, and judged at the end."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalable.lib.queue.lease_terms import LeaseTerms
from tests.stress.arrivals import arrivals
from tests.stress.faults import Faults, Strike
from tests.stress.hosts import Host, kept_running, small_disk, wrong_clock
from tests.stress.report import Outcome
from tests.stress.senders import Accepted, Senders
from tests.support.fakes.worker_killer import read_journal
from tests.support.judges.judge import Run, Story, find_wrongs, read_runs
from tests.support.servers.children import tail
from tests.support.servers.database_servers import DatabaseServer, start_server
from tests.support.servers.served_installation import ServedSite

BOT = Path(__file__).with_name("bot.php")
SERVER = "mariadb-10.11"
CONNECTIONS = 10
# As many as setWebhook has by default. One is to the second host, whose false clock makes every look at it slow.
CONNECTIONS_OF_TELEGRAM = 40
RETRY_BASE_SECONDS, LEASE_SECONDS = 1, LeaseTerms().lease_seconds
PATIENCE_SECONDS = 180.0
# How often each kind comes, beside the others, once each has come once.
SHARES = {
    "worker killed": 8,
    "bot killed": 16,
    "pool killed": 2,
    "database killed": 2,
    "connections used up": 3,
    "disk of the data folder full": 2,
    "disk of the database full": 1,
    "clock turned": 1,
    "dependency of the bots away": 2,
}


@dataclass(frozen=True)
class Plan:
    """How much is done: so many updates, at so many a second, and something goes wrong about `every` seconds.

    Nothing goes wrong any more in the `calm_seconds` before the last update, and only what is among `troubles` before.
    """

    updates: int
    rate: float
    every: float
    calm_seconds: float
    seed: int
    disk_megabytes: int
    database_megabytes: int
    troubles: tuple[str, ...] = tuple(SHARES)

    def strikes(self) -> list[Strike]:
        """When which fault is to happen: each kind once at least."""
        if not self.troubles:
            return []
        chance = random.Random(f"faults {self.seed}")
        seconds = self.updates / self.rate - self.calm_seconds
        more = max(0, int(seconds / self.every) - len(self.troubles))
        shares = [SHARES[kind] for kind in self.troubles]
        kinds = [*self.troubles, *chance.choices(self.troubles, shares, k=more)]
        chance.shuffle(kinds)
        step = seconds / len(kinds)
        return [Strike(step * (number + chance.random()), kind) for number, kind in enumerate(kinds)]


def play(plan: Plan, folder: Path, **settings: str) -> Outcome:
    """Do all of it inside `folder`, and say what came of it. `settings` are for both hosts, beside those they need.

    Raises AssertionError when updates are never finished.
    """
    (folder / "lanes").mkdir()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "database", plan.database_megabytes))
        server = start_server(SERVER, disk, extra_args=(f"--max-connections={CONNECTIONS}",))
        stack.callback(server.stop)
        database = server.create_database()
        hosts = [stack.enter_context(host) for host in _hosts(plan, folder, server, database, settings)]
        faults = Faults(hosts, server, database, random.Random(f"faults {plan.seed} at work"))
        stack.enter_context(kept_running(hosts))
        senders = _send(plan, hosts, faults)
        accepted = senders.finish(PATIENCE_SECONDS)
        _wait_for_the_end(server, database, hosts)
        states, failures = _states(server, database), _failures(server, database)
        pool_starts = sum(host.site.log.read_text(errors="replace").count("pool started") for host in hosts)
    seconds = time.monotonic() - began
    runs, wrongs = read_runs(read_journal(folder / "journal"), faults.kills)
    wrongs += find_wrongs(_story(accepted, states, runs, faults))
    return Outcome(
        plan.seed,
        seconds,
        plan.updates,
        accepted,
        states,
        failures,
        runs,
        faults.done,
        senders.refusals(),
        pool_starts,
        wrongs,
    )


def _hosts(
    plan: Plan, folder: Path, server: DatabaseServer, database: str, more: Mapping[str, str]
) -> Iterator[contextlib.AbstractContextManager[Host]]:
    settings = {
        **more,
        "BOT_DB_HOST": f"127.0.0.1:{server.port}",
        "BOT_DB_NAME": database,
        "BOT_DB_USER": server.user,
        "BOT_DB_PASS": server.password,
        "BOT_JOURNAL": str(folder / "journal"),
        "BOT_JOB_MAX_ATTEMPTS": "4",
        "BOT_JOB_RETRY_BASE": str(RETRY_BASE_SECONDS),
        "BOT_JOB_RETRY_MAX": "2",
    }
    yield _host(folder / "one", plan, {**settings, "BOT_LEGACY_MODE": "fastcgi", "BOT_WORKER_POOL_SIZE": "3"})
    yield _host(
        folder / "two",
        plan,
        {
            **settings,
            "BOT_LEGACY_MODE": "cli",
            "BOT_WORKER_POOL_SIZE": "1",
            **wrong_clock(folder / "clock"),
        },
    )


@contextlib.contextmanager
def _host(place: Path, plan: Plan, settings: dict[str, str]) -> Iterator[Host]:
    with small_disk(place, plan.disk_megabytes) as disk:
        site = ServedSite(disk, BOT, **settings)
        try:
            yield Host(place.name, site, disk)
        finally:
            if site.log.exists():
                shutil.copy(site.log, place.with_suffix(".log"))


def _send(plan: Plan, hosts: list[Host], faults: Faults) -> Senders:
    """Everything is on its way, and everything has gone wrong, when it returns."""
    failures: list[BaseException] = []

    def go_wrong() -> None:
        try:
            faults.happen(plan.strikes())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    senders = Senders([hosts[0].site.webhook_url] * (CONNECTIONS_OF_TELEGRAM - 1) + [hosts[1].site.webhook_url])
    trouble = threading.Thread(target=go_wrong, name="faults")
    trouble.start()
    try:
        senders.run(arrivals(plan.updates, random.Random(f"arrivals {plan.seed}"), fails_one_in=500), plan.rate)
    except BaseException:
        faults.stop()
        raise
    finally:
        trouble.join()
    if failures:
        raise failures[0]
    return senders


def _wait_for_the_end(server: DatabaseServer, database: str, hosts: list[Host]) -> None:
    """Looks once a second: more would take from the workers what they need to come to the end."""
    snapshot = "SELECT COUNT(*) FROM bot_jobs WHERE status IN ('pending', 'processing')"
    ends = time.monotonic() + PATIENCE_SECONDS
    while (unfinished := int(_rows(server, database, snapshot)[0][0])) > 0:
        assert time.monotonic() < ends, f"{unfinished} updates never ended:\n" + "\n".join(
            tail(host.site.log) for host in hosts
        )
        time.sleep(1.0)


def _states(server: DatabaseServer, database: str) -> dict[int, str]:
    return {int(update): state for update, state in _rows(server, database, "SELECT update_id, status FROM bot_jobs")}


def _failures(server: DatabaseServer, database: str) -> dict[int, str]:
    failed = "SELECT update_id, attempts, error_message FROM bot_jobs WHERE status = 'failed'"
    return {
        int(update): f"{attempts} attempts, {cause!r}" for update, attempts, cause in _rows(server, database, failed)
    }


def _rows(server: DatabaseServer, database: str, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(server.connect(database, as_admin=True)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def _story(accepted: list[Accepted], states: dict[int, str], runs: list[Run], faults: Faults) -> Story:
    return Story(
        accepted={each.arrival.update: each.arrival.lane for each in accepted},
        states=states,
        runs=runs,
        kills=faults.kills,
        delay_seconds=RETRY_BASE_SECONDS,
        lease_seconds=LEASE_SECONDS,
        may_expire=frozenset(each.arrival.update for each in accepted if each.arrival.may_expire),
        always_fail=frozenset(each.arrival.update for each in accepted if each.arrival.always_fails),
    )
