"""One connection to MySQL or MariaDB through PyMySQL: how it is set up, and used."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import pymysql
from pymysql.constants import COMMAND, ER, FIELD_TYPE
from pymysql.converters import conversions

from scalable.lib.logs import event
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Session, with_ids
from scalable.lib.queue.dialects.mysql_errors import TEXT_TOO_WIDE
from scalable.lib.queue.dialects.mysql_login import log_in

log = logging.getLogger(__name__)
LOCK_WAIT_SECONDS = 5
# Measured: 40 s for two million jobs.
SCHEMA_SECONDS = 3600

SQL_MODE = "STRICT_ALL_TABLES"
# Times stay text: PyMySQL parses them several times as slowly as datetime.fromisoformat.
_TIMES = (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
_CONVERSIONS = {kind: how for kind, how in conversions.items() if kind not in _TIMES}
SESSION = (
    # The last three against defaults of a host that bend statements: how many rows a join may read, how many a query
    # gives, and which changes are refused.
    f"SET time_zone = '+00:00', sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS},"
    f" lock_wait_timeout = {LOCK_WAIT_SECONDS},"
    " sql_big_selects = 1, sql_select_limit = 18446744073709551615, sql_safe_updates = 0",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
)
# READ COMMITTED cannot be written into a binary log of statements. Only some users may ask for another one.
WRITES_ROWS = "SET SESSION binlog_format = 'ROW'"
# On a Galera node a statement of any kind first waits until the node has what was committed at any other before: ids
# follow each other in the order of arrival, and a lease is visible at every node its owner uses. MariaDB without
# Galera ignores it, MySQL does not have it. Measured with three nodes: 0.1 to 0.6 ms for a statement.
SEES_ALL_NODES = "SET SESSION wsrep_sync_wait = 7"
KEEPS_TIMES = f"SET SESSION sql_mode = '{SQL_MODE},TIME_TRUNCATE_FRACTIONAL'"


class MySqlSession(Session):
    """Sets itself up when it is made. `setup` are the statements that did it, `returns_rows` whether INSERT can.

    `server_user` is whom of this machine the server runs as; None when that cannot be told, as of another machine's.
    """

    duplicate_error = pymysql.err.IntegrityError

    def __init__(self, address: MySqlAddress) -> None:
        self._connection = log_in(address, SESSION[0], _CONVERSIONS)
        self.server_user = self._connection.server_user
        self._cursor = self._connection.cursor()
        self.setup = [*SESSION]
        server_info = str(self._connection.get_server_info())  # type: ignore[no-untyped-call]
        self.returns_rows = returns_rows(server_info)
        if _rounds_times(server_info):
            self.setup.append(KEEPS_TIMES)
        for statement in self.setup[1:]:
            self._cursor.execute(statement)
        self._is_set(SEES_ALL_NODES, unless=ER.UNKNOWN_SYSTEM_VARIABLE)

    def asks_for_rows(self) -> bool:
        """Let this connection write rows into the binary log; False when the user may not."""
        return self._is_set(WRITES_ROWS, unless=ER.SPECIFIC_ACCESS_DENIED_ERROR)

    def _is_set(self, setting: str, unless: int) -> bool:
        """Run a statement of the set-up; False for the one error that means that it is not for this connection."""
        try:
            self._cursor.execute(setting)
        except pymysql.err.OperationalError as error:
            if error.args[0] != unless:
                raise
            return False
        self.setup.append(setting)
        return True

    def execute(self, sql: str, **parameters: Any) -> int:
        """As Session has it."""
        return self._run(with_ids(_for_pymysql(sql), parameters), parameters)

    def insert(self, sql: str, **parameters: Any) -> int:
        """As Session has it."""
        self._run(_for_pymysql(sql), parameters)
        return int(self._cursor.lastrowid or 0)

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """As Session has it."""
        self._run(with_ids(_for_pymysql(sql), parameters), parameters)
        return list(self._cursor.fetchall())

    def _run(self, sql: str, parameters: dict[str, Any]) -> int:
        """Text that a column cannot hold is stored in ASCII: JSON means the same then, and a person can read it."""
        try:
            return int(self._cursor.execute(self._filled_in(sql, parameters)))
        except pymysql.err.MySQLError as error:
            in_ascii = {name: _escaped(value) for name, value in parameters.items()}
            if error.args[0] not in TEXT_TOO_WIDE or in_ascii == parameters:
                raise
            return int(self._cursor.execute(self._filled_in(sql, in_ascii)))

    def _filled_in(self, sql: str, parameters: dict[str, Any]) -> str:
        return sql % {name: self._literal(value) for name, value in parameters.items()} if parameters else sql

    def _literal(self, value: object) -> str:
        """As PyMySQL writes it; the usual kinds in a tenth of the time.

        In a text the server gives a meaning to these two characters only, because SQL_MODE lets `\\` escape.
        """
        if type(value) is str:
            return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
        if type(value) is int:
            return str(value)
        return "NULL" if value is None else str(self._connection.escape(value))

    def fileno(self) -> int:
        """Of the socket: readable when there is an answer."""
        return int(self._connection._sock.fileno())  # type: ignore[attr-defined]

    def send(self, sql: str, **parameters: Any) -> None:
        """The first half of `insert` and `rows`: the second is `answer`."""
        text = self._filled_in(with_ids(_for_pymysql(sql), parameters), parameters)
        connection: Any = self._connection  # what its own `query` does, in two parts
        connection._execute_command(COMMAND.COM_QUERY, text.encode())

    def answer(self) -> tuple[list[tuple[Any, ...]], int]:
        """The rows, and the id of a row that was inserted. Waits when it is not there yet."""
        connection: Any = self._connection
        connection._read_query_result()
        result = connection._result
        return list(result.rows or ()), int(result.insert_id or 0)

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Wait long for each answer: to add a column the server may have to write a large table anew.

        And before that for the end of whatever uses the table, such as a dump.
        """
        connection: Any = self._connection
        usual, connection._read_timeout = connection._read_timeout, SCHEMA_SECONDS
        self._cursor.execute(f"SET SESSION lock_wait_timeout = {SCHEMA_SECONDS}")
        try:
            yield
        finally:
            connection._read_timeout = usual
            with suppress(pymysql.err.Error):  # a lost connection is not used again
                self._cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}")

    def close(self) -> None:
        """As Session has it."""
        try:
            self._connection.close()
        except pymysql.err.Error as error:
            log.debug(event("connection was closed already", cause=error))


def _rounds_times(server_info: str) -> bool:
    """MySQL rounds 0.5 s up into the whole seconds of a table of the PHP version, so that `now` would be in the future;
    from 8.0.1 on it can be told not to. MariaDB cuts them off by itself."""
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", server_info)
    return "MariaDB" not in server_info and version is not None and tuple(map(int, version.groups())) >= (8, 0, 1)


def returns_rows(server_info: str) -> bool:
    """Whether an INSERT returns its rows: MariaDB from 10.5 on. Before 11 its version begins with one for replicas."""
    version = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.\d+-MariaDB", server_info)
    return version is not None and tuple(map(int, version.groups())) >= (10, 5)


def _escaped(value: Any) -> Any:
    """A text with JSON's escapes in place of all but ASCII, which in a JSON text stand for the same; others as is."""
    if not isinstance(value, str) or value.isascii():
        return value
    return re.sub(r"[^\x00-\x7f]", lambda character: json.dumps(character[0])[1:-1], value)


@lru_cache(maxsize=256)
def _for_pymysql(sql: str) -> str:
    return re.sub(r":([a-z_][a-z_0-9]*)", r"%(\1)s", sql)
