"""How much of the SQLite file is used: what deleted jobs took stays in the file, for jobs to come."""

from __future__ import annotations

from typing import Optional

from scalable.lib.queue.dialects.database import Database, Session
from scalable.lib.queue.dialects.sqlite import SqliteDatabase

SPACE = """
SELECT page_size, page_count, freelist_count
FROM pragma_page_size, pragma_page_count, pragma_freelist_count
LIMIT 1
"""


def unused_bytes(database: Database) -> Optional[tuple[int, int]]:
    """The size of the file, and how much of it is not used; None where the queue is on a server. Costs nothing."""
    if not isinstance(database, SqliteDatabase):
        return None

    def read(session: Session) -> tuple[int, int]:
        [(page, pages, unused)] = session.rows(SPACE)
        return page * pages, page * unused

    return database.run(read)


def compact(database: Database) -> None:
    """Write the SQLite file anew, without what is not used; does nothing on a server.

    Needs room for a second file, and that nobody else works on the queue. Raises DatabaseUnavailable.
    """
    if isinstance(database, SqliteDatabase):
        database.run(lambda session: session.execute("VACUUM"))
        database.run(lambda session: session.rows("PRAGMA wal_checkpoint(TRUNCATE)"))
