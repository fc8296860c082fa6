"""The doctor's look at the database: reached or not, its server, rights, limits, clock, tables, and how it plans."""

from __future__ import annotations

import contextlib
import os
from typing import Optional

from scalable.lib.errors import BotMissing, ConfigurationError, DatabaseUnavailable, ScalableError, SchemaMissing
from scalable.lib.queue.database_queue import POOL_CONNECTIONS, DatabaseQueue
from scalable.lib.queue.dialects.address import SOCKET_PLACES, DatabaseAddress, MySqlAddress
from scalable.lib.queue.plan_check import slow_plans
from scalable.lib.queue.schema import SCHEMA_VERSION, planned_statements, stored_version
from scalable.lib.runners.php.find_php import find_php, mysql_socket
from scalable.lib.setup.finding import Finding, Verdict, error, ok, warning
from scalable.lib.setup.packages import missing_package
from scalable.lib.setup.server_check import (
    DAILY_RIGHTS,
    TABLE_RIGHTS,
    clock_difference,
    cluster_node,
    connection_limits,
    missing_rights,
)
from scalable.lib.setup.storage import Storage

# Telegram's times and the database's are compared; a minute's difference shows as a wrong age.
CLOCK_SECONDS = 5.0
# The smallest that goes on when one node dies.
SAFE_CLUSTER = 3


def check_database(storage: Storage, address: DatabaseAddress, pool_size: int, dry_run: bool) -> list[Finding]:
    """Every finding about it; `dry_run`: the tables are looked at, not touched."""
    findings: list[Finding] = []
    try:
        queue = storage.queue()
        server = queue.describe_server()
        findings = [
            ok(
                "database",
                f"{server.product} {server.version}, {queue.database.place}; jobs are claimed by {server.claim_method}",
            )
        ]
        findings += _cluster(queue) + _rights(queue) + _connections(queue, pool_size)
        if dry_run:
            return findings + _plan(queue)
        findings += [_table(queue), _clock(queue)]
        return findings if findings[-2].verdict is Verdict.ERROR else [*findings, *_plans(queue), _depth(queue)]
    except DatabaseUnavailable as problem:
        return [*findings, error("database", str(problem)), *_local_socket(address)]
    except ConfigurationError as problem:
        return [*findings, *(error("database", line) for line in problem.problems)]
    except ModuleNotFoundError as problem:  # PyMySQL
        return [error("database", missing_package(problem))]


def _local_socket(address: DatabaseAddress) -> list[Finding]:
    """`localhost` is a socket to PHP; where that is in an unusual place, we do not find it."""
    if not isinstance(address, MySqlAddress) or address.socket != "" or any(map(os.path.exists, SOCKET_PLACES)):
        return []
    seen = (
        f"BOT_DB_HOST=localhost means the server's socket, which is at none of {', '.join(SOCKET_PLACES)}; so "
        f"127.0.0.1:{address.port} was tried"
    )
    of_php = _socket_of_php()
    if of_php and os.path.exists(of_php):
        return [error("database", seen, f"set BOT_DB_HOST={of_php}, where PHP looks for it")]
    remedy = "set BOT_DB_HOST to that socket's path, or to the server's name as your host's panel shows it"
    return [error("database", seen, remedy)]


def _socket_of_php() -> str:
    try:
        return mysql_socket(find_php())
    except BotMissing:
        return ""


def _cluster(queue: DatabaseQueue) -> list[Finding]:
    node = cluster_node(queue.database)
    if node is None:
        return []
    seen = f"Galera node {node.name}, {node.size} in the cluster, {node.state}"
    if not node.is_synced:
        return [warning("cluster", seen, "behind, or busy with another node: statements may wait until it is Synced")]
    if node.size < SAFE_CLUSTER:
        remedy = "three or more go on when one dies: bring back the one that is missing, or add one"
        return [warning("cluster", seen, remedy)]
    return [ok("cluster", seen)]


def _rights(queue: DatabaseQueue) -> list[Finding]:
    missing = missing_rights(queue.database, DAILY_RIGHTS)
    remedy = "give this user all rights on the database in your host's panel"
    if missing:
        return [error("rights", f"this user may not {', '.join(missing)} in the database", remedy)]
    missing = missing_rights(queue.database, TABLE_RIGHTS)
    if missing:
        seen = f"this user may not {', '.join(missing)}, which making or updating the tables needs"
        return [warning("rights", seen, remedy)]
    return []


def _connections(queue: DatabaseQueue, pool_size: int) -> list[Finding]:
    limits = connection_limits(queue.database)
    if limits is None:
        return []
    needed = pool_size + POOL_CONNECTIONS
    own = f", {limits.this_user} for this user" if limits.this_user else ""
    seen = f"{limits.open_now} open of {limits.all_users}{own}"
    if limits.most < needed:
        remedy = "lower BOT_WORKER_POOL_SIZE, or ask the host for more"
        return [warning("connections", f"{seen}; {pool_size} workers and the web server may need {needed}", remedy)]
    return [ok("connections", seen)]


def _table(queue: DatabaseQueue) -> Finding:
    before: Optional[int] = stored_version(queue.table)
    try:
        queue.ensure_schema()
    except ScalableError as problem:
        return error("table", str(problem))
    made = "" if before == SCHEMA_VERSION else " (made just now)" if before is None else f" (brought up from {before})"
    return ok("table", f"{queue.table.name}, version {SCHEMA_VERSION}{made}")


def _clock(queue: DatabaseQueue) -> Finding:
    ahead = clock_difference(queue)
    if abs(ahead) < CLOCK_SECONDS:
        return ok("clock", "this machine and the database agree")
    which = "ahead of" if ahead > 0 else "behind"
    return warning(
        "clock",
        f"the database's clock is {abs(ahead):.0f} s {which} this machine's",
        "ask the host to set it; ages and waits on the dashboard are wrong by as much",
    )


def _plan(queue: DatabaseQueue) -> list[Finding]:
    """What would be done to the tables, statement by statement, and what is in them now."""
    statements = planned_statements(queue.table)
    if not statements:
        return [ok("table", "complete, nothing would be changed"), _depth(queue)]
    findings = [ok("would run", statement) for statement in statements]
    with contextlib.suppress(SchemaMissing):
        findings.append(_depth(queue))
    return findings


def _plans(queue: DatabaseQueue) -> list[Finding]:
    """How the server would run what runs all day; a sort or a scan costs little today and everything in a rush."""
    slow = slow_plans(queue)
    if not slow:
        return [ok("indexes", "claims, reaps and clean-ups use theirs")]
    remedy = "drop the queue's indexes of that name and run this again, or report it with the lines above"
    return [error("indexes", line, remedy) for line in slow]


def _depth(queue: DatabaseQueue) -> Finding:
    counts = queue.counts()
    seen = f"{counts.pending} pending, {counts.processing} processing, {counts.done} done, {counts.failed} failed"
    if counts.failed:
        return warning("queue", seen, "the dashboard says why and runs them again")
    return ok("queue", seen)
