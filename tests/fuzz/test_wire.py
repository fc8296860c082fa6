"""Whatever the other end of a wire says, our clients end with the one answer or error they promise, in time.

The other ends: a FastCGI server, a MySQL server at its log-in and after a statement, and the gateway of a pool.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.errors import FastPathUnavailable
from scalable.lib.ingest.fast_cgi.protocol import MAX_RESPONSE_BYTES, read_netstring
from scalable.lib.queue.dialects import minimal_mysql as lean_mysql
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from scalable.lib.runners.php.fastcgi_client import FastCgiConnection, RequestEnd
from scalable.lib.runners.php.fastcgi_protocol import begin_request, finish_request
from tests.support.fakes.scripted_fastcgi import record
from tests.support.generators.fuzz_counts import fuzzed

REQUEST = begin_request({"SCRIPT_FILENAME": "/bot.php"}, True) + finish_request(b'{"update_id":1}')
AMPLE_SECONDS = 20.0

pieces = st.lists(st.binary(max_size=60), max_size=6)
records = st.builds(
    record,
    st.integers(0, 12),
    st.binary(max_size=60),
    request_id=st.sampled_from([0, 1, 2]),
    padding=st.integers(0, 255),
    version=st.sampled_from([1, 1, 1, 0, 2]),
)


def packet(content: bytes, number: int) -> bytes:
    """A packet of MySQL's protocol."""
    return len(content).to_bytes(3, "little") + bytes([number]) + content


GREETING = packet(
    b"\x0a10.11.6-MariaDB\0" + bytes(4) + b"saltsalt\0" + bytes(18) + b"saltsaltsalt\0mysql_native_password\0",
    0,
)
OK = b"\0\0\1\2\0\0\0"
packets = st.builds(
    packet, st.one_of(st.binary(max_size=40), st.sampled_from([OK, b"\1\3", b"\1\4", b""])), st.integers(0, 255)
)


@contextmanager
def saying(words: list[bytes]) -> Iterator[socket.socket]:
    """The near end of a connection whose far end says this, takes whatever it is told, and hangs up."""
    here, there = socket.socketpair()
    here.settimeout(AMPLE_SECONDS)

    def speak() -> None:
        with there:
            try:
                for piece in words:
                    there.sendall(piece)
                there.shutdown(socket.SHUT_WR)
                there.settimeout(AMPLE_SECONDS)
                while there.recv(65536):
                    pass
            except OSError:  # the near end has heard enough
                pass

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        here.close()
        thread.join(AMPLE_SECONDS)
    assert not thread.is_alive()


@fuzzed(200)
@given(words=st.lists(st.one_of(records, st.binary(max_size=30)), max_size=8))
def test_a_fastcgi_server_that_says_anything_ends_in_one_of_four_ways(words: list[bytes]) -> None:
    before = time.monotonic()
    with saying(words) as link:
        connection = FastCgiConnection(link)
        answer = connection.ask(REQUEST, time.monotonic() + AMPLE_SECONDS, lambda: None)
        connection.close()

    assert answer.ended in (RequestEnd.IN_ORDER, RequestEnd.CONNECTION_LOST, RequestEnd.NOT_FASTCGI)
    assert time.monotonic() - before < AMPLE_SECONDS
    assert bool(answer.problem) == (answer.ended is RequestEnd.NOT_FASTCGI)
    if answer.ended is not RequestEnd.IN_ORDER:
        assert not answer.is_reusable


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[list[bytes]], str]]:
    """Makes a MySQL server that says what it is given to each who connects; the path of its socket."""
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "s")
    listener.bind(path)
    listener.listen(8)
    said: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:  # the end of the test
                return
            with link:
                try:
                    link.sendall(b"".join(said))
                    link.shutdown(socket.SHUT_WR)
                    while link.recv(65536):
                        pass
                except OSError:  # the client has heard enough
                    pass

    threading.Thread(target=serve, daemon=True).start()

    def say(words: list[bytes]) -> str:
        said[:] = words
        return path

    yield say
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@fuzzed(300)
@given(words=st.lists(st.one_of(packets, st.binary(max_size=30)), max_size=5), greets=st.booleans())
@example(words=[packet(OK, 255)], greets=True)
@example(words=[packet(b"\xfemysql_native_password\0saltsaltsaltsaltsalt\0", 255)], greets=True)
def test_a_mysql_server_that_says_anything_is_usual_or_not_and_never_falsely_thanked(
    server: Callable[[list[bytes]], str], words: list[bytes], greets: bool
) -> None:
    said = [GREETING, *words] if greets else words
    statement = "INSERT INTO bot_jobs (payload) VALUES (:payload)"
    prepared = PreparedInsert(server(said), ["user", "word", "bot"], [], statement, os.geteuid())
    try:
        made = lean_mysql.insert(prepared, {"payload": "{}"})
    except FastPathUnavailable:
        return
    assert made >= 0
    assert b"".join(said).count(b"\0") >= 2  # of log-in and of the statement


@fuzzed(300)
@given(words=pieces)
@example(words=[b"abc:"])
@example(words=[b"-1:x,"])
@example(words=[b"\xb2:,"])
@example(words=[b"3:abc;"])
@example(words=[b"99999999999999999999:"])
def test_a_gateway_that_says_anything_gives_a_whole_answer_or_none(words: list[bytes]) -> None:
    whole = b"".join(words)
    with saying([piece for piece in words if piece]) as link:
        try:
            answer = read_netstring(link.recv, MAX_RESPONSE_BYTES)
        except ValueError:
            return

    if answer is not None:
        assert whole.startswith(b"%d:%b," % (len(answer), answer))
