"""Checks the database: whether it is reached, the tables, how the server plans the statements, what is in the queue.

What the server itself allows is checked by server_check.py.
"""

from __future__ import annotations

import contextlib

from scalable.lib.errors import BotMissing, ConfigurationError, DatabaseUnavailable, ScalableError, SchemaMissing
from scalable.lib.queue.bot_identity import confirm_bot
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SOCKET_PLACES, DatabaseAddress, MySqlAddress
from scalable.lib.queue.dialects.server_trust import is_of_a_server, socket_of, sockets_of_strangers
from scalable.lib.queue.plan_check import slow_plans
from scalable.lib.queue.schema import SCHEMA_VERSION, planned_statements, stored_version
from scalable.lib.queue.sqlite_space import unused_bytes
from scalable.lib.runners.php.find_php import find_php, mysql_socket
from scalable.lib.setup.finding import Finding, Verdict, error, ok, warning
from scalable.lib.setup.packages import missing_package
from scalable.lib.setup.server_check import check_clock, check_server
from scalable.lib.setup.storage import Storage

# Less is soon used again.
WORTH_FREEING_MB = 20.0


def check_database(storage: Storage, address: DatabaseAddress, pool_size: int, dry_run: bool) -> list[Finding]:
    """Every finding about it; `dry_run`: the tables are read, not changed."""
    findings: list[Finding] = []
    try:
        queue = storage.queue()
        server = queue.describe_server()
        seen = f"{server.product} {server.version}, {queue.database.place}; jobs are claimed by {server.claim_method}"
        findings.append(ok("database", seen))
        findings += check_server(queue.database, pool_size)
        if dry_run:
            return findings + _planned_changes(queue)
        table, clock = _table(queue), check_clock(queue)
        findings += [table, clock]
        if table.verdict is not Verdict.ERROR:
            findings += [_bot(storage, queue), *_slow_plans(queue), _depth(queue), *_space(queue)]
            findings += _left_behind(storage)
    except DatabaseUnavailable as problem:
        findings += [error("database", str(problem)), *_local_socket(address)]
    except ConfigurationError as problem:
        findings += [error("database", line) for line in problem.problems]
    except ModuleNotFoundError as problem:  # PyMySQL
        findings.append(error("database", missing_package(problem)))
    return findings


def _local_socket(address: DatabaseAddress) -> list[Finding]:
    """`localhost` means a socket, as in PHP; one in an unusual place is not found without its path."""
    if not isinstance(address, MySqlAddress) or address.socket != "" or socket_of(address):
        return []
    strange = [f"; {path} is not a server's, but user {name}'s" for path, name in sockets_of_strangers(address).items()]
    seen = (
        f"BOT_DB_HOST=localhost means the server's socket, which is at none of {', '.join(SOCKET_PLACES)}"
        f"{''.join(strange)}; so 127.0.0.1:{address.port} was tried"
    )
    of_php = ""
    with contextlib.suppress(BotMissing):
        of_php = mysql_socket(find_php())
    if of_php and is_of_a_server(of_php, address):
        return [error("database", seen, f"set BOT_DB_HOST={of_php}, where PHP looks for it")]
    remedy = "set BOT_DB_HOST to that socket's path, or to the server's name as your host's panel shows it"
    return [error("database", seen, remedy)]


def _table(queue: DatabaseQueue) -> Finding:
    before = stored_version(queue.table)
    try:
        queue.ensure_schema()
    except ScalableError as problem:
        return error("table", str(problem))
    made = "" if before == SCHEMA_VERSION else " (made just now)" if before is None else f" (brought up from {before})"
    return ok("table", f"{queue.table.name}, version {SCHEMA_VERSION}{made}")


def _bot(storage: Storage, queue: DatabaseQueue) -> Finding:
    """Whether the table is for this bot, and not for that of another installation."""
    mine = storage.bot_identity()
    try:
        doubt = confirm_bot(queue.table, mine)
    except ConfigurationError as problem:
        return error("bot of table", str(problem))
    return ok("bot of table", mine.name) if doubt is None else warning("bot of table", doubt)


def _space(queue: DatabaseQueue) -> list[Finding]:
    """An SQLite file keeps the room of jobs that were deleted."""
    space = unused_bytes(queue.database)
    if space is None:
        return []
    size, unused = (number / 1e6 for number in space)
    seen = f"the SQLite file has {size:.0f} MB, {unused:.0f} MB of them are free for jobs to come"
    if unused < WORTH_FREEING_MB or unused < size / 2:
        return [ok("space", seen)]
    remedy = "to give them back to the disk: end the pool, and run config.py --compact"
    return [warning("space", seen, remedy)]


def _left_behind(storage: Storage) -> list[Finding]:
    forgotten = storage.left_behind()
    return [] if forgotten is None else [warning("left behind", forgotten.text)]


def _planned_changes(queue: DatabaseQueue) -> list[Finding]:
    """What would be done to the tables, statement by statement, and how many jobs are in them."""
    statements = planned_statements(queue.table)
    if not statements:
        return [ok("table", "complete, nothing would be changed"), _depth(queue)]
    findings = [ok("would run", statement) for statement in statements]
    with contextlib.suppress(SchemaMissing):
        findings.append(_depth(queue))
    return findings


def _slow_plans(queue: DatabaseQueue) -> list[Finding]:
    """Statements of every day that the server would run with a sort or a scan, which is slow in a full table."""
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
