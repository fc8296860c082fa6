"""Where a queue's database is. Plain values: importing this loads no driver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

DEFAULT_PORT = 3306
# Where PHP and the distributions put the server's socket, most common first.
SOCKET_PLACES = (
    "/var/lib/mysql/mysql.sock",
    "/run/mysqld/mysqld.sock",
    "/var/run/mysqld/mysqld.sock",
    "/tmp/mysql.sock",
)


@dataclass(frozen=True)
class MySqlAddress:
    """A MySQL or MariaDB database. `socket` set → that Unix socket; otherwise `host` and `port` over TCP.

    `server_user` is a user of this machine, a name or a number, who runs the server besides those that usually do.
    """

    host: str
    port: int
    socket: Optional[str]
    database: str
    user: str
    password: str = field(repr=False)
    server_user: str = ""

    def __str__(self) -> str:
        place = self.socket or f"{self.host}:{self.port}"
        return f"MySQL database {self.database!r} at {place}"


@dataclass(frozen=True)
class SqliteAddress:
    """The embedded database: one file in the data folder."""

    path: Path

    def __str__(self) -> str:
        return f"the embedded SQLite file {self.path}"


DatabaseAddress = Union[MySqlAddress, SqliteAddress]


def parse_host(text: str) -> tuple[str, int, Optional[str]]:
    """(host, port, socket) of a BOT_DB_HOST value: `host`, `host:port`, `[v6]:port`, `/path/to.sock`, `localhost`.

    `localhost` has PHP's meaning: the server's socket; `socket` is then "" and is searched for at connect time.
    Raises ValueError saying what was expected.
    """
    if text.startswith("/"):
        return "localhost", DEFAULT_PORT, text
    if text == "localhost":
        return "localhost", DEFAULT_PORT, ""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?", text)
    port = int(match.group(3) or DEFAULT_PORT) if match else 0
    if not match or not 1 <= port <= 65535:
        raise ValueError("host, host:port, /path/to.sock or localhost")
    return match.group(1) or match.group(2), port, None
