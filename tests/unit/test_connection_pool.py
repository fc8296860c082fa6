"""ConnectionPool: how many connections a process has, whatever its threads do."""

from __future__ import annotations

import threading

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.dialects import connection_pool as module
from scalable.lib.queue.dialects.connection_pool import ConnectionPool
from tests.support.waiting import eventually


class Line:
    """A connection that knows whether it is open."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


class Exchange:
    """Connects, and counts."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.is_down = False

    def connect(self) -> Line:
        if self.is_down:
            raise DatabaseUnavailable("nobody answers")
        self.lines.append(Line())
        return self.lines[-1]

    def open(self) -> int:
        return sum(line.is_open for line in self.lines)


def test_ten_threads_that_take_turns_at_two_connections_all_get_one():
    exchange = Exchange()
    sessions = ConnectionPool(exchange.connect)
    sessions.limit(2)
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            line = sessions.borrow()
            most.append(exchange.open())
            sessions.give_back(line)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(most) == 200
    assert max(most) <= 2


def test_who_needs_one_more_waits_until_one_is_given_back():
    sessions = ConnectionPool(Exchange().connect)
    sessions.limit(1)
    line = sessions.borrow()
    got: list[Line] = []
    waiting = threading.Thread(target=lambda: got.append(sessions.borrow()))
    waiting.start()
    assert got == []

    sessions.give_back(line)

    eventually(lambda: got == [line])
    waiting.join(60)


@pytest.mark.parametrize("ending", ["thrown away", "not connected"])
def test_a_turn_ends_also_when_there_is_no_connection_to_give_back(ending: str):
    exchange = Exchange()
    sessions = ConnectionPool(exchange.connect)
    sessions.limit(1)
    for _ in range(3):
        if ending == "thrown away":
            sessions.throw_away(sessions.borrow())
        else:
            exchange.is_down = True
            with pytest.raises(DatabaseUnavailable, match="nobody answers"):
                sessions.borrow()
    exchange.is_down = False

    assert sessions.borrow().is_open
    assert exchange.open() == 1


def test_whoever_waits_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BORROW_SECONDS", 0.01)
    sessions = ConnectionPool(Exchange().connect)
    sessions.limit(1)
    sessions.borrow()

    with pytest.raises(DatabaseUnavailable, match=r"came free in 0\.01 s"):
        sessions.borrow()


def test_without_a_limit_there_are_as_many_as_are_borrowed():
    exchange = Exchange()
    sessions = ConnectionPool(exchange.connect)

    lines = [sessions.borrow() for _ in range(7)]

    assert exchange.open() == len({id(line) for line in lines}) == 7


def test_what_a_burst_of_threads_opened_is_closed_within_seconds_but_for_the_one_in_use():
    # A web server of eight threads that keeps all eight leaves none to the workers of a host with ten.
    exchange, now = Exchange(), [100.0]
    sessions = ConnectionPool(exchange.connect, clock=lambda: now[0])
    for line in [sessions.borrow() for _ in range(8)]:
        sessions.give_back(line)
    assert exchange.open() == 8

    for _ in range(3):
        now[0] += 1.5
        sessions.give_back(sessions.borrow())

    assert exchange.open() == 1


def test_an_idle_connection_is_lent_without_waiting_and_no_other():
    exchange = Exchange()
    sessions = ConnectionPool(exchange.connect)
    sessions.limit(1)
    assert sessions.borrow_idle() is None  # none was made yet
    line = sessions.borrow()
    assert sessions.borrow_idle() is None  # the only one is in use
    sessions.give_back(line)

    assert sessions.borrow_idle() is line
    sessions.give_back(line)
    assert (sessions.borrow(), exchange.open()) == (line, 1)
