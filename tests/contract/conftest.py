"""One queue on every database: whatever a test of this folder says holds for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.lease_terms import LeaseTerms
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.servers.databases import DATABASES, Servers

POLICY = RetryPolicy(max_attempts=3, base_seconds=5, max_seconds=300)


@pytest.fixture(params=["sqlite", *DATABASES])
def address(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> DatabaseAddress:
    """A fresh, empty database."""
    if request.param == "sqlite":
        return SqliteAddress(tmp_path / ".ht-queue.sqlite3")
    return servers.fresh_database(request.param)


@pytest.fixture
def queue(address: DatabaseAddress) -> Iterator[DatabaseQueue]:
    """A queue with its tables, and nothing in them; a lease that ran out is reaped at once."""
    queue = DatabaseQueue(open_database(address), "bot_jobs", POLICY, LeaseTerms(grace_seconds=0))
    queue.ensure_schema()
    yield queue
    queue.close()
