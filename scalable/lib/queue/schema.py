"""Creates the tables and brings them up to date, by adding and widening only.

Nothing is ever dropped or holds less than before, so two processes may do this at once, and an older one goes on
working beside it.
"""

from __future__ import annotations

import logging
from typing import Optional

from scalable.lib.errors import ConfigurationError, SchemaMissing
from scalable.lib.logs import event
from scalable.lib.queue.dialects.database import Session
from scalable.lib.queue.table import QueueTable

log = logging.getLogger(__name__)
# Raise it with every change to tables.py. 1: the first form. 2: workers and minutes. 3: priorities. 4: history. 5: an
# index of lanes, and lease_missed_at. 6: warnings.
SCHEMA_VERSION = 6

# The version these tables have; one row by primary key.
GET_VERSION = "SELECT value FROM {jobs}_meta WHERE name = 'schema_version' LIMIT 1"
SET_VERSION = "UPDATE {jobs}_meta SET value = :value WHERE name = 'schema_version'"
# A pair rather than REPLACE, which would delete the row for a moment.
ADD_VERSION = "INSERT INTO {jobs}_meta (name, value) VALUES ('schema_version', :value)"


def ensure_schema(table: QueueTable) -> None:
    """Make the tables, or add what is missing; returns at once when the stored version is this one.

    Safe to repeat and safe in two processes at once. Raises ConfigurationError when the tables are of a newer version,
    DatabaseUnavailable when the server cannot be reached.
    """
    version = _known_version(table)
    if version != SCHEMA_VERSION:
        made = _complete(table)
        log.info(event("schema brought up to date", table=table.name, version=SCHEMA_VERSION, statements=made))


def repair_schema(table: QueueTable) -> None:
    """The same, whatever the stored version says: for a caller that found a table or a column missing."""
    version = _known_version(table)
    made = _complete(table)
    if made:
        name = "tables were not complete, and are again" if version == SCHEMA_VERSION else "schema brought up to date"
        log.warning(event(name, table=table.name, version=SCHEMA_VERSION, statements=made))


def _known_version(table: QueueTable) -> Optional[int]:
    """The stored version. Raises ConfigurationError for one that is newer than this program."""
    version = stored_version(table)
    if version is not None and version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"table {table.name!r} is of version {version}, this program knows {SCHEMA_VERSION}: "
            "a newer Scalable mode uses it; copy that version's folder here"
        )
    return version


def _complete(table: QueueTable) -> int:
    """Run what is missing, and note the version; how many statements that took."""

    database = table.database

    def upgrade(session: Session) -> int:
        with database.schema_lock(session, table.name):
            statements = missing_statements(table, session)
            for statement in statements:
                session.execute(statement)
            session.upsert(table.sql(SET_VERSION), table.sql(ADD_VERSION), value=str(SCHEMA_VERSION))
        return len(statements)

    return database.run(upgrade, transaction=database.ddl_in_transaction)


def planned_statements(table: QueueTable) -> list[str]:
    """What ensure_schema would run now, each statement on one line; nothing is changed."""
    statements = table.database.run(lambda session: missing_statements(table, session))
    return [" ".join(statement.split()) for statement in statements]


def stored_version(table: QueueTable) -> Optional[int]:
    """The version stored in the tables; None when they do not exist."""
    try:
        found = table.rows(GET_VERSION)
    except SchemaMissing:
        return None
    return int(found[0][0]) if found else None


def missing_statements(table: QueueTable, session: Session) -> list[str]:
    """The statements that turn the existing tables into those of tables.py; empty when nothing is missing."""
    statements: list[str] = []
    database = table.database
    for wanted in database.tables:
        name = table.name + wanted.suffix
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
