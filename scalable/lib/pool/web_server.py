"""The pool's own web server: waitress in a thread beside the supervisor."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
import threading
from pathlib import Path
from typing import Any, Optional

from waitress.server import BaseWSGIServer, create_server
from waitress.wasyncore import dispatcher, loop

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES
from scalable.lib.pool.connections import ConnectionLimits, Connections, usual_limits

THREADS = 8
UNIX = "unix:"
# The folder decides who gets to the socket: a proxy that runs as another user is of the folder's group.
SOCKET_MODE = "660"
# How long the loop waits when nothing happens.
LOOP_SECONDS = 1.0
# Far longer than one of its rounds takes.
STOP_SECONDS = 5.0
# Accepted in one round of the loop, for each socket that listens.
CONNECTIONS_AT_ONCE = 64
# Of waitress itself, and the database.
OTHER_SOCKETS = 20


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`. Raises ConfigurationError. Port 0 takes any free one."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text)
    if not match or int(match.group(2)) > 65535:
        raise ConfigurationError(f"--serve {text!r}: expected HOST:PORT, such as 127.0.0.1:8080, or unix:/path/to.sock")
    return match.group(1).strip("[]"), int(match.group(2))


def parse_socket(text: str) -> Path:
    """The path of `unix:PATH`. Raises ConfigurationError, also where others could put a socket in its place."""
    if not text[len(UNIX) :] or "\0" in text:
        raise ConfigurationError(f"--serve {text!r}: expected unix:PATH, such as unix:/home/you/bot.sock")
    path = Path(os.path.abspath(text[len(UNIX) :]))
    try:
        is_open_to_all = path.parent.stat().st_mode & 0o002
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--serve {text}: the folder {path.parent} cannot be used ({why})") from error
    if is_open_to_all:
        raise ConfigurationError(
            f"--serve {text}: every user of this machine may write into {path.parent}, and take the socket's place; "
            "choose a folder of your own"
        )
    _require_free(path)
    return path


def _require_free(path: Path) -> None:
    """Waitress takes the place of a socket that is there, also where another server still answers."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(STOP_SECONDS)
        try:
            asking.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                return
            why = error.strerror or error
            raise ConfigurationError(f"--serve {UNIX}{path}: cannot listen there ({why}); choose another") from error
        raise ConfigurationError(f"--serve {UNIX}{path}: another server answers there; choose another, or end it")


class WebServer:
    """Listens from the moment it is made, answers from `start` on, ends with the process or at `stop`.

    `listen` is HOST:PORT, or unix:PATH for a socket. `batch_receiver` answers requests with an update that can be
    stored at once, `application` everything else.
    """

    def __init__(
        self,
        application: Any,
        listen: str,
        batch_receiver: Optional[BatchReceiver] = None,
        limits: Optional[ConnectionLimits] = None,
    ) -> None:
        """`limits`: what this machine allows when it is not given."""
        place = _place(listen)
        self._connections = Connections(limits or usual_limits())
        self._sockets: dict[int, Any] = {}  # those that the loop waits for
        try:
            of_sockets = self._listen(application, place)
        except OSError as error:
            why = error.strerror or error
            raise ConfigurationError(f"--serve {listen}: cannot listen there ({why}); choose another") from error
        if batch_receiver is not None:
            for each in of_sockets:
                each.channel_class = batch_receiver.channel
        self._batch_receiver = batch_receiver
        self._trigger = of_sockets[0].trigger
        path, host = str(place.get("unix_socket", "")), str(place.get("host", ""))
        self.port = 0 if path else int(of_sockets[0].effective_port)
        # At a socket the name is only for the Host header; the proxy in front has the real one.
        self.url = "http://localhost" if path else f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.curl_option = f"--unix-socket {shlex.quote(path)} " if path else ""
        self._listening = of_sockets
        self._is_stopping = False
        self._has_stopped_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)

    def _listen(self, application: Any, place: dict[str, Any]) -> list[Any]:
        """A server for each socket: `localhost` may mean two addresses."""
        # Far above the application's own limit: waitress cuts the connection, the application explains the error.
        create_server(
            application,
            map=self._sockets,
            **place,
            threads=THREADS,
            connection_limit=self._connections.most + CONNECTIONS_AT_ONCE + OTHER_SOCKETS,
            ident=None,
            max_request_body_size=8 * MAX_UPDATE_BYTES,
            clear_untrusted_proxy_headers=False,
        )
        return [each for each in self._sockets.values() if isinstance(each, BaseWSGIServer)]

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        if self._batch_receiver is not None:
            self._batch_receiver.start(self._wake)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it answers; after `stop`: whether connections are left."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Close the listening sockets; requests under way may finish while the process runs.

        The loop's own thread closes them, because it may be waiting for them just now.
        """
        self._is_stopping = True
        if self.is_running:
            self._wake()
            self._has_stopped_listening.wait(STOP_SECONDS)
        else:
            self._stop_listening()

    def _run(self) -> None:
        while not self._is_stopping:
            self._wait_and_handle()
        self._stop_listening()
        while any(each.active_channels for each in self._listening):
            self._wait_and_handle()

    def _wait_and_handle(self) -> None:
        loop(LOOP_SECONDS, use_poll=True, map=self._sockets, count=1)  # select ends at 1,024 descriptors
        if not self._is_stopping:
            self._accept_others()
        if self._batch_receiver is not None:
            self._batch_receiver.store_waiting(self._sockets)
        open_ones = (each.active_channels.values() for each in self._listening)
        self._connections.close_what_is_due(open_ones, self._in_line)

    def _in_line(self) -> list[Any]:
        line = self._listening[0].task_dispatcher  # of all of them
        with line.lock:
            return list(line.queue)

    def _accept_others(self) -> None:
        """Those that came together with the one that waitress accepts in a round: a queue of many is soon empty."""
        for each in self._listening:
            for _ in range(CONNECTIONS_AT_ONCE):
                before = len(each.active_channels)
                each.handle_accept()
                if len(each.active_channels) == before:
                    break

    def _stop_listening(self) -> None:
        for each in self._listening:
            dispatcher.close(each)  # what wakes the loop stays open: another thread may be writing to it
        self._has_stopped_listening.set()

    def _wake(self) -> None:
        self._trigger.pull_trigger()


def _place(listen: str) -> dict[str, Any]:
    """For waitress."""
    if listen.startswith(UNIX):
        return {"unix_socket": str(parse_socket(listen)), "unix_socket_perms": SOCKET_MODE}
    host, port = parse_listen(listen)
    return {"host": host, "port": port}
