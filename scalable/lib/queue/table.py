"""The jobs table of one queue: statements are put into the dialect's words once, and run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from scalable.lib.queue.dialects.database import Database, Session
from scalable.lib.queue.dialects.sent_statement import SentStatement

Result = TypeVar("Result")


class QueueTable:
    """Runs statements on one table. Safe to share between threads.

    Everything that is built on it raises DatabaseUnavailable when the database is away, and SchemaMissing before the
    tables are made.
    """

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        self._rendered: dict[str, str] = {}

    def sql(self, statement: str) -> str:
        """The statement as this database understands it."""
        if statement not in self._rendered:
            self._rendered[statement] = self.database.render(statement, self.name)
        return self._rendered[statement]

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        return self.database.run(lambda session: session.rows(self.sql(statement), **values))

    def send(self, statement: str, **values: Any) -> SentStatement:
        """One statement whose answer is not waited for. Raises FastPathUnavailable; see Database.send."""
        return self.database.send(self.sql(statement), **values)

    def change(self, statement: str, **values: Any) -> int:
        """Run one statement, committed at once; how many rows it matched."""
        return self.database.run(lambda session: session.execute(self.sql(statement), **values))

    def change_ids(self, statement: str, ids: Iterable[int], **values: Any) -> int:
        """The same for a statement with `{ids}`; 0 without any."""
        listed = list(ids)
        return self.change(statement, ids=listed, **values) if listed else 0

    def add(self, insert: str, **values: Any) -> bool:
        """Insert a row, committed at once; False when one with its key is there already."""
        return bool(self.database.run(lambda session: session.execute_unless_duplicate(self.sql(insert), **values)))

    def upsert(self, update: str, insert: str, **values: Any) -> None:
        """Change a row, or add it when there is none, each committed at once; see Session.upsert."""
        self.database.run(lambda session: session.upsert(self.sql(update), self.sql(insert), **values))

    def in_transaction(self, work: Callable[[Session], Result]) -> Result:
        """The result of `work`, all of it committed together, and repeated when the database asks for that."""
        return self.database.run(work, transaction=True)
