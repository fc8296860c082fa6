"""The embedded database: one SQLite file in WAL mode, safe with many processes on one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.database import Database, Meaning, Result, Session, with_ids
from scalable.lib.queue.dialects.prepared_insert import SQLITE_SESSION, PreparedInsert
from scalable.lib.queue.dialects.sqlite_file import SqliteFile
from scalable.lib.queue.dialects.tables import SQLITE_TABLES
from scalable.lib.queue.history import MAX_HISTORY_CHARACTERS
from scalable.lib.queue.job import ServerDescription

BUSY_SECONDS = 15.0
_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
# What history.py reads, up to its last part.
_ENDED = f"COALESCE(history, '') || COALESCE(reserved_at, {_NOW}) || '|' || {_NOW} || '|' || attempts || '|'"
# Times are UTC text with milliseconds, so that they sort, and read like MySQL's.
_WORDS = {
    "now": _NOW,
    "moment": _NOW,
    "in": "strftime('%Y-%m-%d %H:%M:%f', 'now', :{0} || ' seconds')",
    "ago": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || :{0} || ' seconds')",
    "minute_ago": "strftime('%Y-%m-%d %H:%M:00.000', 'now', '-' || :{0} || ' seconds')",
    # By way of whole milliseconds, because a Julian day as a floating-point number is only exact to 40 microseconds.
    "age": "CAST(ROUND((julianday('now') - julianday({0})) * 86400000) AS INTEGER) * 1000",
    "history": f"substr({_ENDED} || :{{0}} || char(10), -{MAX_HISTORY_CHARACTERS})",
    "contains": "instr({0}, :{1}) > 0",
    "slot": "(CAST(strftime('%s', {0}) AS INTEGER) / :{1})",
    "stamped": f"{_NOW} || ' ' || :{{0}}",
    # The words of the partial indexes, without which SQLite would not use them.
    "open": "{0}.status IN ('pending', 'processing') AND {0}.lane",
    "indexed_lane": "{0}.lane",
    "running": "{0}.status = 'processing' AND {0}.lane",
    "use": 'INDEXED BY "{table}_{0}"',
    "by_id": "NOT INDEXED",
    "unsorted": "",
    "id_step": "1",
}


class SqliteDatabase(Database):
    """Dialect of SQLite 3.34 and newer. One writer after the other (BEGIN IMMEDIATE), so claims cannot collide."""

    driver_errors = (sqlite3.Error,)
    begin_sql = "BEGIN IMMEDIATE"
    explain_sql = "EXPLAIN QUERY PLAN"
    tables = SQLITE_TABLES
    words = _WORDS
    ddl_in_transaction = True
    candidates_per_job = 1

    def __init__(self, address: SqliteAddress) -> None:
        super().__init__()
        self._path = address.path
        self._file = SqliteFile(str(address.path))

    @property
    def identity(self) -> str:
        """Without its path: the file moves with its folder, and a link may lead to the same one."""
        return "the embedded SQLite file"

    @property
    def place(self) -> str:
        """The file, by name."""
        return f"SQLite file {self._path}"

    def claims_in_transaction(self) -> bool:
        """Always: only one writer at a time exists."""
        return True

    def prepared_insert(self, statement: str) -> PreparedInsert:
        """The file is in WAL mode already, and stays so."""
        return PreparedInsert(str(self._path), [], [*SQLITE_SESSION], statement)

    def describe(self) -> ServerDescription:
        """The version of the SQLite library Python was built with."""
        self.run(lambda session: session.rows("SELECT 1"))
        return ServerDescription("SQLite", sqlite3.sqlite_version, "one writer after the other")

    def schema_lock(self, session: Session, table: str) -> AbstractContextManager[None]:
        """Nothing more: the transaction itself keeps other writers out."""
        return nullcontext()

    def add_statements(self, table: str, columns: dict[str, str], indexes: dict[str, str]) -> list[str]:
        """SQLite adds one thing at a time."""
        return [f'ALTER TABLE "{table}" ADD COLUMN {name} {text}' for name, text in columns.items()] + [
            "CREATE " + text.format(index=f'"{self.index_name(table, name)}"', table=f'"{table}"')
            for name, text in indexes.items()
        ]

    def index_name(self, table: str, index: str) -> str:
        """Index names share one space with tables in SQLite."""
        return f"{table}_{index}"

    def existing_columns(self, session: Session, table: str) -> list[str]:
        """From table_xinfo, which also lists generated columns."""
        return [row[1] for row in session.rows(f'PRAGMA table_xinfo("{table}")')]

    def existing_indexes(self, session: Session, table: str) -> list[str]:
        """From index_list."""
        return [row[1] for row in session.rows(f'PRAGMA index_list("{table}")')]

    def _once(self, work: Callable[[Session], Result], transaction: bool) -> Result:
        self._file.check()
        try:
            return super()._once(work, transaction)
        except sqlite3.DatabaseError as error:
            self._file.noticed(error)
            raise

    def _connect(self) -> Session:
        self._file.make()
        return _SqliteSession(self._path)

    def _meaning(self, error: Exception) -> Meaning:
        text = str(error)
        if isinstance(error, sqlite3.IntegrityError) and "UNIQUE" in text:
            return Meaning.DUPLICATE
        if not isinstance(error, sqlite3.OperationalError):
            return Meaning.UNAVAILABLE if "malformed" in text or "not a database" in text else Meaning.DEFECT
        if any(sign in text for sign in ("no such table", "no such column", "has no column", "no such index")):
            return Meaning.SCHEMA_MISSING
        if "syntax error" in text:
            return Meaning.DEFECT
        return Meaning.CONFLICT if "locked" in text or "busy" in text else Meaning.UNAVAILABLE


class _SqliteSession(Session):
    duplicate_error = sqlite3.IntegrityError

    def __init__(self, path: os.PathLike[str]) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            self._switch_to_wal()
            for statement in SQLITE_SESSION:
                self._connection.execute(statement)
        except sqlite3.Error:
            self._connection.close()
            raise

    def _switch_to_wal(self) -> None:
        # The switch itself does not honour the busy time-out, and two first processes may start together.
        deadline = time.monotonic() + BUSY_SECONDS
        while self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def execute(self, sql: str, **parameters: Any) -> int:
        return self._connection.execute(with_ids(sql, parameters), parameters).rowcount

    def insert(self, sql: str, **parameters: Any) -> int:
        return int(self._connection.execute(sql, parameters).lastrowid or 0)

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(with_ids(sql, parameters), parameters).fetchall()

    def close(self) -> None:
        self._connection.close()
