"""Updates that wait in the SQLite file although BOT_DB_* name a server now: nobody runs them, so they are told of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable, SchemaMissing
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import DatabaseAddress, SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy


@dataclass(frozen=True)
class LeftBehind:
    """How many updates wait, in which file."""

    updates: int
    file: Path

    @property
    def text(self) -> str:
        """One line with the remedy."""
        are = "update waits" if self.updates == 1 else "updates wait"
        note = self.file.with_name(".ht-database")
        return (
            f"{self.updates} {are} in {self.file}, which was used before BOT_DB_* were set, and nobody runs them: "
            f"take the BOT_DB_* out of the settings, delete {note}, and let worker.py --drain run them; then put the "
            f"settings back and delete {note} again. If they are not wanted, delete {self.file.name}"
        )


def find_left_behind(file: Path, database: DatabaseAddress, table: str) -> Optional[LeftBehind]:
    """What waits in `file`; None when nothing does, or when the queue itself is there."""
    if isinstance(database, SqliteAddress) or not file.is_file():
        return None
    queue = DatabaseQueue(open_database(SqliteAddress(file)), table, RetryPolicy())
    try:
        counts = queue.counts()
    except (DatabaseUnavailable, SchemaMissing):
        return None  # damaged, or of something else: nothing is known to wait
    finally:
        queue.close()
    waiting = counts.pending + counts.processing
    return LeftBehind(waiting, file) if waiting else None
