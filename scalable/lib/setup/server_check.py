"""What a server allows this user, and whether its clock is right: questions of the doctor, asked once in a while."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.database import Database

# Every day, and when the tables are made or brought up to date.
DAILY_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
TABLE_RIGHTS = ("CREATE", "ALTER", "INDEX")
_GRANT = re.compile(r"GRANT (.+?) ON (?:TABLE )?(\S+) TO ", re.IGNORECASE)


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections are open, and may be: of all users, and of this one; None: no limit of its own."""

    open_now: int
    all_users: int
    this_user: Optional[int]

    @property
    def most(self) -> int:
        """How many this user can have at best."""
        return min(self.all_users, self.this_user or self.all_users)


@dataclass(frozen=True)
class ClusterNode:
    """A server of a cluster: its own name, how many it sees with itself, and its state in the cluster's words."""

    name: str
    size: int
    state: str

    @property
    def is_synced(self) -> bool:
        """True when it is a full member."""
        return self.state == "Synced"


def clock_difference(queue: DatabaseQueue) -> float:
    """Seconds that the database's clock is ahead of this machine's; negative when it is behind."""
    minutes = queue.minutes
    minutes.now()  # connects, which takes longer than asking
    before = time.time()
    theirs = minutes.now()
    half = (before + time.time()) / 2
    return (theirs - datetime.fromtimestamp(half, timezone.utc)).total_seconds()


def connection_limits(database: Database) -> Optional[ConnectionLimits]:
    """None where there are none, as in a file."""
    found = database.run(database.connection_limits)
    return None if found is None else ConnectionLimits(found[0], found[1], found[2] or None)


def cluster_node(database: Database) -> Optional[ClusterNode]:
    """None where the server is no part of a cluster."""
    found = database.run(database.cluster_node)
    return None if found is None else ClusterNode(*found)


def missing_rights(database: Database, wanted: tuple[str, ...]) -> list[str]:
    """Those of `wanted` that this user has not in this database; empty also where roles hide what it has."""
    name, lines = database.run(database.rights)
    given: set[str] = set()
    for line in lines:
        found = _GRANT.match(line)
        if found is None:
            return []  # a role, whose rights are in another place
        if _covers(found.group(2), name):
            given |= {right.strip().upper() for right in re.sub(r"\([^)]*\)", "", found.group(1)).split(",")}
    if not lines or "ALL PRIVILEGES" in given:
        return []
    return [right for right in wanted if right not in given]


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
