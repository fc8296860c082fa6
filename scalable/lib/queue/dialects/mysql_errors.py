"""What the errors of MySQL, MariaDB and PyMySQL mean, and what a person can do about them."""

from __future__ import annotations

from typing import Optional

import pymysql
from pymysql.constants import CR, ER

from scalable.lib.queue.dialects.database import Meaning

# The binary log is one of statements, and the transaction one that cannot be written into it as such.
STATEMENT_LOG = 1665
BINARY_LOG_OF_STATEMENTS = (
    "its binary log is one of statements, which cannot hold the queue's; ask your host for binlog_format = ROW or "
    "MIXED, or leave BOT_DB_NAME empty to use the embedded SQLite file"
)
# A Galera node that lost its cluster, or is not ready yet.
NOT_PREPARED = 1047
# A column in an old character set (utf8mb3, latin1) cannot hold this text, or cannot be compared with it.
TEXT_TOO_WIDE = (1267, 1270, 1271, 1366, 3854, 3988)
_MEANINGS = {
    code: meaning
    for meaning, codes in {
        # Client error numbers of the MySQL manual (CR_*), and those of the server's that mean the connection is over.
        # One to a Galera node without its cluster lives, but through a load balancer a new one leads to a node that
        # works.
        Meaning.CONNECTION_LOST: (2006, 2013, 2014, 2055, 4031, ER.SERVER_SHUTDOWN, NOT_PREPARED, 1927, 3169),
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
            *(1099, 1100, 1192, 1223, 1290, 1792, 1836, 1874, 1969, 3024, 3098, 3100, 3572),
            *(ER.TOO_BIG_SELECT, STATEMENT_LOG),
            # what came over the wire was not whole
            *(1152, 1153, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1835),
        ),
    }.items()
    for code in codes
}


def meaning_of(error: Exception) -> Meaning:
    """What the driver's error means for the unit of work it interrupted."""
    code = number_of(error)
    if isinstance(error, pymysql.err.InterfaceError):
        return Meaning.CONNECTION_LOST
    if code in _MEANINGS:
        return _MEANINGS[code]
    # Errors of the client itself have numbers from 2000 to 2999, those of the system no number of a server at all.
    is_the_servers = isinstance(error, pymysql.err.MySQLError) and (1000 <= code < 2000 or code >= 3000)
    return Meaning.DEFECT if is_the_servers else Meaning.UNAVAILABLE


def number_of(error: Optional[BaseException]) -> int:
    """The error's number; 0 for one that has none."""
    number = error.args[0] if error is not None and error.args else 0
    return number if isinstance(number, int) else 0


_KNOWN_PLUGINS = (
    "let the user's plugin be mysql_native_password or caching_sha2_password, or make another user for the queue in "
    "your host's panel; over the network caching_sha2_password needs TLS"
)


def advice(error: Exception) -> str:
    """What it says, and what to do, in one line."""
    code = number_of(error)
    if isinstance(error, RuntimeError) or code == CR.CR_AUTH_PLUGIN_CANNOT_LOAD:
        return f"this user logs in in a way that is not known here ({error.args[-1]}); {_KNOWN_PLUGINS}"
    remedy = {
        ER.ACCESS_DENIED_ERROR: "check BOT_DB_USER and BOT_DB_PASS",
        1698: "check BOT_DB_USER and BOT_DB_PASS",  # the same, for a user that has no password
        ER.DBACCESS_DENIED_ERROR: "give this user rights on the database in your host's panel",
        ER.BAD_DB_ERROR: "check BOT_DB_NAME, or create the database in your host's panel",
        ER.CON_COUNT_ERROR: "the server has too many connections",
        ER.TOO_MANY_USER_CONNECTIONS: "this user has too many connections; lower BOT_WORKER_POOL_SIZE",
        ER.USER_LIMIT_REACHED: "this user has reached a limit of the host; lower BOT_WORKER_POOL_SIZE",
    }.get(code, "check BOT_DB_HOST, and that the server runs" if code in (2002, 2003) else None)
    return f"{error.args[-1] if error.args else error}" + (f"; {remedy}" if remedy else "")
