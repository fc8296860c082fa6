"""MySQL and MariaDB through PyMySQL: connecting, the dialect's words, and what the server's errors mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from hashlib import sha256
from typing import Any, Optional, cast

import pymysql

from scalable.lib.errors import DatabaseUnavailable, FastPathUnavailable, NodeWithoutCluster
from scalable.lib.logs import event
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Database, Meaning, Result, Session
from scalable.lib.queue.dialects.mysql_errors import (
    BINARY_LOG_OF_STATEMENTS,
    NOT_PREPARED,
    STATEMENT_LOG,
    meaning_of,
    number_of,
)
from scalable.lib.queue.dialects.mysql_login import READ_SECONDS
from scalable.lib.queue.dialects.mysql_session import MySqlSession
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.dialects.server_trust import socket_of
from scalable.lib.queue.dialects.tables import EVERY_CHARACTER, MYSQL_TABLES, STATUS_TYPE
from scalable.lib.queue.history import MAX_HISTORY_CHARACTERS
from scalable.lib.queue.job import ServerDescription

log = logging.getLogger(__name__)
SCHEMA_LOCK_SECONDS = 60
# For work of milliseconds, that may also be done by two at once. Less than READ_SECONDS.
WORK_LOCK_SECONDS = 5
# Without SKIP LOCKED the claimers race for the same rows: offering each a few to choose from keeps most tries useful.
CANDIDATES_WITHOUT_LOCKS = 8

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
    "indexed_lane": "{0}.open_lane",
    "running": "{0}.running_lane",
    "use": "FORCE INDEX ({0})",
    "by_id": "FORCE INDEX (PRIMARY)",
    "unsorted": "ORDER BY NULL",
    "id_step": "@@auto_increment_increment",
}


class MySqlDatabase(Database):
    """Dialect of MySQL 5.7 and MariaDB 10.3 and newer."""

    driver_errors = (pymysql.err.Error, OSError)
    begin_sql = "START TRANSACTION"
    explain_sql = "EXPLAIN FORMAT = TRADITIONAL"  # MySQL 9 draws a tree otherwise
    tables = MYSQL_TABLES
    words = _WORDS
    ddl_in_transaction = False
    can_send = True

    def __init__(self, address: MySqlAddress) -> None:
        super().__init__()
        self._address = address
        self._skip_locked: Optional[bool] = None
        self._asks_for_rows = False
        self._returns_rows = False

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

    @property
    def returning_clause(self) -> str:
        """As the server said when the first connection was made."""
        return "RETURNING update_id, id" if self._returns_rows else ""

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

    def send(self, sql: str, **parameters: Any) -> SentStatement:
        """As Database.send; possible while a connection is open that nobody uses."""
        session = self._connections.borrow_idle()
        if session is None:
            raise FastPathUnavailable(f"{self.place}: no idle connection")
        assert isinstance(session, MySqlSession)
        try:
            session.send(sql, **parameters)
        except self.driver_errors as error:
            self._connections.throw_away(session)
            raise FastPathUnavailable(error) from error
        return SentStatement(
            session,
            READ_SECONDS,
            self.driver_errors,
            partial(self._connections.give_back, session),
            partial(self._failed, session),
            partial(self._connections.throw_away, session),
        )

    def prepared_insert(self, statement: str) -> Optional[PreparedInsert]:
        """Only where no TLS is wanted: on this machine, by its socket or its own address, from a server that is known
        to be one."""
        address, socket = self._address, socket_of(self._address)
        if not socket and address.host != "127.0.0.1":
            return None
        setup, user = self.run(lambda session: _setup_and_user(cast(MySqlSession, session)))
        account = [address.user, address.password, address.database]
        place: str | list[str | int] = socket or [address.host, address.port]
        return None if user is None else PreparedInsert(place, account, setup, statement, user)

    def describe(self) -> ServerDescription:
        """SELECT VERSION(), because MariaDB's handshake calls itself 5.5.5."""
        version = str(self.run(lambda session: session.rows("SELECT VERSION()"))[0][0])
        product = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        method = "SKIP LOCKED" if self.claims_in_transaction() else "conditional UPDATE"
        return ServerDescription(product, version.split("-")[0], method)

    @contextmanager
    def schema_lock(self, session: Session, table: str) -> Iterator[None]:
        """As one_at_a_time: each step may be done by another process first, and is then found done."""
        assert isinstance(session, MySqlSession)
        with session.patient(), self._named_lock(session, f"scalable:{table}", SCHEMA_LOCK_SECONDS):
            yield

    def one_at_a_time(self, session: Session, work: str, waits: bool = True) -> AbstractContextManager[bool]:
        """By a lock of the whole server, where there is one. On Galera it is the node's own; two nodes do without."""
        return self._named_lock(session, f"{self._address.database}: {work}", WORK_LOCK_SECONDS if waits else 0)

    @contextmanager
    def _named_lock(self, session: Session, name: str, seconds: int) -> Iterator[bool]:
        """The server's lock of this name; after `seconds` without it. Names have 64 characters at most (manual)."""
        name = name if len(name) <= 64 else sha256(name.encode()).hexdigest()
        is_held_by_another = False
        try:
            is_held_by_another = session.rows("SELECT GET_LOCK(:name, :seconds)", name=name, seconds=seconds)[0][0] == 0
        except pymysql.err.NotSupportedError:
            log.debug(event("lock not supported", lock=name))
        try:
            yield not is_held_by_another
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
        [(is_kept, form)] = session.rows("SELECT @@log_bin, @@binlog_format")
        if not is_kept or form != "STATEMENT":
            return None
        assert isinstance(session, MySqlSession)
        return None if session.asks_for_rows() else BINARY_LOG_OF_STATEMENTS

    def rights(self, session: Session) -> tuple[str, list[str]]:
        """As the server writes them."""
        return self._address.database, [str(row[0]) for row in session.rows("SHOW GRANTS")]

    def _connect(self) -> Session:
        session = MySqlSession(self._address)
        self._returns_rows = session.returns_rows
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


def _setup_and_user(session: MySqlSession) -> tuple[list[str], Optional[int]]:
    return session.setup, session.server_user


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
