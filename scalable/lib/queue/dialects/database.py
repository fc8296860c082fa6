"""What both databases have in common: units of work on a borrowed connection, repeated as a whole on conflict.

Has no verbs of the queue and no SQL of its own; a dialect defines how to connect and what its driver's errors mean.
"""

from __future__ import annotations

import logging
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from enum import Enum
from typing import Any, Optional, TypeVar

from scalable.lib.errors import (
    DatabaseBusy,
    DatabaseUnavailable,
    DuplicateKey,
    FastPathUnavailable,
    SchemaMissing,
    StatementRefused,
)
from scalable.lib.logs import event
from scalable.lib.queue.dialects.connection_pool import ConnectionPool
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.queue.dialects.sent_statement import SentStatement
from scalable.lib.queue.dialects.tables import Table
from scalable.lib.queue.job import ServerDescription

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_CONFLICTS = 8
# One that waits for a lock waits some seconds each time: who asked must hear of it before it is too late for others.
LONGEST_CONFLICTS_SECONDS = 10.0
# Once: an idle connection the server closed is replaced; when the server is down, the caller has to wait.
MAX_LOSSES = 1


class Meaning(Enum):
    """What a driver's error means for the unit of work it interrupted."""

    CONFLICT = "another transaction was in the way; repeat the whole of it"
    CONNECTION_LOST = "the connection is gone; connect again and repeat"
    UNAVAILABLE = "the server cannot work now"
    SCHEMA_MISSING = "a table or column is not there"
    DUPLICATE = "a unique value is there already"
    DEFECT = "the statement itself is wrong"

    @property
    def worth_repeating(self) -> bool:
        """Whether the same work may succeed at once."""
        return self in (Meaning.CONFLICT, Meaning.CONNECTION_LOST)

    @property
    def ends_the_connection(self) -> bool:
        """Whether the connection is not to be used again."""
        return self in (Meaning.CONNECTION_LOST, Meaning.UNAVAILABLE)


class Session(ABC):
    """One open connection, as a unit of work sees it. Parameters are named: `:name` in the SQL.

    `{ids}` stands for a list of the whole numbers in parameter `ids`, sorted, so that two never lock them crosswise.
    """

    duplicate_error: type[Exception]

    @abstractmethod
    def execute(self, sql: str, **parameters: Any) -> int:
        """Run one statement; the number of rows it matched."""

    def execute_unless_duplicate(self, sql: str, **parameters: Any) -> Optional[int]:
        """The same; None when a unique value is there already: then it changed nothing, and the transaction goes on."""
        try:
            return self.execute(sql, **parameters)
        except self.duplicate_error:
            return None

    def upsert(self, update: str, insert: str, **parameters: Any) -> None:
        """Run `update`; where it matches no row, `insert`. One statement when there is a row. Safe to repeat.

        Again, when between the two another process added the row, or took it away.
        """
        if self.execute(update, **parameters) or self.execute_unless_duplicate(insert, **parameters):
            return
        if not self.execute(update, **parameters):
            self.execute(insert, **parameters)

    @abstractmethod
    def insert(self, sql: str, **parameters: Any) -> int:
        """Run one INSERT; the new row's id."""

    @abstractmethod
    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one query; all its rows."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; never raises."""


def with_ids(sql: str, parameters: dict[str, Any]) -> str:
    """`sql` with the ids of the parameters in it; they are numbers of ours, never text from outside."""
    if "ids" not in parameters:
        return sql
    return sql.replace("{ids}", ", ".join(str(int(job_id)) for job_id in sorted(parameters.pop("ids"))))


class Database(ABC):
    """A dialect: connects, translates SQL, explains errors. Safe to share between threads; survives a fork."""

    driver_errors: tuple[type[Exception], ...]
    begin_sql: str
    explain_sql: str
    # The words of statements.py in this dialect's own; {0} and {1} are what follows the colons of a word.
    words: Mapping[str, str]
    tables: tuple[Table, ...]
    ddl_in_transaction: bool
    # Whether `send` is ever possible.
    can_send = False

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random
    ) -> None:
        self._connections = ConnectionPool(self._connect)
        self._sleep = sleep
        self._chance = chance

    @property
    @abstractmethod
    def identity(self) -> str:
        """One line that is the same for every process of this installation that uses the same database."""

    @property
    def place(self) -> str:
        """The same in words for a person."""
        return self.identity

    def render(self, sql: str, table: str = "") -> str:
        """`sql` with {jobs}, {now} and the other words of statements.py in this dialect's own."""
        words = {**self.words, "jobs": table, "lock": self.lock_clause, "returning": self.returning_clause}

        def rendered(word: re.Match[str]) -> str:
            name, *arguments = word[1].split(":")
            return words[name].format(*arguments, table=table) if name in words else word[0]

        return re.sub(r"{([a-z_]+(?::[\w`]+)*)}", rendered, sql)

    @property
    def lock_clause(self) -> str:
        """How a claim locks its candidates, at the end of the query; empty where it does not."""
        return ""

    @property
    def returning_clause(self) -> str:
        """How an INSERT returns update_id and id of its rows, at its end; empty where it cannot."""
        return ""

    @property
    @abstractmethod
    def candidates_per_job(self) -> int:
        """How many rows a claim reads for each job it wants."""

    @abstractmethod
    def claims_in_transaction(self) -> bool:
        """Whether claim holds its candidates locked until it commits."""

    @abstractmethod
    def prepared_insert(self, statement: str) -> Optional[PreparedInsert]:
        """How prepared_insert.py runs the rendered `statement` on this database; None when it cannot."""

    @abstractmethod
    def describe(self) -> ServerDescription:
        """Product and version of the server, read now."""

    @abstractmethod
    def schema_lock(self, session: Session, table: str) -> AbstractContextManager[None]:
        """Held while the schema is changed: processes that start together wait for each other where possible."""

    def one_at_a_time(self, session: Session, work: str, waits: bool = True) -> AbstractContextManager[bool]:
        """Held during work of this name: processes do it one after the other where possible. It is no guarantee.

        False when another process is at it, and, with `waits`, still is after some seconds. SQLite has one writer at a
        time anyway.
        """
        return nullcontext(True)

    @abstractmethod
    def add_statements(self, table: str, columns: dict[str, str], indexes: dict[str, str]) -> list[str]:
        """The fewest statements that add these columns and indexes."""

    def widen_statements(self, session: Session, table: str) -> list[str]:
        """The statements that let the table's columns hold the values of this version."""
        return []

    @abstractmethod
    def index_name(self, table: str, index: str) -> str:
        """The index's name in the database, where it may have to be unique beyond its table."""

    @abstractmethod
    def existing_columns(self, session: Session, table: str) -> list[str]:
        """Names of the table's columns; empty when there is no such table."""

    @abstractmethod
    def existing_indexes(self, session: Session, table: str) -> list[str]:
        """Names of the table's indexes."""

    def connection_limits(self, session: Session) -> Optional[tuple[int, int, int]]:
        """Open connections, the most of all users, the most of this one (0: no limit); None where there is no limit."""
        return None

    def cluster_node(self, session: Session) -> Optional[tuple[str, int, str]]:
        """Name of the server among its cluster's, how many these are, and its state; None where there is no cluster."""
        return None

    def writing_problem(self, session: Session) -> Optional[str]:
        """Why this user can store nothing, with the remedy, in one line; None when it can, as far as is known."""
        return None

    def rights(self, session: Session) -> tuple[str, list[str]]:
        """The database's name, and a GRANT statement for each right of this user; none where there are no users."""
        return "", []

    @abstractmethod
    def _connect(self) -> Session: ...

    @abstractmethod
    def _meaning(self, error: Exception) -> Meaning: ...

    def run(self, work: Callable[[Session], Result], transaction: bool = False) -> Result:
        """The result of `work(session)`; everything in it is repeated when the database asks for that.

        Without `transaction` every statement commits by itself, so `work` must hold just one that changes something,
        or be safe to repeat. Raises DatabaseUnavailable, SchemaMissing or DuplicateKey.
        """
        conflicts = losses = 0
        started = time.monotonic()
        while True:
            try:
                return self._once(work, transaction)
            except self.driver_errors as error:
                meaning = self._meaning(error)
                conflicts += meaning is Meaning.CONFLICT
                losses += meaning is Meaning.CONNECTION_LOST
                is_late = conflicts > 0 and time.monotonic() - started > LONGEST_CONFLICTS_SECONDS
                if conflicts > MAX_CONFLICTS or losses > MAX_LOSSES or is_late or not meaning.worth_repeating:
                    raise self._explained(error, meaning) from error
                log.debug(event("database work repeated", cause=error, conflicts=conflicts, losses=losses))
                self._sleep(self._chance() * min(0.005 * 2**conflicts, 0.5))

    def send(self, sql: str, **parameters: Any) -> SentStatement:
        """One statement, sent on an idle connection without waiting for its answer.

        Raises FastPathUnavailable where that is not possible now, or not at all.
        """
        raise FastPathUnavailable(f"{self.place}: every statement is waited for")

    def _once(self, work: Callable[[Session], Result], transaction: bool) -> Result:
        session = self._connections.borrow()
        usable = False
        try:
            if transaction:
                session.execute(self.begin_sql)
            result = work(session)
            if transaction:
                session.execute("COMMIT")
            usable = True
            return result
        except Exception as error:
            usable = self._usable_after(error, session, transaction)
            raise
        finally:
            if usable:
                self._connections.give_back(session)
            else:
                self._connections.throw_away(session)

    def _failed(self, session: Session, error: Exception) -> Exception:
        """What to raise for the error of a statement that was sent; its connection is not in use any more."""
        if self._usable_after(error, session, transaction=False):
            self._connections.give_back(session)
        else:
            self._connections.throw_away(session)
        meaning = self._meaning(error)
        return FastPathUnavailable(error) if meaning.worth_repeating else self._explained(error, meaning)

    def _usable_after(self, error: Exception, session: Session, transaction: bool) -> bool:
        """Whether the connection can go on being used; when it is lost, the idle ones are probably lost, too."""
        if isinstance(error, self.driver_errors) and self._meaning(error).ends_the_connection:
            self._connections.close_idle()
            return False
        if transaction:
            try:
                session.execute("ROLLBACK")
            except self.driver_errors:
                return False
        return True

    def _explained(self, error: Exception, meaning: Meaning) -> Exception:
        if meaning is Meaning.SCHEMA_MISSING:
            return SchemaMissing(f"{self.place}: {error}")
        if meaning is Meaning.DUPLICATE:
            return DuplicateKey(str(error))
        kind = {Meaning.DEFECT: StatementRefused, Meaning.CONFLICT: DatabaseBusy}.get(meaning, DatabaseUnavailable)
        return kind(f"{self.place}: {error}")

    @contextmanager
    def transaction(self, session: Session) -> Iterator[None]:
        """A transaction in the middle of work that is not one as a whole."""
        session.execute(self.begin_sql)
        try:
            yield
        except BaseException:
            with suppress(*self.driver_errors):  # the connection is gone then, and the transaction with it
                session.execute("ROLLBACK")
            raise
        session.execute("COMMIT")

    def limit_connections(self, most: int) -> None:
        """Use at most `most` at once in this process, whatever its threads do; see ConnectionPool.limit."""
        self._connections.limit(most)

    def close(self) -> None:
        """Close the connections that are not in use now; the next use opens a new one."""
        self._connections.close_idle()
