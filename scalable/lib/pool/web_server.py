"""The pool's own web server: waitress in a thread beside the supervisor."""

from __future__ import annotations

import re
import threading
from typing import Any, Optional

from waitress.server import BaseWSGIServer, create_server

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.batch_receiver import BatchReceiver
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES

THREADS = 8


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`. Raises ConfigurationError. Port 0 takes any free one."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", text)
    if not match or int(match.group(2)) > 65535:
        raise ConfigurationError(f"--serve {text!r}: expected HOST:PORT, such as 127.0.0.1:8080")
    return match.group(1).strip("[]"), int(match.group(2))


class WebServer:
    """Listens from the moment it is made, answers from `start` on, ends with the process or at `stop`.

    `batch_receiver` answers requests with an update that can be stored at once, `application` everything else.
    """

    def __init__(self, application: Any, listen: str, batch_receiver: Optional[BatchReceiver] = None) -> None:
        host, port = parse_listen(listen)
        try:
            # Far above the application's own limit: waitress cuts the connection, the application explains the error.
            server: Any = create_server(
                application,
                host=host,
                port=port,
                threads=THREADS,
                ident=None,
                max_request_body_size=8 * MAX_UPDATE_BYTES,
                clear_untrusted_proxy_headers=False,
            )
        except OSError as error:
            why = error.strerror or error
            raise ConfigurationError(f"--serve {listen}: cannot listen there ({why}); choose another") from error
        # `localhost` may mean two addresses; then waitress returns a server of several sockets.
        everything = getattr(server, "map", {0: server}).values()
        of_sockets: list[Any] = [each for each in everything if isinstance(each, BaseWSGIServer)]
        if batch_receiver is not None:
            for each in of_sockets:
                each.channel_class = batch_receiver.channel
        self._batch_receiver = batch_receiver
        self.port = int(of_sockets[0].effective_port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._server = server
        self._thread = threading.Thread(target=self._server.run, name="web server", daemon=True)

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        if self._batch_receiver is not None:
            self._batch_receiver.start()
        self._thread.start()

    def stop(self) -> None:
        """Close the listening socket; requests under way may finish while the process runs."""
        self._server.close()
