"""One FastCGI connection, a scripted server at its other end: whatever that does becomes an answer, in time."""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from scalable.lib.captured_output import HEAD_BYTES, TAIL_BYTES
from scalable.lib.runners.php.fastcgi_client import Answer, FastCgiConnection, RequestEnd
from scalable.lib.runners.php.fastcgi_protocol import begin_request, finish_request
from tests.support.fakes.scripted_fastcgi import (
    END_REQUEST,
    STDERR,
    STDOUT,
    answer,
    ending,
    read_request,
    record,
)
from tests.support.waiting import SOON_SECONDS

# Far beyond what any of these exchanges needs; one that took this long hung.
AMPLE_SECONDS = 60.0
BODY = b'{"update_id":1}'
MIB = 1024 * 1024
Script = Callable[[socket.socket], None]


@contextmanager
def connected(script: Script, **rest) -> Iterator[FastCgiConnection]:
    """A connection to a server that does `script`; what that raises is raised again."""
    here, there = socket.socketpair()
    failures: list[BaseException] = []

    def serve() -> None:
        with there:
            there.settimeout(AMPLE_SECONDS)
            try:
                script(there)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except BaseException as failure:  # noqa: BLE001 - raised again below
                failures.append(failure)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connection = FastCgiConnection(here, **rest)
    try:
        yield connection
    finally:
        connection.close()
        thread.join(AMPLE_SECONDS)
    assert not thread.is_alive(), "the script hangs"
    if failures:
        raise failures[0]


def request(body: bytes = BODY) -> bytes:
    return begin_request({"REQUEST_METHOD": "POST"}, True) + finish_request(body)


def ask(
    connection: FastCgiConnection,
    body: bytes = BODY,
    seconds: float = AMPLE_SECONDS,
    tick: Callable[[], None] = lambda: None,
) -> Answer:
    return connection.ask(request(body), time.monotonic() + seconds, tick)


def replying(*pieces: bytes) -> Script:
    """Reads a request, sends the pieces one by one, and waits until the client closes."""

    def serve(link: socket.socket) -> None:
        read_request(link)
        for piece in pieces:
            link.sendall(piece)
        link.recv(1)

    return serve


def closing_after(*pieces: bytes) -> Script:
    """Reads a request, sends the pieces, and closes."""

    def serve(link: socket.socket) -> None:
        read_request(link)
        for piece in pieces:
            link.sendall(piece)

    return serve


def test_both_streams_and_both_statuses_of_an_answer_are_read():
    stream = record(STDOUT, b"one ") + record(STDERR, b"oops") + record(STDOUT, b"two") + ending(app_status=7)

    with connected(replying(stream)) as connection:
        answered = ask(connection)

    assert (answered.ended, answered.protocol_status) == (RequestEnd.IN_ORDER, 0)
    assert (bytes(answered.output.head), answered.errors.text()) == (b"one two", "oops")
    assert answered.is_reusable
    assert not answered.nothing_received


def test_an_answer_may_come_byte_by_byte_with_padding_and_foreign_records_in_it():
    stream = (
        record(STDOUT, b"one ", padding=255)
        + record(STDOUT, b"not ours", request_id=2)
        + record(99, b"unknown")
        + record(11, bytes(8), request_id=0)
        + record(STDOUT, b"two", padding=5)
        + record(STDOUT)
        + ending()
    )

    with connected(replying(*(stream[n : n + 1] for n in range(len(stream))))) as connection:
        answered = ask(connection)

    assert (answered.ended, bytes(answered.output.head)) == (RequestEnd.IN_ORDER, b"one two")


def test_one_connection_carries_one_request_after_the_other():
    bodies = []

    def serve(link: socket.socket) -> None:
        for number in range(3):
            bodies.append(read_request(link).body)
            link.sendall(record(STDOUT, b"answer %d" % number) + ending())

    with connected(serve) as connection:
        answers = [bytes(ask(connection, body).output.head) for body in (b"a", b"b", b"c")]

    assert bodies == [b"a", b"b", b"c"]
    assert answers == [b"answer 0", b"answer 1", b"answer 2"]


def test_a_mebibyte_each_way_at_once_does_not_block():
    """Given a server that answers each piece before it reads the next, more than sockets hold."""

    def serve(link: socket.socket) -> None:
        for _ in range(MIB // 4096):
            link.recv(4096)
            link.sendall(record(STDOUT, b"x" * 4096))
        link.sendall(ending())
        while link.recv(65536):
            pass

    with connected(serve) as connection:
        answered = ask(connection, b"y" * MIB)

    assert answered.ended is RequestEnd.IN_ORDER
    assert answered.output.size == MIB


def test_a_server_that_answers_before_it_read_the_request_is_heard_and_not_used_again():
    gate = threading.Event()

    def serve(link: socket.socket) -> None:
        link.sendall(answer(b"enough"))
        gate.wait(AMPLE_SECONDS)

    with connected(serve) as connection:
        answered = ask(connection, b"y" * 8 * MIB)
        gate.set()

    assert (answered.ended, answered.is_reusable) == (RequestEnd.IN_ORDER, False)
    assert bytes(answered.output.head).endswith(b"enough")


def test_a_server_that_answers_and_closes_without_reading_is_heard_and_not_used_again():
    with connected(lambda link: link.sendall(answer(b"enough"))) as connection:
        answered = ask(connection, b"y" * 8 * MIB)

    assert (answered.ended, answered.is_reusable) == (RequestEnd.IN_ORDER, False)
    assert bytes(answered.output.head).endswith(b"enough")


def test_bytes_behind_the_end_make_a_connection_useless():
    with connected(replying(answer(b"") + b"x")) as connection:
        answered = ask(connection)

    assert (answered.ended, answered.is_reusable) == (RequestEnd.IN_ORDER, False)


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (record(STDOUT, b"half of "),),
        (record(STDOUT, b"half of ") + record(STDOUT, b"it")[:-1],),
        (ending()[:-1],),
    ],
)
def test_a_server_that_closes_in_the_middle_is_a_lost_connection(pieces: tuple[bytes, ...]):
    with connected(closing_after(*pieces)) as connection:
        answered = ask(connection)

    assert answered.ended is RequestEnd.CONNECTION_LOST
    assert answered.nothing_received is (not pieces)
    assert not answered.nothing_sent


def test_a_server_that_closed_before_took_nothing_of_the_request():
    here, there = socket.socketpair()
    there.close()
    connection = FastCgiConnection(here)

    answered = ask(connection)
    connection.close()

    assert (answered.ended, answered.nothing_sent) == (RequestEnd.CONNECTION_LOST, True)


def test_a_server_that_dies_with_the_request_unread_is_a_lost_connection():
    """Then the kernel says "connection reset" and not "end of file"."""

    def serve(link: socket.socket) -> None:
        link.recv(1)

    with connected(serve) as connection:
        answered = ask(connection)

    assert (answered.ended, answered.nothing_sent, answered.nothing_received) == (
        RequestEnd.CONNECTION_LOST,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a record begins with byte 72, expected 1"),
        (b"J\x00\x00\x00\x0a8.0.36\x00", "a record begins with byte 74, expected 1"),
        (record(STDOUT, b"fine") + b"\x00", "a record begins with byte 0, expected 1"),
        (record(END_REQUEST, b"short"), "the record that ends the request has 5 bytes, expected 8"),
    ],
)
def test_a_server_that_speaks_something_else_is_told(greeting: bytes, problem: str):
    def serve(link: socket.socket) -> None:
        link.sendall(greeting)
        link.recv(1)

    with connected(serve) as connection:
        answered = ask(connection)

    assert (answered.ended, answered.problem) == (RequestEnd.NOT_FASTCGI, problem)


def test_a_server_that_says_nothing_is_left_at_the_deadline():
    with connected(replying(record(STDOUT, b"so far"))) as connection:
        begun = time.monotonic()
        answered = ask(connection, seconds=0.3)

    assert (answered.ended, answered.text()) == (RequestEnd.TOO_LATE, "so far")
    assert 0.3 <= time.monotonic() - begun < SOON_SECONDS


def test_a_server_that_takes_nothing_is_left_at_the_deadline():
    gate = threading.Event()

    with connected(lambda _: gate.wait(AMPLE_SECONDS)) as connection:
        answered = ask(connection, b"y" * 8 * MIB, seconds=0.3)
        gate.set()

    assert (answered.ended, answered.nothing_sent) == (RequestEnd.TOO_LATE, False)


def test_a_time_that_is_over_before_it_began_is_too_late():
    with connected(replying()) as connection:
        assert ask(connection, seconds=-1).ended is RequestEnd.TOO_LATE


def endless(link: socket.socket) -> None:
    read_request(link)
    while True:
        link.sendall(record(STDOUT, b"x" * 60_000))


def test_a_flood_does_not_keep_the_deadline_from_coming():
    with connected(endless) as connection:
        begun = time.monotonic()
        answered = ask(connection, seconds=0.3)

    assert answered.ended is RequestEnd.TOO_LATE
    assert time.monotonic() - begun < SOON_SECONDS


def test_a_flood_on_both_streams_is_read_to_the_end_and_only_its_ends_are_kept():
    chunk = 65528

    def serve(link: socket.socket) -> None:
        read_request(link)
        for _ in range(50 * MIB // chunk):
            link.sendall(record(STDOUT, b"o" * chunk) + record(STDERR, b"e" * chunk))
        link.sendall(record(STDOUT, b"last out") + record(STDERR, b"last err") + ending())
        link.recv(1)

    tracemalloc.start()
    try:
        with connected(serve) as connection:
            answered = ask(connection)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answered.ended is RequestEnd.IN_ORDER
    assert (len(answered.output.head), answered.output.is_whole) == (HEAD_BYTES, False)
    assert len(answered.output.tail) == len(answered.errors.tail) == TAIL_BYTES
    assert answered.text().startswith("ooo")
    assert answered.output.text().endswith("last out")
    assert answered.errors.text().endswith("last err")
    assert peak_bytes < 4 * MIB


class Enough(Exception):
    pass


def test_what_the_tick_raises_is_passed_on():
    def tick() -> None:
        raise Enough

    with connected(replying()) as connection, pytest.raises(Enough):
        ask(connection, tick=tick)


@pytest.mark.parametrize("script", [replying(), endless])
def test_the_tick_comes_often_enough_for_a_heartbeat_and_not_all_the_time(script: Script):
    ticks: list[float] = []

    with connected(script) as connection:
        ask(connection, seconds=1.2, tick=lambda: ticks.append(time.monotonic()))

    assert 1 <= len(ticks) <= 3


def test_what_the_process_prints_is_read_and_does_not_keep_it_waiting():
    """Given more than a pipe holds, printed before the answer."""
    reading, writing = os.pipe()

    def serve(link: socket.socket) -> None:
        read_request(link)
        with open(writing, "wb") as pipe:
            pipe.write(b"p" * MIB + b"last printed")
        link.sendall(answer(b"hi"))
        link.recv(1)

    with connected(serve, printed=reading) as connection:
        answered = ask(connection)
    os.close(reading)

    assert answered.printed.size == MIB + len("last printed")
    assert answered.text().endswith("last printed")
    assert answered.errors.size == 0


def test_a_connection_that_a_child_holds_open_is_lost_when_its_process_is_gone():
    gate = threading.Event()

    def serve(link: socket.socket) -> None:
        read_request(link)
        gate.wait(AMPLE_SECONDS)

    with connected(serve, is_gone=lambda: True) as connection:
        begun = time.monotonic()
        answered = ask(connection)
        gate.set()

    assert answered.ended is RequestEnd.CONNECTION_LOST
    assert time.monotonic() - begun < SOON_SECONDS


def test_the_answer_is_not_shown_in_the_repr():
    with connected(replying(answer(b"private words") + ending())) as connection:
        assert "private words" not in repr(ask(connection))


def test_closing_twice_is_harmless():
    with connected(replying()) as connection:
        connection.close()
