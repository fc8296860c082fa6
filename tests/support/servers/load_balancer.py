"""A load balancer of the simplest kind: passes the bytes of each new connection on to the next server that takes it."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Listens on `port` of 127.0.0.1; `targets` are the ports it takes in turn. Connections made before stay."""

    def __init__(self, *targets: int) -> None:
        self.targets = targets
        self._turn = 0
        self._sockets: list[socket.socket] = []
        self._is_silent = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for one
        self._listener.close()

    def cut(self, silently: bool = False) -> None:
        """End every connection and take no more; `silently`: nothing comes through any more, and nobody is told."""
        self._is_silent = silently
        if silently:
            return
        self.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                if self._is_silent:
                    continue
                server = self._next_server()
                if server is None:
                    client.close()
                    continue
                self._sockets.append(server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _next_server(self) -> socket.socket | None:
        for _ in self.targets:
            self._turn += 1
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.targets[self._turn % len(self.targets)]))
        return None

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if not self._is_silent:
                    sink.sendall(content)
        with contextlib.suppress(OSError):
            if not self._is_silent:
                sink.shutdown(socket.SHUT_WR)
