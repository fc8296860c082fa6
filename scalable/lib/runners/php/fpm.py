"""The host's own PHP-FPM, reached by FastCGI."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from pathlib import Path
from typing import Optional

from scalable.lib.errors import BotMissing, ConfigurationError
from scalable.lib.runners.php.fastcgi_client import Answer, FastCgiConnection
from scalable.lib.runners.php.fastcgi_server import FastCgiServer, Loss
from scalable.lib.runners.php.fpm_trust import stranger_at
from scalable.lib.runners.php.prelude import Prelude
from scalable.lib.runners.php.prelude_of_fpm import PreludeOfFpm
from scalable.lib.sockets import short_address

# A server on the same machine that has not taken a connection by then takes none.
CONNECT_SECONDS = 5.0


class HostServer(FastCgiServer):
    """The host's PHP-FPM at `address`, `/path/to.sock` or `host:port`. Raises ConfigurationError for another form.

    Every request gets a connection of its own: a process of PHP-FPM serves only this one while it is kept. Without
    `prelude_of_fpm` the bot is run as it is, and only its status is known.
    """

    keeps_connection = False

    def __init__(self, address: str, prelude_of_fpm: Optional[PreludeOfFpm] = None) -> None:
        self.name = f"BOT_FASTCGI_SOCKET={address}"
        self._address = parse_address(address)
        self._prelude_of_fpm = prelude_of_fpm
        self._prelude = super().prelude
        self._bot: Optional[tuple[Path, Path]] = None

    def serve(self, bot: Path, site: Path) -> None:
        """See FastCgiServer.serve."""
        self._bot = bot, site

    @property
    def prelude(self) -> Prelude:
        """See FastCgiServer.prelude."""
        return self._prelude

    def check(self) -> str:
        """See FastCgiServer.check."""
        self._connect(time.monotonic() + CONNECT_SECONDS).close()
        return f"the host's PHP by FastCGI, {self.name}"

    def connect(self, deadline: float) -> FastCgiConnection:
        """See FastCgiServer.connect."""
        if self._prelude_of_fpm is not None and self._bot is not None:
            self._prelude = self._prelude_of_fpm.find(*self._bot, self._connect, deadline)
        return self._connect(deadline)

    def _connect(self, deadline: float) -> FastCgiConnection:
        seconds = max(0.001, min(CONNECT_SECONDS, deadline - time.monotonic()))
        try:
            link = _open(self._address, seconds)
            stranger = stranger_at(link, self._address if isinstance(self._address, str) else "")
        except OSError as error:
            raise BotMissing(f"{self.name}: {_reason(error)}") from error
        if stranger is not None:
            link.close()
            raise BotMissing(
                f"{self.name}: user {stranger} listens there, neither you nor root nor a user of the system, so "
                "nothing was sent; is PHP-FPM down? If that is your PHP-FPM, let it listen on a socket in a folder "
                "that only its user can write"
            )
        return FastCgiConnection(link)

    def release(self, connection: FastCgiConnection, is_reusable: bool) -> None:  # noqa: ARG002 - never kept
        """See FastCgiServer.release."""
        connection.close()

    def abandon(self, connection: FastCgiConnection) -> str:
        """See FastCgiServer.abandon."""
        connection.close()
        return "the host's PHP may still be running the bot"

    def lost(self, connection: FastCgiConnection, answer: Answer) -> Loss:
        """See FastCgiServer.lost."""
        connection.close()
        when = "before it took the update" if answer.nothing_sent else "while running the bot"
        cause = f"{self.name}: the host's PHP closed the connection {when}; its own log may say why"
        return Loss(cause, had_not_begun=answer.nothing_sent)


def parse_address(text: str) -> str | tuple[str, int]:
    """The path, or host and port, of a BOT_FASTCGI_SOCKET value. Raises ConfigurationError for another form."""
    if text.startswith("/"):
        return text
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if not match or not 1 <= int(match.group(3)) <= 65535:
        raise ConfigurationError(
            f"BOT_FASTCGI_SOCKET={text!r}: expected /path/to.sock or host:port, as `listen` of the host's PHP-FPM says"
        )
    return match.group(1) or match.group(2), int(match.group(3))


def _open(address: str | tuple[str, int], timeout_seconds: float) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, timeout_seconds)
    with contextlib.ExitStack() as undo:
        link = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        link.settimeout(timeout_seconds)
        with short_address(os.fsencode(address)) as short:
            link.connect(short)
        undo.pop_all()
        return link


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket; PHP-FPM is not running, or `listen` of its pool names another"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; PHP-FPM is not running, or `listen` of its pool names another"
    if isinstance(error, PermissionError):
        return f"user {os.geteuid()} may not use it; `listen.owner` and `listen.mode` of the pool decide who may"
    if isinstance(error, (BlockingIOError, TimeoutError, socket.timeout)):
        return "the host's PHP is overloaded: it takes no connection just now"
    return f"cannot be connected to ({error.strerror or error})"
