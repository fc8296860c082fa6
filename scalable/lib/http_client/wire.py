"""A TCP or TLS connection on which every wait is short, and asks its Deadline before it goes on. Knows no HTTP."""

from __future__ import annotations

import contextlib
import io
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Optional, TypeVar, cast

from scalable.lib.captured_output import CHUNK_BYTES
from scalable.lib.deadline import Deadline
from scalable.lib.host_limits import within_limits

Result = TypeVar("Result")
SocketAddress = tuple[Any, ...]
# For one of the addresses of a host; a host with several may have one that is dead.
CONNECT_SECONDS = 10.0


class Wire:
    """An open connection. `patience` is that of the run at hand."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self._socket = connected

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """TLS from here on. Raises ssl.SSLError when the other side has none, or is not `host`."""
        encrypted = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = encrypted
        self._when_possible(encrypted.do_handshake, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether the other side neither closed the connection nor sent anything nobody asked for."""
        try:
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def receive_into(self, buffer: memoryview) -> int:
        """Wait for bytes, and say how many there are now in `buffer`; 0 at the end. Raises OSError."""
        return self._when_possible(lambda: self._socket.recv_into(buffer), select.POLLIN)

    def send(self, data: bytes) -> None:
        """All of it. Raises OSError."""
        unsent = memoryview(data)
        while unsent:
            piece = unsent[:CHUNK_BYTES]
            unsent = unsent[self._when_possible(lambda: self._socket.send(piece), select.POLLOUT) :]  # noqa: B023
        if hasattr(socket, "TCP_QUICKACK"):  # or a server that sends its answer in two pieces waits 40 ms (tcp(7))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Close it without a word: there is nothing left to say, and no time to wait for an answer."""
        self._socket.close()

    def as_socket(self) -> tuple[socket.socket, bytearray]:
        """What http.client needs of a socket, and where to find what it wrote: to be sent in one piece, by `send`."""
        stand_in = _Socket(self)
        return cast(socket.socket, stand_in), stand_in.written

    def _when_possible(self, action: Callable[[], Result], interest: int) -> Result:
        """The result of `action`, repeated whenever the socket may be ready for it. Raises what the patience raises."""
        while True:
            wait_seconds = self.deadline.wait_seconds()
            try:
                return action()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as reason:
                if isinstance(reason, ssl.SSLWantReadError):
                    interest = select.POLLIN
                elif isinstance(reason, ssl.SSLWantWriteError):
                    interest = select.POLLOUT
                _wait(self._socket, interest, wait_seconds)


def connect(host: str, port: int, deadline: Deadline) -> Wire:
    """A connection to the first address of `host` that takes one. Raises OSError with the reason of the last one."""
    failure: Optional[OSError] = None
    for family, address in _resolved(host, port, deadline):
        candidate = socket.socket(family, socket.SOCK_STREAM)
        try:
            candidate.setblocking(False)
            candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect_one(candidate, address, deadline)
            return Wire(candidate, deadline)
        except OSError as error:
            failure = error
            candidate.close()
        except BaseException:
            candidate.close()
            raise
    raise failure or OSError(f"no address is known for {host}")


def _connect_one(candidate: socket.socket, address: SocketAddress, deadline: Deadline) -> None:
    gives_up = deadline.seconds + CONNECT_SECONDS
    with contextlib.suppress(BlockingIOError):
        candidate.connect(address)
        return
    while not _wait(candidate, select.POLLOUT, deadline.wait_seconds()):
        if deadline.seconds > gives_up:
            raise TimeoutError(f"no answer within {CONNECT_SECONDS:g} s")
    code = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _resolved(host: str, port: int, deadline: Deadline) -> list[tuple[int, SocketAddress]]:
    """The addresses of `host`, in the system's order. A resolver cannot be interrupted, so a name has a thread."""
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    answers: SimpleQueue[list[tuple[int, SocketAddress]] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_look_up(host, port, 0))
        except OSError as error:
            answers.put(error)

    with within_limits():
        threading.Thread(target=ask, name="resolver", daemon=True).start()
    while True:
        with contextlib.suppress(Empty):
            answer = answers.get(timeout=deadline.wait_seconds())
            if isinstance(answer, OSError):
                raise OSError(f"the name {host} is not known ({answer})") from answer
            return answer


def _look_up(host: str, port: int, flags: int) -> list[tuple[int, SocketAddress]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def _wait(waiting: socket.socket, interest: int, seconds: float) -> bool:
    """Whether the socket became ready in time. Not `select`, which knows no descriptor above 1023."""
    poller = select.poll()
    poller.register(waiting, interest)
    return bool(poller.poll(seconds * 1000))


class _Socket:
    """http.client's view of a Wire: it writes, and reads by a file; closing is the Wire's own business."""

    def __init__(self, wire: Wire) -> None:
        self.written = bytearray()
        self._wire = wire

    def sendall(self, data: bytes) -> None:
        self.written += data

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._wire))

    def close(self) -> None:
        pass


class _Incoming(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)
