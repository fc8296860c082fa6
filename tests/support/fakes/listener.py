"""A server that answers nobody, and writes down who connected: for what must not be asked at all."""

from __future__ import annotations

import socket
import threading
from types import TracebackType


class Listener:
    """Listens on this machine within `with`; `place` is its host and port."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._seen: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seen()

    def seen(self) -> list[bytes]:
        """The beginning of what each connection brought, after the last one was taken; then it listens no more."""
        if self._thread.is_alive():
            with socket.create_connection(("127.0.0.1", int(self.place.rpartition(":")[2])), timeout=5) as last:
                last.sendall(b"last")
            self._thread.join(60)
            assert not self._thread.is_alive()
            self._socket.close()
        return self._seen[:-1]

    def _serve(self) -> None:
        while not self._seen or self._seen[-1] != b"last":
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(5)
                self._seen.append(connection.recv(4096))
