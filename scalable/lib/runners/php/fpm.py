"""Who runs PHP behind FastCGI, as the runner sees it, and one of the two: the host's own PHP-FPM."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from dataclasses import dataclass
from typing import Protocol

from scalable.lib.errors import BotMissing, ConfigurationError
from scalable.lib.runners.php.fastcgi_client import Answer, FastCgiConnection

# A server on the same machine that has not taken a connection by then takes none.
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Loss:
    """Why a connection closed before the request ended, and whether it is certain that the bot had not begun."""

    cause: str
    had_not_begun: bool


class FastCgiServer(Protocol):
    """For one request at a time. `name` is what messages call it."""

    name: str
    keeps_connection: bool

    def check(self) -> str:
        """Where requests will go, in a few words. Raises BotMissing when they cannot."""

    def connect(self, deadline: float) -> FastCgiConnection:
        """A connection without a request under way, before `deadline` (time.monotonic). Raises BotMissing."""

    def release(self, connection: FastCgiConnection, is_reusable: bool) -> None:
        """The request on it ended in order."""

    def abandon(self, connection: FastCgiConnection) -> str:
        """End the request under way as far as that is possible; what a person should know of the rest, or nothing."""

    def lost(self, connection: FastCgiConnection, answer: Answer) -> Loss:
        """The connection closed before the request ended: find out why, and be ready for the next one."""

    def renew(self) -> None:
        """Forget whatever is kept of the bot's files."""

    def close(self) -> None:
        """Let go of everything; safe to repeat, and another request may follow."""


class HostServer:
    """The host's PHP-FPM at `address`, `/path/to.sock` or `host:port`. Raises ConfigurationError for another form.

    Every request gets a connection of its own: a process of PHP-FPM serves nobody else while one is kept.
    """

    keeps_connection = False

    def __init__(self, address: str) -> None:
        self.name = f"BOT_FASTCGI_SOCKET={address}"
        self._address = parse_address(address)

    def check(self) -> str:
        """See FastCgiServer.check."""
        self.connect(time.monotonic() + CONNECT_SECONDS).close()
        return f"the host's PHP by FastCGI, {self.name}"

    def connect(self, deadline: float) -> FastCgiConnection:
        """See FastCgiServer.connect."""
        seconds = max(0.001, min(CONNECT_SECONDS, deadline - time.monotonic()))
        try:
            return FastCgiConnection(_open(self._address, seconds))
        except OSError as error:
            raise BotMissing(f"{self.name}: {_reason(error)}") from error

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

    def renew(self) -> None:
        """PHP-FPM looks after its files itself."""

    def close(self) -> None:
        """Nothing is kept."""


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
        link.connect(address)
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
