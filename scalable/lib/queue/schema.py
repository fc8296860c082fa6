"""Brings the tables about and up to date, by adding only.

Nothing is ever dropped or retyped, so two processes may do this at once, and an older one goes on working beside it.
"""

from __future__ import annotations

import logging
from typing import Optional

from scalable.lib.errors import ConfigurationError, DuplicateKey, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.queue.dialects.database import Database, Session

log = logging.getLogger(__name__)
# Raise it with every change to tables.py. 1: the first form. 2: workers and minutes. 3: priorities. 4: history.
SCHEMA_VERSION = 4


def ensure_schema(database: Database, table: str) -> None:
    """Make the tables, or add what is missing; returns at once when the stored version is this one.

    Safe to repeat and safe in two processes at once. Raises ConfigurationError when the tables are of a newer version,
    DatabaseUnavailable when the server cannot be reached.
    """
    version = _known_version(database, table)
    if version != SCHEMA_VERSION:
        made = _complete(database, table)
        log.info(event("schema brought up to date", table=table, version=SCHEMA_VERSION, statements=made))


def repair_schema(database: Database, table: str) -> None:
    """The same, whatever the stored version says: for whoever found a table or a column missing."""
    version = _known_version(database, table)
    made = _complete(database, table)
    if made:
        name = "tables were not complete, and are again" if version == SCHEMA_VERSION else "schema brought up to date"
        log.warning(event(name, table=table, version=SCHEMA_VERSION, statements=made))


def _known_version(database: Database, table: str) -> Optional[int]:
    """The stored version. Raises ConfigurationError for one this program does not know."""
    version = stored_version(database, table)
    if version is not None and version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"table {table!r} is of version {version}, this program knows {SCHEMA_VERSION}: "
            "a newer Scalable mode uses it; copy that version's folder here"
        )
    return version


def _complete(database: Database, table: str) -> int:
    """Run what is missing, and note the version; how many statements that took."""

    def upgrade(session: Session) -> int:
        with database.schema_lock(session, table):
            statements = missing_statements(database, session, table)
            for statement in statements:
                session.execute(statement)
            if not session.execute(_SET_VERSION.format(table=table), value=str(SCHEMA_VERSION)):
                session.execute(_ADD_VERSION.format(table=table), value=str(SCHEMA_VERSION))
        return len(statements)

    try:
        return database.run(upgrade, transaction=database.ddl_in_transaction)
    except DuplicateKey:  # another process wrote the version between our two statements: it did the same work
        return 0


def planned_statements(database: Database, table: str) -> list[str]:
    """What ensure_schema would run now, each statement on one line; nothing is changed."""
    statements = database.run(lambda session: missing_statements(database, session, table))
    return [" ".join(statement.split()) for statement in statements]


def stored_version(database: Database, table: str) -> Optional[int]:
    """The version the tables say they have; None when they do not exist."""
    try:
        found = database.run(lambda session: session.rows(_GET_VERSION.format(table=table)))
    except SchemaMissing:
        return None
    return int(found[0][0]) if found else None


def missing_statements(database: Database, session: Session, table: str) -> list[str]:
    """The statements that turn what is there into what tables.py describes; empty when nothing is missing."""
    statements: list[str] = []
    for wanted in database.tables:
        name = table + wanted.suffix
        columns = database.existing_columns(session, name)
        indexes = database.existing_indexes(session, name) if columns else []
        if not columns:
            statements.append(wanted.create.format(table=name))
        statements += database.widen_statements(session, name) if columns else []
        statements += database.add_statements(
            name,
            {column: text for column, text in wanted.columns.items() if column not in columns},
            {index: text for index, text in wanted.indexes.items() if database.index_name(name, index) not in indexes},
        )
    return statements


# The version these tables have; one row by primary key.
_GET_VERSION = "SELECT value FROM {table}_meta WHERE name = 'schema_version' LIMIT 1"
_SET_VERSION = "UPDATE {table}_meta SET value = :value WHERE name = 'schema_version'"
# A pair rather than REPLACE, which would delete the row for a moment.
_ADD_VERSION = "INSERT INTO {table}_meta (name, value) VALUES ('schema_version', :value)"
