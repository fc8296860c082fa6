"""MySQL and MariaDB through PyMySQL: connecting, the dialect's words, and what the server's errors mean."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from typing import Any, Optional, cast

import pymysql
from pymysql.constants import CLIENT, CR, ER, FIELD_TYPE
from pymysql.converters import conversions

from scalable.lib.errors import DatabaseUnavailable, NodeWithoutCluster
from scalable.lib.logs import event
from scalable.lib.queue.dialects.address import SOCKET_PLACES, MySqlAddress
from scalable.lib.queue.dialects.database import Database, Meaning, Result, Session, with_ids
from scalable.lib.queue.dialects.mysql_errors import (
    BINARY_LOG_OF_STATEMENTS,
    NOT_PREPARED,
    STATEMENT_LOG,
    TEXT_TOO_WIDE,
    advice,
    meaning_of,
    number_of,
)
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.dialects.tables import EVERY_CHARACTER, MYSQL_TABLES, STATUS_TYPE
from scalable.lib.queue.history import MAX_HISTORY_CHARACTERS
from scalable.lib.queue.job import ServerDescription

log = logging.getLogger(__name__)
# Together well under the 60 s after which Telegram stops waiting for the webhook.
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS, LOCK_WAIT_SECONDS = 5, 10, 10, 5
# Measured: 40 s for two million jobs.
SCHEMA_SECONDS = 3600
SCHEMA_LOCK_SECONDS = 60
# For work of milliseconds, that may also be done by two at once. Less than READ_SECONDS.
WORK_LOCK_SECONDS = 5
# Without SKIP LOCKED the claimers race for the same rows: offering each a few to choose from keeps most tries useful.
CANDIDATES_WITHOUT_LOCKS = 8

SQL_MODE = "STRICT_ALL_TABLES"
# Times stay text: PyMySQL parses them several times as slowly as datetime.fromisoformat.
_TIMES = (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
_CONVERSIONS = {kind: how for kind, how in conversions.items() if kind not in _TIMES}
# What history.py reads, up to its last part.
_ENDED = "COALESCE(history, ''), COALESCE(reserved_at, NOW(3)), '|', NOW(3), '|', attempts, '|'"
# Columns that get text from outside.
_TEXT_COLUMNS = "('payload', 'error_message', 'history', 'reserved_by')"
# NOW() is UTC because every session sets its time zone.
_WORDS = {
    "now": "NOW(3)",
    "moment": "SYSDATE(3)",
    "in": "(NOW(3) + INTERVAL (:{0} * 1000000) MICROSECOND)",
    "ago": "(NOW(3) - INTERVAL (:{0} * 1000000) MICROSECOND)",
    "minute_ago": "(NOW() - INTERVAL (:{0} + SECOND(NOW() - INTERVAL :{0} SECOND)) SECOND)",
    "age": "TIMESTAMPDIFF(MICROSECOND, {0}, NOW(3))",
    "history": f"RIGHT(CONCAT({_ENDED}, :{{0}}, '\n'), {MAX_HISTORY_CHARACTERS})",
    "contains": "INSTR(CAST({0} AS BINARY), :{1}) > 0",
    "slot": "(UNIX_TIMESTAMP({0}) DIV :{1})",
    "stamped": "CONCAT(NOW(3), ' ', :{0})",
    "open": "{0}.open_lane",
    "running": "{0}.running_lane",
    "use": "FORCE INDEX ({0})",
    "by_id": "FORCE INDEX (PRIMARY)",
    "unsorted": "ORDER BY NULL",
    "id_step": "@@auto_increment_increment",
}
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


class MySqlDatabase(Database):
    """Dialect of MySQL 5.7 and MariaDB 10.3 and newer."""

    driver_errors = (pymysql.err.Error, OSError)
    begin_sql = "START TRANSACTION"
    explain_sql = "EXPLAIN FORMAT = TRADITIONAL"  # MySQL 9 draws a tree otherwise
    tables = MYSQL_TABLES
    words = _WORDS
    ddl_in_transaction = False

    def __init__(self, address: MySqlAddress) -> None:
        super().__init__()
        self._address = address
        self._skip_locked: Optional[bool] = None
        self._asks_for_rows = False

    @property
    def identity(self) -> str:
        """The database and where it is; never the password."""
        return str(self._address)

    @property
    def candidates_per_job(self) -> int:
        """One where candidates are locked; a choice where claimers race for them."""
        return 1 if self.claims_in_transaction() else CANDIDATES_WITHOUT_LOCKS

    @property
    def lock_clause(self) -> str:
        """Where the server has it; see claims_in_transaction."""
        return "FOR UPDATE SKIP LOCKED" if self._skip_locked else ""

    def claims_in_transaction(self) -> bool:
        """Whether the server has SKIP LOCKED and is no Galera node; asked once, by trying it.

        On Galera, SKIP LOCKED loses most transactions at COMMIT, the conditional UPDATE almost none (measured).
        """
        if self._skip_locked is None:
            self._skip_locked = self.run(_has_skip_locked)
        return self._skip_locked

    def run(self, work: Callable[[Session], Result], transaction: bool = False) -> Result:
        """As Database.run; where the binary log is one of statements, from then on with connections that write rows."""
        try:
            return super().run(work, transaction)
        except DatabaseUnavailable as error:
            if self._asks_for_rows or number_of(error.__cause__) != STATEMENT_LOG:
                raise
        self._asks_for_rows = True
        return super().run(work, transaction)

    def prepared_insert(self, statement: str) -> Optional[PreparedInsert]:
        """Only where no TLS is wanted: on this machine, by its socket or its own address."""
        address, socket = self._address, _socket_of(self._address)
        if not socket and address.host != "127.0.0.1":
            return None
        session = self.run(lambda session: cast(_MySqlSession, session).setup)
        account = [address.user, address.password, address.database]
        return PreparedInsert(socket or [address.host, address.port], account, session, statement)

    def describe(self) -> ServerDescription:
        """SELECT VERSION(), because MariaDB's handshake calls itself 5.5.5."""
        version = str(self.run(lambda session: session.rows("SELECT VERSION()"))[0][0])
        product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        method = "SKIP LOCKED" if self.claims_in_transaction() else "conditional UPDATE"
        return ServerDescription(product, version.split("-")[0], method)

    @contextmanager
    def schema_lock(self, session: Session, table: str) -> Iterator[None]:
        """As one_at_a_time: each step may be done by another process first, and is then found done."""
        assert isinstance(session, _MySqlSession)
        with session.patient(), self._named_lock(session, f"scalable:{table}", SCHEMA_LOCK_SECONDS):
            yield

    def one_at_a_time(self, session: Session, work: str) -> AbstractContextManager[None]:
        """By a lock of the whole server, where there is one. On Galera it is the node's own; two nodes do without."""
        return self._named_lock(session, f"{self._address.database}: {work}", WORK_LOCK_SECONDS)

    @contextmanager
    def _named_lock(self, session: Session, name: str, seconds: int) -> Iterator[None]:
        """The server's lock of this name; after `seconds` without it. Names have 64 characters at most (manual)."""
        name = name if len(name) <= 64 else sha256(name.encode()).hexdigest()
        try:
            session.rows("SELECT GET_LOCK(:name, :seconds)", name=name, seconds=seconds)
        except pymysql.err.NotSupportedError:
            log.debug(event("lock not supported", lock=name))
        try:
            yield
        finally:
            session.rows("SELECT RELEASE_LOCK(:name)", name=name)

    def add_statements(self, table: str, columns: dict[str, str], indexes: dict[str, str]) -> list[str]:
        """All in one ALTER TABLE, because each may copy the table on an old server."""
        parts = [f"ADD COLUMN {name} {text}" for name, text in columns.items()]
        parts += [f"ADD {text}" for text in indexes.values()]
        return [f"ALTER TABLE `{table}` " + ", ".join(parts)] if parts else []

    def widen_statements(self, session: Session, table: str) -> list[str]:
        """The PHP version's status cannot be 'expired', and its texts may be in a character set without emoji.

        A value added at the end of the status copies no row; a change of a character set copies all of them.
        """
        parts = []
        types = _described(session, "COLUMN_TYPE", "COLUMNS", table, "AND COLUMN_NAME = 'status'")
        if types and "expired" not in types[0]:
            parts.append(f"MODIFY COLUMN status {STATUS_TYPE}")
        narrow = f"AND COLUMN_NAME IN {_TEXT_COLUMNS} AND CHARACTER_SET_NAME NOT IN ('utf8mb4', 'binary')"
        kept = "IF(IS_NULLABLE = 'YES', '', ' NOT NULL')"
        changed = f"CONCAT(COLUMN_NAME, ' ', COLUMN_TYPE, ' {EVERY_CHARACTER}', {kept})"
        parts += [f"MODIFY COLUMN {column}" for column in _described(session, changed, "COLUMNS", table, narrow)]
        return [f"ALTER TABLE `{table}` " + ", ".join(parts)] if parts else []

    def index_name(self, table: str, index: str) -> str:
        """Index names belong to their table in MySQL."""
        return index

    def existing_columns(self, session: Session, table: str) -> list[str]:
        """From information_schema."""
        return _described(session, "COLUMN_NAME", "COLUMNS", table)

    def existing_indexes(self, session: Session, table: str) -> list[str]:
        """From information_schema."""
        return _described(session, "DISTINCT INDEX_NAME", "STATISTICS", table)

    def connection_limits(self, session: Session) -> Optional[tuple[int, int, int]]:
        """From the server's variables; that of the session is this user's own limit, where it has one."""
        open_now = session.rows("SHOW STATUS LIKE 'Threads_connected'")
        [limits] = session.rows("SELECT @@max_connections, @@SESSION.max_user_connections")
        return int(open_now[0][1]), int(limits[0]), int(limits[1])

    def cluster_node(self, session: Session) -> Optional[tuple[str, int, str]]:
        """Of a Galera cluster, as its node sees it."""
        if not _is_galera(session):
            return None
        said = dict(session.rows("SHOW STATUS LIKE 'wsrep_%'"))
        [(_, name)] = session.rows("SHOW VARIABLES LIKE 'wsrep_node_name'")
        return str(name), int(said["wsrep_cluster_size"]), str(said["wsrep_local_state_comment"])

    def writing_problem(self, session: Session) -> Optional[str]:
        """A binary log of statements, where this user may not ask for another."""
        assert isinstance(session, _MySqlSession)
        [(is_kept, form)] = session.rows("SELECT @@log_bin, @@binlog_format")
        return BINARY_LOG_OF_STATEMENTS if is_kept and form == "STATEMENT" and not session.asks_for_rows() else None

    def rights(self, session: Session) -> tuple[str, list[str]]:
        """As the server writes them."""
        return self._address.database, [str(row[0]) for row in session.rows("SHOW GRANTS")]

    def _connect(self) -> Session:
        session = _MySqlSession(self._address)
        if self._asks_for_rows:
            session.asks_for_rows()
        return session

    def _meaning(self, error: Exception) -> Meaning:
        return meaning_of(error)

    def _explained(self, error: Exception, meaning: Meaning) -> Exception:
        if number_of(error) == STATEMENT_LOG:
            return DatabaseUnavailable(f"{self.place}: {BINARY_LOG_OF_STATEMENTS}")
        if number_of(error) == NOT_PREPARED:
            return NodeWithoutCluster(f"{self.place}: {error}")
        return super()._explained(error, meaning)


def _described(session: Session, column: str, view: str, table: str, condition: str = "") -> list[str]:
    query = f"SELECT {column} FROM information_schema.{view} WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = :name"
    return [str(row[0]) for row in session.rows(f"{query} {condition} LIMIT 1000", name=table)]


def _is_galera(session: Session) -> bool:
    wsrep = session.rows("SHOW VARIABLES LIKE 'wsrep_on'")
    return bool(wsrep) and wsrep[0][1] == "ON"


def _has_skip_locked(session: Session) -> bool:
    if _is_galera(session):
        return False
    try:
        session.rows("SELECT 1 FROM (SELECT 1 AS one) AS probe FOR UPDATE SKIP LOCKED")
    except pymysql.err.ProgrammingError:  # 1064: this server has no SKIP LOCKED
        return False
    return True


class _MySqlSession(Session):
    duplicate_error = pymysql.err.IntegrityError

    def __init__(self, address: MySqlAddress) -> None:
        self._connection = _connect(address)
        self._cursor = self._connection.cursor()
        self.setup = [*SESSION]
        if _rounds_times(self._connection.get_server_info()):  # type: ignore[no-untyped-call]
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
        return self._run(with_ids(_for_pymysql(sql), parameters), parameters)

    def insert(self, sql: str, **parameters: Any) -> int:
        self._run(_for_pymysql(sql), parameters)
        return int(self._cursor.lastrowid or 0)

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        self._run(with_ids(_for_pymysql(sql), parameters), parameters)
        return list(self._cursor.fetchall())

    def _run(self, sql: str, parameters: dict[str, Any]) -> int:
        """Text that a column cannot hold is stored in ASCII: JSON means the same then, and a person can read it."""
        try:
            return int(self._cursor.execute(sql, parameters or None))
        except pymysql.err.MySQLError as error:
            in_ascii = {name: _escaped(value) for name, value in parameters.items()}
            if error.args[0] not in TEXT_TOO_WIDE or in_ascii == parameters:
                raise
            return int(self._cursor.execute(sql, in_ascii))

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
        try:
            self._connection.close()
        except pymysql.err.Error as error:
            log.debug(event("connection was closed already", cause=error))


def _rounds_times(server_info: str) -> bool:
    """MySQL rounds 0.5 s up into the whole seconds of a table of the PHP version, so that `now` would be in the future;
    from 8.0.1 on it can be told not to. MariaDB cuts them off by itself."""
    version = re.match(r"(\d+)\.(\d+)\.(\d+)", server_info)
    return "MariaDB" not in server_info and version is not None and tuple(map(int, version.groups())) >= (8, 0, 1)


def _escaped(value: Any) -> Any:
    """A text with JSON's escapes in place of all but ASCII, which in a JSON text stand for the same; others as is."""
    if not isinstance(value, str) or value.isascii():
        return value
    return re.sub(r"[^\x00-\x7f]", lambda character: json.dumps(character[0])[1:-1], value)


@lru_cache(maxsize=256)
def _for_pymysql(sql: str) -> str:
    return re.sub(r":([a-z_][a-z_0-9]*)", r"%(\1)s", sql)


# Ways to log in that would give the password, or all that is needed to find it, to whoever listens or asks.
_NEVER_ANSWERED = ("mysql_clear_password", "dialog", "mysql_old_password")


class _Refuses:
    """Answers a server that asks for one of them."""

    def __init__(self, _: object) -> None:
        pass

    def authenticate(self, _: object) -> None:
        raise pymysql.err.OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, "the server asks for the password itself")


def _connect(address: MySqlAddress) -> pymysql.connections.Connection[Any]:
    place: dict[str, Any] = {"host": address.host, "port": address.port}
    socket = _socket_of(address)
    if socket:
        place = {"unix_socket": socket, "ssl_disabled": True}
    try:
        return pymysql.connect(
            **place,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            conv=_CONVERSIONS,
            init_command=SESSION[0],
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            write_timeout=WRITE_SECONDS,
            auth_plugin_map=dict.fromkeys(_NEVER_ANSWERED, _Refuses),
        )
    except (pymysql.err.Error, OSError, RuntimeError) as error:  # the last: a plugin needs a package that is not there
        raise DatabaseUnavailable(f"{address}: {advice(error)}") from error


def _socket_of(address: MySqlAddress) -> Optional[str]:
    return address.socket if address.socket != "" else next(filter(os.path.exists, SOCKET_PLACES), None)
