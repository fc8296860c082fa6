"""How a process that stored an update wakes the pool on this machine, which then does not have to poll for it.

One datagram to a socket in the data folder. It may get lost: the pool looks at the queue from time to time as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Optional

from scalable.lib.ingest.fast_cgi.protocol import NOTIFICATION
from scalable.lib.logs import event
from scalable.lib.sockets import send_datagram, short_address

log = logging.getLogger(__name__)


def notify_pool(path: Path) -> None:
    """Tell the pool that listens at `path`, if there is one. Never raises, never waits; about 50 µs."""
    try:
        send_datagram(os.fsencode(path), NOTIFICATION)
    except OSError as error:  # no pool, or one whose socket is full
        if log.isEnabledFor(logging.DEBUG):
            log.debug(event("pool not poked", cause=error))


def open_notification_socket(path: Path) -> Optional[NotificationSocket]:
    """The pool's end; None, with a line in the log, when there can be none: then the pool looks for updates itself."""
    try:
        return NotificationSocket(path)
    except OSError as error:
        log.warning(event("no poke socket, looking for updates instead", path=path, cause=error))
        return None


class NotificationSocket:
    """The pool's end. Raises OSError when the folder's file system has no sockets."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path.unlink(missing_ok=True)  # of a pool that was killed; the caller holds the pool's lock
            with short_address(os.fsencode(path)) as address:
                self._socket.bind(address)
            path.chmod(0o600)
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Readable when there are notifications."""
        return self._socket.fileno()

    def take(self) -> int:
        """How many notifications came since the last call."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
                count += 1
        return count

    def close(self) -> None:
        """Remove the socket."""
        self._path.unlink(missing_ok=True)
        self._socket.close()
