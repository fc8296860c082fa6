"""Which connections of the pool's server are closed: late ones, and the least useful when there are too many."""

from __future__ import annotations

import itertools
import resource

import pytest

from scalable.lib.pool import connections
from scalable.lib.pool.connections import ConnectionLimits, Connections, usual_limits
from tests.support.fakes.clock import FakeClock

MOST, REQUEST_SECONDS = 40, 20.0


class Connection:
    """As waitress has it, in its own clock, which is not ours."""

    number = itertools.count()

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.addr = (address, next(self.number))
        self.requests: list[object] = []
        self.request: object = None
        self.creation_time = self.last_activity = 1_000.0
        self.is_open = True

    def receives(self, part: object = None) -> None:
        self.last_activity += 0.5
        self.request = part

    def handle_close(self) -> None:
        self.is_open = False


class Server:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.all: list[Connection] = []
        self.limited = Connections(ConnectionLimits(MOST, REQUEST_SECONDS), self.clock)

    def connect(self, count: int = 1, address: str = "127.0.0.1") -> list[Connection]:
        new = [Connection(address) for _ in range(count)]
        self.all += new
        return new

    def round(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.limited.close_what_is_due([[each for each in self.all if each.is_open]])

    def open(self, connections: list[Connection]) -> int:
        return sum(each.is_open for each in connections)


@pytest.fixture
def server() -> Server:
    return Server()


def test_who_sends_nothing_is_late(server: Server) -> None:
    [silent] = server.connect()

    server.round()
    server.round(REQUEST_SECONDS - 1)
    assert silent.is_open
    server.round(2)

    assert not silent.is_open


def test_bytes_that_come_one_by_one_do_not_put_the_end_off(server: Server) -> None:
    [slow], part = server.connect(), object()
    for _ in range(int(REQUEST_SECONDS) + 3):
        slow.receives(part)
        server.round(1)

    assert not slow.is_open


def test_who_begins_a_new_request_each_time_is_not_late(server: Server) -> None:
    [busy] = server.connect()
    for _ in range(100):
        busy.receives(object())
        server.round(1)

    assert busy.is_open


def test_one_that_is_kept_for_the_next_request_is_not_late(server: Server) -> None:
    [kept] = server.connect()
    kept.receives()
    for _ in range(100):
        server.round(1)

    assert kept.is_open


def test_one_whose_request_is_worked_on_is_never_closed(server: Server) -> None:
    [worked_on] = server.connect()
    worked_on.requests = [object()]
    [taken] = server.connect()
    taken.is_taken = True  # type: ignore[attr-defined]
    server.round()
    for _ in range(30):
        server.connect(MOST)
        server.round(1)

    assert worked_on.is_open
    assert taken.is_open


def test_when_there_are_too_many_the_one_that_waits_longest_goes(server: Server) -> None:
    first = server.connect(MOST)
    server.round(1)
    assert server.open(first) == MOST
    [new] = server.connect()

    server.round(0.1)

    assert new.is_open
    assert [each.is_open for each in first] == sorted(each.is_open for each in first)
    assert server.open(server.all) == MOST - MOST // connections.SPARE_PART


def test_of_many_that_come_at_once_the_last_ones_stay(server: Server) -> None:
    """Whose request may not have been read yet."""
    at_once = server.connect(2 * MOST)

    server.round()

    assert [each.is_open for each in at_once] == sorted(each.is_open for each in at_once)


def test_who_was_served_just_now_stays_and_who_holds_on_to_half_a_request_goes(server: Server) -> None:
    halves = server.connect(MOST - 1)
    for each in halves:
        each.receives(object())
    [telegram] = server.connect()
    server.round(1)
    for each in halves:
        each.receives(each.request)  # one more byte
    telegram.receives()
    server.round(1)

    server.connect(10)
    server.round(0.1)

    assert telegram.is_open
    assert server.open(halves) < MOST - 1


def test_when_all_are_worked_on_those_go_that_wait_for_a_thread(server: Server) -> None:
    """Else none could be accepted, and updates need no thread."""
    all_of_them = server.connect(MOST + 3)
    for each in all_of_them:
        each.requests = [object()]

    server.limited.close_what_is_due([all_of_them], lambda: all_of_them[8:])

    assert server.open(all_of_them) == MOST - MOST // connections.SPARE_PART
    assert server.open(all_of_them[:8]) == 8
    assert not all_of_them[8].is_open


@pytest.mark.parametrize("address", ["127.0.0.2", "10.0.0.1", "::1"])
def test_of_several_addresses_the_one_with_the_most_makes_room(server: Server, address: str) -> None:
    """Though the others have waited longer."""
    few = server.connect(5)
    server.round(5)
    many = server.connect(MOST, address)

    server.round(0.1)

    assert server.open(few) == 5
    assert server.open(many) < MOST


def test_connections_of_a_unix_socket_have_no_address(server: Server) -> None:
    for each in server.connect(MOST + 1):
        each.addr = ""  # type: ignore[assignment]

    server.round()

    assert server.open(server.all) <= MOST


def test_what_is_closed_is_told_once_a_minute(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(200):
        server.connect(MOST)
        server.round(0.5)

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].startswith("connections closed late=0 too_many=4")


@pytest.mark.parametrize(("files", "most"), [(64, 50), (1024, 512), (20_000, 1000), (resource.RLIM_INFINITY, 1000)])
def test_half_of_the_descriptors_stay_free(monkeypatch: pytest.MonkeyPatch, files: int, most: int) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _kind: (files, files))

    assert usual_limits().most == most
