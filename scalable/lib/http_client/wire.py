"""A TCP or TLS connection; every wait is short, and checks the Deadline before it continues. Does not use HTTP."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Optional, TypeVar

from scalable.lib.captured_output import CHUNK_BYTES
from scalable.lib.deadline import Deadline
from scalable.lib.host_limits import within_limits

Result = TypeVar("Result")
# A family and an address in it, as the socket module has them.
_Address = tuple[int, tuple[Any, ...]]


class Wire:
    """An open connection. `deadline` is that of the request at hand; every wait raises what it raises."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self.deadline = deadline
        self._socket = connected

    def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """TLS from here on. Raises ssl.SSLError when the other side has none, or is not `host`."""
        encrypted = context.wrap_socket(self._socket, server_hostname=host, do_handshake_on_connect=False)
        self._socket = encrypted
        self._when_possible(encrypted.do_handshake, select.POLLIN)

    def is_quiet(self) -> bool:
        """Whether the other side neither closed the connection nor sent anything that was not asked for."""
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
        """All of it. Raises OSError, and then the other side has at most a part."""
        unsent = memoryview(data)
        while unsent:
            piece = unsent[:CHUNK_BYTES]
            unsent = unsent[self._when_possible(lambda: self._socket.send(piece), select.POLLOUT) :]  # noqa: B023
        if hasattr(socket, "TCP_QUICKACK"):  # or a server that sends its answer in two pieces waits 40 ms (tcp(7))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """Close it without TLS's closing alert, which might have to be waited for. Safe to repeat."""
        self._socket.close()

    def _when_possible(self, action: Callable[[], Result], interest: int) -> Result:
        """The result of `action`, repeated whenever the socket may be ready for it."""
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


def connect(host: str, port: int, deadline: Deadline, connect_seconds: float) -> Wire:
    """A connection to the first address of `host` that takes one, each being given `connect_seconds`.

    Raises OSError with the reason of the last address, socket.gaierror for an unknown name, and NoProcessLeft.
    """
    failure = OSError(f"no address is known for {host}")
    for address in _resolved(host, port, deadline):
        try:
            return Wire(_connected(address, deadline, connect_seconds), deadline)
        except OSError as error:
            failure = error
    raise failure


def _connected(address: _Address, deadline: Deadline, connect_seconds: float) -> socket.socket:
    gives_up = deadline.seconds + connect_seconds
    connecting = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            connecting.connect(address[1])
            return connecting
        while not _wait(connecting, select.POLLOUT, deadline.wait_seconds()):
            if deadline.seconds > gives_up:
                raise TimeoutError(f"no answer within {connect_seconds:g} s")
        code = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        return connecting
    except BaseException:
        connecting.close()
        raise


def _resolved(host: str, port: int, deadline: Deadline) -> list[_Address]:
    """The addresses of `host`, in the system's order. A resolver cannot be interrupted, so a name has a thread."""
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    answers: SimpleQueue[list[_Address] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_look_up(host, port, 0))
        except OSError as error:
            answers.put(error)

    with within_limits():
        threading.Thread(target=ask, name="resolver", daemon=True).start()
    answer: Optional[list[_Address] | OSError] = None
    while answer is None:
        with contextlib.suppress(Empty):
            answer = answers.get(timeout=deadline.wait_seconds())
    if isinstance(answer, OSError):
        raise answer
    return answer


def _look_up(host: str, port: int, flags: int) -> list[_Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def _wait(waiting: socket.socket, interest: int, seconds: float) -> bool:
    """Whether the socket became ready in time. Not `select`, which fails for descriptors above 1023."""
    poller = select.poll()
    poller.register(waiting, interest)
    return bool(poller.poll(seconds * 1000))
