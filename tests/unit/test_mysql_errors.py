"""What the server's errors mean: an outage is waited for, a conflict is repeated, anything else is the statement's."""

from __future__ import annotations

import pymysql
import pytest

from scalable.lib.errors import DatabaseBusy, DatabaseUnavailable, NodeWithoutCluster, StatementRefused
from scalable.lib.queue.dialects import database
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.database import Meaning, Session
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from scalable.lib.queue.dialects.mysql_session import LOCK_WAIT_SECONDS
from tests.support.fakes.clock import FakeClock


class OneSession(Session):
    """A connection that a test puts in place of the real one."""

    duplicate_error = pymysql.err.IntegrityError

    def execute(self, _: str, **__: object) -> int:
        return 0

    def insert(self, _: str, **__: object) -> int:
        return 0

    def rows(self, _: str, **__: object) -> list[tuple[object, ...]]:
        return []

    def close(self) -> None:
        pass


class Connected(MySqlDatabase):
    """The dialect, without a server."""

    def __init__(self) -> None:
        super().__init__(MySqlAddress("localhost", 3306, "/no.sock", "bot", "bot", "hush"))
        self._sleep = lambda _: None

    def _connect(self) -> Session:
        return OneSession()


def kind_of(error: Exception) -> type[Exception]:
    def work(session: Session) -> None:
        raise error

    with pytest.raises(Exception, match=r"MySQL database 'bot' at /no\.sock: ") as caught:
        Connected().run(work)
    return caught.type


@pytest.mark.parametrize("number", [1271, 3854, 1366, 1406, 1064, 1292, 1690, 1054 + 9000, 4078, 3140])
def test_an_error_that_is_not_known_is_the_statements_and_no_outage(number: int) -> None:
    """F21: 1271, 3854, and others that a server may say."""
    assert kind_of(pymysql.err.OperationalError(number, "it says")) is StatementRefused
    assert kind_of(pymysql.err.InternalError(number, "it says")) is StatementRefused


@pytest.mark.parametrize("number", [1020, 1205, 1213, 1180, 3101, 1412, 1317])
def test_a_conflict_that_does_not_end_is_no_outage(number: int) -> None:
    assert kind_of(pymysql.err.OperationalError(number, "it says")) is DatabaseBusy


@pytest.mark.parametrize("number", [1040, 1045, 1114, 1021, 1226, 1290, 1836, 1969, 2003, 2002])
def test_what_a_server_cannot_do_now_is_waited_for(number: int) -> None:
    assert kind_of(pymysql.err.OperationalError(number, "it says")) is DatabaseUnavailable


def test_what_the_system_says_is_waited_for() -> None:
    assert kind_of(ConnectionResetError(104, "Connection reset by peer")) is DatabaseUnavailable


def test_a_node_without_its_cluster_is_called_that_and_not_a_database_that_is_away() -> None:
    error = pymysql.err.OperationalError(1047, "WSREP has not yet prepared node for application use")

    assert kind_of(error) is NodeWithoutCluster


@pytest.mark.parametrize("number", [1205, 1213, 1020])
def test_conflicts_that_each_take_their_time_are_repeated_for_some_seconds_only(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait for a lock takes LOCK_WAIT_SECONDS; nine of them would keep a renewal, or Telegram, waiting too long."""
    clock, tries = FakeClock(), []
    monkeypatch.setattr(database.time, "monotonic", clock)

    def work(_: Session) -> None:
        tries.append(clock.now)
        clock.advance(LOCK_WAIT_SECONDS)
        raise pymysql.err.OperationalError(number, "it says")

    with pytest.raises(DatabaseBusy):
        Connected().run(work)
    assert len(tries) == 3


@pytest.mark.parametrize("number", [2006, 2013, 1053, 1927, 4031, 1047])
def test_a_connection_that_is_lost_is_replaced(number: int) -> None:
    assert Connected()._meaning(pymysql.err.OperationalError(number, "it says")) is Meaning.CONNECTION_LOST
