"""MySQL and MariaDB through PyMySQL: connecting, the dialect's words, and what the server's errors mean."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Optional, cast

import pymysql
from pymysql.constants import CLIENT, ER, FIELD_TYPE
from pymysql.converters import conversions

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.logs import event
from scalable.lib.queue.dialects.address import SOCKET_PLACES, MySqlAddress
from scalable.lib.queue.dialects.database import Database, Meaning, Session, with_ids
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.dialects.tables import EVERY_CHARACTER, MYSQL_TABLES, STATUS_TYPE
from scalable.lib.queue.history import MAX_HISTORY_CHARACTERS
from scalable.lib.queue.job import ServerDescription

log = logging.getLogger(__name__)
# Together well under the 60 s after which Telegram stops waiting for the webhook.
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS, LOCK_WAIT_SECONDS = 5, 10, 10, 5
# Measured: 40 s for two million jobs.
SCHEMA_SECONDS = 3600
# Without SKIP LOCKED the claimers race for the same rows: offering each a few to choose from keeps most tries useful.
CANDIDATES_WITHOUT_LOCKS = 8

SQL_MODE = "STRICT_ALL_TABLES"
# Times stay the text they come as: PyMySQL takes them apart several times as slowly as datetime.fromisoformat.
_TIMES = (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
_CONVERSIONS = {kind: how for kind, how in conversions.items() if kind not in _TIMES}
# What history.py reads, up to its last part.
_ENDED = "COALESCE(history, ''), COALESCE(reserved_at, NOW(3)), '|', NOW(3), '|', attempts, '|'"
# A column in an old character set (utf8mb3, latin1) cannot hold this text, or cannot be compared with it.
_TEXT_TOO_WIDE = (1267, 1270, 1271, 1366, 3854, 3988)
# Columns that get text from outside.
_TEXT_COLUMNS = "('payload', 'error_message', 'history', 'reserved_by')"
# NOW() is UTC because every session sets its time zone.
_WORDS = {
    "now": "NOW(3)",
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
    f"SET time_zone = '+00:00', sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
# On a Galera node a statement of any kind first waits until the node has what was committed at any other before: ids
# follow each other in the order of arrival, and a lease is known at whichever node its owner speaks to. MariaDB without
# Galera ignores it, MySQL does not know it. Measured with three nodes: 0.1 to 0.6 ms for a statement.
SEES_ALL_NODES = "SET SESSION wsrep_sync_wait = 7"
KEEPS_TIMES = f"SET SESSION sql_mode = '{SQL_MODE},TIME_TRUNCATE_FRACTIONAL'"

_MEANINGS = {
    code: meaning
    for meaning, codes in {
        # Client error numbers of the MySQL manual (CR_*), and those of the server's that mean the connection is over.
        # One to a Galera node that lost its cluster (1047) lives, but through a load balancer a new one leads to a node
        # that works.
        Meaning.CONNECTION_LOST: (2006, 2013, 2014, 2055, 4031, ER.SERVER_SHUTDOWN, 1047, 1927, 3169),
        # 1213 deadlock, on Galera also at COMMIT, 1205 lock wait, 1020 record changed since last read, 1180 commit
        # failed, 3101 the same in a group, 1317 interrupted, 1412 and 1615 the table was changed meanwhile. 1050, 1060,
        # 1061: another process made the table, column or index first; repeated, it is found.
        Meaning.CONFLICT: (
            *(ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, ER.CHECKREAD, ER.ERROR_DURING_COMMIT, 3101),
            *(ER.QUERY_INTERRUPTED, ER.TABLE_DEF_CHANGED, 1615),
            *(ER.TABLE_EXISTS_ERROR, ER.DUP_FIELDNAME, ER.DUP_KEYNAME),
        ),
        Meaning.SCHEMA_MISSING: (ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.KEY_DOES_NOT_EXITS),
        Meaning.DUPLICATE: (ER.DUP_ENTRY,),
        # Whatever is not listed is a defect of the one statement, and no reason to wait.
        Meaning.UNAVAILABLE: (
            # this user, or the whole server, has no more connections, threads, memory or other resources
            *(1040, 1203, 1226, 1037, 1038, 1041, 1135, 1206, 1637, 3170),
            # this user is not let in, or may not do that: wrong, locked, expired, blocked, or without the right
            *(1044, 1045, 1049, 1129, 1130, 1142, 1143, 1227, 1370, 1524, 1698, 1820, 1862, 3118, 3159, 4151),
            # files and disk: not readable, full, damaged, missing
            *(1003, 1004, 1009, 1010, 1016, 1017, 1021, 1023, 1024, 1026, 1030, 1033, 1034, 1035, 1036, 1114),
            *(1194, 1195, 1197, 1812, 1813, 1814, 1815, 1877, 1932, 3185),
            # it is told not to write, or not for so long: read-only, LOCK TABLES, limits of the host
            *(1099, 1100, 1192, 1223, 1290, 1792, 1836, 1874, 1969, 3024, 3100, 3572, ER.TOO_BIG_SELECT, 1665, 3098),
            # what came over the wire was not whole
            *(1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1835),
        ),
    }.items()
    for code in codes
}


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
        """A server-wide lock by name, where the server has one. On Galera it is the node's own; two nodes do without.

        Not getting it is no error: every step may be lost to another process, and is then found done.
        """
        name = f"scalable:{table}"[:64]
        assert isinstance(session, _MySqlSession)
        with session.patient():
            try:
                session.rows("SELECT GET_LOCK(:name, 60)", name=name)
            except pymysql.err.NotSupportedError:
                log.debug(event("schema lock not supported", table=table))
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

    def rights(self, session: Session) -> tuple[str, list[str]]:
        """As the server writes them."""
        return self._address.database, [str(row[0]) for row in session.rows("SHOW GRANTS")]

    def _connect(self) -> Session:
        return _MySqlSession(self._address)

    def _meaning(self, error: Exception) -> Meaning:
        code = error.args[0] if error.args else 0
        if isinstance(error, pymysql.err.InterfaceError):
            return Meaning.CONNECTION_LOST
        if code in _MEANINGS:
            return _MEANINGS[code]
        # Errors of the client itself have numbers from 2000 to 2999, those of the system no number of a server at all.
        is_the_servers = isinstance(error, pymysql.err.MySQLError) and isinstance(code, int) and code >= 1000
        return Meaning.DEFECT if is_the_servers and not 2000 <= code < 3000 else Meaning.UNAVAILABLE


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
    except pymysql.err.ProgrammingError:  # 1064: the parser does not know the words
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
        if self._is_known(SEES_ALL_NODES):
            self.setup.append(SEES_ALL_NODES)

    def _is_known(self, setting: str) -> bool:
        try:
            self._cursor.execute(setting)
        except pymysql.err.OperationalError as error:
            if error.args[0] != ER.UNKNOWN_SYSTEM_VARIABLE:
                raise
            return False
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
            if error.args[0] not in _TEXT_TOO_WIDE or in_ascii == parameters:
                raise
            return int(self._cursor.execute(sql, in_ascii))

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Wait long for each answer: to add a column the server may have to write a large table anew."""
        connection: Any = self._connection
        usual, connection._read_timeout = connection._read_timeout, SCHEMA_SECONDS
        try:
            yield
        finally:
            connection._read_timeout = usual

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
        )
    except (pymysql.err.Error, OSError) as error:
        raise DatabaseUnavailable(f"{address}: {_advice(error)}") from error


def _socket_of(address: MySqlAddress) -> Optional[str]:
    return address.socket if address.socket != "" else next(filter(os.path.exists, SOCKET_PLACES), None)


def _advice(error: Exception) -> str:
    code = error.args[0] if error.args else 0
    remedy = {
        ER.ACCESS_DENIED_ERROR: "check BOT_DB_USER and BOT_DB_PASS",
        ER.DBACCESS_DENIED_ERROR: "give this user rights on the database in your host's panel",
        ER.BAD_DB_ERROR: "check BOT_DB_NAME, or create the database in your host's panel",
        ER.CON_COUNT_ERROR: "the server has too many connections",
        ER.TOO_MANY_USER_CONNECTIONS: "this user has too many connections; lower BOT_WORKER_POOL_SIZE",
        ER.USER_LIMIT_REACHED: "this user has reached a limit of the host; lower BOT_WORKER_POOL_SIZE",
    }.get(code, "check BOT_DB_HOST, and that the server runs" if code in (2002, 2003) else None)
    return f"{error.args[-1] if error.args else error}" + (f"; {remedy}" if remedy else "")
