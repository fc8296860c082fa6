"""Checks the database server: its cluster, this user's rights and connections, its clock. A file allows everything."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Optional

from scalable.lib.queue.database_queue import POOL_CONNECTIONS, DatabaseQueue
from scalable.lib.queue.dialects.database import Database
from scalable.lib.setup.finding import Finding, error, ok, warning

# For daily use, and for making and updating the tables.
DAILY_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLE_RIGHTS = ("CREATE", "ALTER", "INDEX")
# Telegram's times and the database's are compared; a minute's difference shows as a wrong age.
CLOCK_SECONDS = 5.0
# The smallest cluster that survives the loss of a node.
SAFE_CLUSTER = 3
_GRANT = re.compile(r"GRANT (.+?) ON (?:TABLE )?(\S+) TO ", re.IGNORECASE)


def check_server(database: Database, pool_size: int) -> list[Finding]:
    """What it allows this user, and how its cluster is. Raises DatabaseUnavailable."""
    return _cluster(database) + _writing(database) + _rights(database) + _connections(database, pool_size)


def _writing(database: Database) -> list[Finding]:
    problem = database.run(database.writing_problem)
    return [error("writing", problem)] if problem else []


def _cluster(database: Database) -> list[Finding]:
    node = database.run(database.cluster_node)
    if node is None:
        return []
    name, size, state = node
    seen = f"Galera node {name}, {size} in the cluster, {state}"
    if state != "Synced":
        return [warning("cluster", seen, "behind, or busy with another node: statements may wait until it is Synced")]
    if size < SAFE_CLUSTER:
        remedy = "three or more go on when one dies: bring back the one that is missing, or add one"
        return [warning("cluster", seen, remedy)]
    return [ok("cluster", seen)]


def _rights(database: Database) -> list[Finding]:
    given = _given_rights(database)
    if given is None:
        return []
    remedy = "give this user all rights on the database in your host's panel"
    missing = [right for right in DAILY_RIGHTS if right not in given]
    if missing:
        return [error("rights", f"this user may not {', '.join(missing)} in the database", remedy)]
    missing = [right for right in TABLE_RIGHTS if right not in given]
    if missing:
        seen = f"this user may not {', '.join(missing)}, which making or updating the tables needs"
        return [warning("rights", seen, remedy)]
    return []


def _given_rights(database: Database) -> Optional[set[str]]:
    """The rights of this user in this database; None when it has all, or has roles, whose rights are not listed."""
    name, lines = database.run(database.rights)
    given: set[str] = set()
    for grant in map(_GRANT.match, lines):
        if grant is None:
            return None  # a role, whose rights are not listed here
        if _covers(grant.group(2), name):
            given |= {right.strip().upper() for right in re.sub(r"\([^)]*\)", "", grant.group(1)).split(",")}
    return None if not lines or "ALL PRIVILEGES" in given else given


def _covers(scope: str, database: str) -> bool:
    """Whether a GRANT's `ON` reaches the whole database; % and _ are patterns unless escaped (MySQL, GRANT)."""
    if scope.rpartition(".")[2] != "*":
        return False
    parts = re.findall(r"\\.|[^\\]", scope.rpartition(".")[0].strip("`'\""))
    if parts == ["*"]:
        return True
    patterns = {"%": ".*", "_": "."}
    pattern = "".join(patterns.get(part, re.escape(part.lstrip("\\"))) for part in parts)
    return re.fullmatch(pattern, database, re.IGNORECASE) is not None


def _connections(database: Database, pool_size: int) -> list[Finding]:
    limits = database.run(database.connection_limits)
    if limits is None:
        return []
    open_now, all_users, this_user = limits  # this user's is 0 without a limit of its own
    needed = pool_size + POOL_CONNECTIONS
    seen = f"{open_now} open of {all_users}" + (f", {this_user} for this user" if this_user else "")
    if min(all_users, this_user or all_users) < needed:
        remedy = "lower BOT_WORKER_POOL_SIZE, or ask the host for more"
        return [warning("connections", f"{seen}; {pool_size} workers and the web server may need {needed}", remedy)]
    return [ok("connections", seen)]


def check_clock(queue: DatabaseQueue) -> Finding:
    """Whether the database's clock and this machine's agree. Raises DatabaseUnavailable."""
    ahead = _seconds_ahead(queue)
    if abs(ahead) < CLOCK_SECONDS:
        return ok("clock", "this machine and the database agree")
    which = "ahead of" if ahead > 0 else "behind"
    return warning(
        "clock",
        f"the database's clock is {abs(ahead):.0f} s {which} this machine's",
        "ask the host to set it; ages and waits on the dashboard are wrong by as much",
    )


def _seconds_ahead(queue: DatabaseQueue) -> float:
    minutes = queue.minutes
    minutes.now()  # connects, which takes longer than asking
    before = time.time()
    theirs = minutes.now()
    half = (before + time.time()) / 2
    return (theirs - datetime.fromtimestamp(half, timezone.utc)).total_seconds()
