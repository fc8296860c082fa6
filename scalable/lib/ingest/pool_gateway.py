"""The pool's side of the hand-over: answers CGI requests on a Unix socket that only this user may connect to.

Not HTTP, and so not waitress: the variables of the web server have to arrive as they are (who the visitor is, what the
address was), and in HTTP they would have to be hidden among headers, which are what a visitor may forge. Here the
socket is the boundary: only the owner of the installation may connect, and is trusted. The other side is
fast_cgi/pool_client.py, the form of the messages fast_cgi/protocol.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Optional, TypeVar

from scalable.lib.ingest.cgi import answer_request
from scalable.lib.ingest.fast_cgi.protocol import (
    GREETING,
    MAX_BODY_BYTES,
    MAX_VARIABLES_BYTES,
    SOCKET_NAME,
    netstring,
    read_netstring,
)
from scalable.lib.ingest.request_body import content_length, read_up_to
from scalable.lib.ingest.wsgi import Wsgi
from scalable.lib.logs import OncePer, event
from scalable.lib.sockets import short_address

log = logging.getLogger(__name__)
Choose = Callable[[Mapping[str, str]], Optional[Wsgi]]
Opened = TypeVar("Opened")
# Each may use one connection of the database. A shared host allows ten and more to all the processes of a user.
THREADS = 4
# Requests of one moment that may wait for a thread; a further one is answered without the gateway.
BACKLOG = 64
# The other end is a process on this machine that has the whole request in its memory.
PATIENCE_SECONDS = 10.0
STOP_SECONDS = 5.0


class Gateway:
    """Listens from the moment it is made, answers from `start` on. Raises OSError when `folder` cannot hold a socket.

    `choose` gives the application for the variables of a request, or None: then the CGI process does it itself.
    """

    def __init__(self, folder: Path, choose: Choose) -> None:
        self.path = folder / os.fsdecode(SOCKET_NAME)
        self._choose = choose
        self._socket = private_socket(self.path, BACKLOG)
        self._stopping = threading.Event()
        self._say_so = OncePer(60)
        self._threads = [
            threading.Thread(target=self._work, name=f"gateway {number}", daemon=True) for number in range(THREADS)
        ]

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more requests; those under way are waited for, STOP_SECONDS at most. Safe to repeat."""
        self._stopping.set()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # done already
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the threads that wait in accept
        self._socket.close()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError as error:  # stopped; or no descriptor left, and then a little later
                if not self._stopping.wait(0.1) and self._say_so():
                    log.error(event("gateway takes no requests", cause=error))
                continue
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(PATIENCE_SECONDS)
            connection.sendall(GREETING)
            with connection.makefile("rb") as stream:
                variables, body = _read_request(stream)
            connection.sendall(netstring(self._response(variables, body)))
        except (OSError, ValueError) as error:  # the other end gave up, or is not one of ours
            log.warning(event("request not taken over", cause=error))
        except Exception:  # the top of the request: the thread has to go on
            log.exception(event("request not taken over"))

    def _response(self, variables: dict[str, str], body: BinaryIO) -> bytes:
        application = self._choose(variables)
        if application is None:
            return b""
        output = BytesIO()
        answer_request(application, variables, body, output, sys.stderr, multithread=True)
        return output.getvalue()


def open_gateway(folder: Path, choose: Choose) -> Optional[Gateway]:
    """A gateway; None, with a line in the log, when there can be none: then CGI requests are answered without it."""
    return opened_or_none(lambda: Gateway(folder, choose), folder)


def opened_or_none(open_one: Callable[[], Opened], folder: Path) -> Optional[Opened]:
    """What `open_one` opens in `folder`; None, with a line in the log, when it raises OSError."""
    try:
        return open_one()
    except OSError as error:
        log.warning(event("no gateway, web scripts start slower", path=folder, cause=error))
        return None


def private_socket(path: Path, backlog: int) -> socket.socket:
    """A socket that listens at `path` for this user alone. Raises OSError.

    One that is there is that of a pool that was killed: the caller holds the pool's lock.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_address(os.fsencode(path)) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(backlog)  # only now can a client connect
    except OSError:
        listening.close()
        raise
    return listening


def request_variables(block: bytes) -> dict[str, str]:
    """The variables of a request, as PEP 3333 wants text from outside. Raises ValueError."""
    fields = block.decode("latin-1").split("\0")
    if len(fields) % 2 != 1:
        raise ValueError("expected the variables of a request, each ended by a NUL byte")
    return dict(zip(fields[::2], fields[1::2]))


def _read_request(stream: BinaryIO) -> tuple[dict[str, str], BinaryIO]:
    """The variables of a request and its body. Raises ValueError."""
    block = read_netstring(stream.read, MAX_VARIABLES_BYTES)
    variables = request_variables(b"\0" if block is None else block)
    length = content_length(variables.get("CONTENT_LENGTH", ""))
    if length > MAX_BODY_BYTES:
        raise ValueError(f"expected a body of at most {MAX_BODY_BYTES} bytes, got {length}")
    body = read_up_to(stream.read, length)
    if len(body) != length:
        raise ValueError(f"expected a body of {length} bytes, got {len(body)}")
    return variables, BytesIO(body)
