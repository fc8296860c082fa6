"""Where PHP is reached by FastCGI, as the runner sees it: the host's PHP-FPM, or a php-cgi of the worker's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from scalable.lib.runners.php.fastcgi_client import Answer, FastCgiConnection
from scalable.lib.runners.php.prelude import Prelude


@dataclass(frozen=True)
class Loss:
    """Why a connection closed before the request ended, and whether it is certain that the bot had not begun."""

    cause: str
    had_not_begun: bool


class FastCgiServer(ABC):
    """For one request at a time. `name` is what messages call it."""

    name: str
    keeps_connection: bool

    @abstractmethod
    def check(self) -> str:
        """Where requests will go, in a few words. Raises BotMissing when they cannot."""

    @abstractmethod
    def connect(self, deadline: float) -> FastCgiConnection:
        """A connection without a request under way, before `deadline` (time.monotonic). Raises BotMissing."""

    @abstractmethod
    def release(self, connection: FastCgiConnection, is_reusable: bool) -> None:
        """The request on it ended in order."""

    @abstractmethod
    def abandon(self, connection: FastCgiConnection) -> str:
        """End the request under way as far as that is possible; a text on what may still run, or an empty one."""

    @abstractmethod
    def lost(self, connection: FastCgiConnection, answer: Answer) -> Loss:
        """The connection closed before the request ended: find out why, and be ready for the next one."""

    def serve(self, bot: Path, site: Path) -> None:  # noqa: B027 - nothing to do for PHP-FPM
        """The bot of all requests to come, and the folder that is DOCUMENT_ROOT."""

    @property
    def prelude(self) -> Prelude:
        """The prelude of the PHP behind the connection; one that tells nothing where it has none."""
        return Prelude(problem="it is not started by a worker")

    def renew(self) -> None:  # noqa: B027 - nothing to do for PHP-FPM
        """Drop what is cached of the bot's files."""

    def close(self) -> None:  # noqa: B027 - not every server keeps something
        """Release everything; safe to repeat, and another request may follow."""
