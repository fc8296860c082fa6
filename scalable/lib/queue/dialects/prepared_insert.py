"""Stores one update in a process that starts for it and ends: the usual case, with next to no imports.

Address, session and statement were written to a file by a process that had stored an update with all the checks and the
whole driver. `DatabaseQueue.enqueue` handles the other cases: a duplicate, tables to be made, a server that is away.
For all of them FastPathUnavailable is raised; enqueue the same update then: it is stored once, because it has an
update_id. A test compares the rows of both on every database.
"""

from __future__ import annotations

from scalable.lib.errors import FastPathUnavailable
from scalable.lib.queue.new_row import new_row

# FULL: a power cut must not take back an update that Telegram was told we have.
SQLITE_SESSION = ("PRAGMA synchronous = FULL",)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scalable.lib.telegram.update import Update


class PreparedInsert:
    """The usual case of one queue. Plain values, to be kept in a private file: one of them is a password.

    `address` is the path of a Unix socket, host and port, or with an empty `account` the path of an SQLite file;
    `account` is user, password and database; `session` are the statements that set a connection up; `statement` is
    statements.ENQUEUE in the dialect's words; `server_user` is the number of the user of this machine who
    has to answer at the address.
    """

    __slots__ = ("account", "address", "server_user", "session", "statement")

    def __init__(
        self,
        address: str | list[str | int],
        account: list[str],
        session: list[str],
        statement: str,
        server_user: int = -1,
    ) -> None:
        self.address = address
        self.account = account
        self.session = session
        self.statement = statement
        self.server_user = server_user

    def only_inserts(self) -> bool:
        """Whether its statements are of the kinds that we prepare. Others are never run, whoever wrote them."""
        if not self.statement.lstrip().startswith("INSERT INTO "):
            return False
        if self.account:
            return all(statement.startswith("SET ") for statement in self.session)
        return tuple(self.session) == SQLITE_SESSION

    def store(self, update: Update) -> int:
        """The id of the new job. Raises FastPathUnavailable.

        The row may have been stored even so, when only the answer was lost.
        """
        if self.account:
            from scalable.lib.queue.dialects.minimal_mysql import insert

            return insert(self, new_row(update))
        import sqlite3

        from scalable.lib.queue.dialects.sqlite_file import SqliteFile

        if not SqliteFile(str(self.address)).is_as_seen():
            raise FastPathUnavailable("the file has to be looked at first")
        try:
            connection = sqlite3.connect(str(self.address), isolation_level=None)
            try:
                for statement in self.session:
                    connection.execute(statement)
                return connection.execute(self.statement, new_row(update)).lastrowid or 0
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise FastPathUnavailable(error) from error
