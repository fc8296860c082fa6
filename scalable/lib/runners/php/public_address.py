"""Where people and Telegram reach the bot: what of the webhook's address a bot may look for in its request.

The addresses are noted in a file of the data folder by whoever learns them, because a bot's run asks no database.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import unquote, urlsplit

PORTS = {"https": 443, "http": 80}
# What is noted, the surest first: where Telegram says the webhook is, where a request of it came in, and where it was
# before it led to the queue.
ADDRESS_NOTE = ".ht-address"
ADDRESSES = ("webhook", "request", "before")
# A name or an address, and no more than that: it becomes a header of the bot's request.
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


@dataclass(frozen=True)
class PublicAddress:
    """`host` is a name without the port. `site` is the folder that the web server shows as the whole host; None:
    unknown. `path` is the bot's own, as it was called before the queue; empty: unknown.
    """

    scheme: str = "https"
    host: str = "localhost"
    port: int = 443
    site: Optional[Path] = None
    path: str = ""

    @property
    def authority(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class AddressNote:
    """Reads the note `file` anew when it was written anew. `script` is the file of the webhook, `bot` that of the bot.

    For one thread.
    """

    def __init__(self, file: Path, script: Path, bot: Path) -> None:
        self._file, self._script, self._bot = file, script, bot
        self._seen: Optional[tuple[int, int]] = None
        self._address = PublicAddress()

    def read(self) -> PublicAddress:
        """What the note says; the default address while there is none."""
        try:
            state = os.stat(self._file)
        except OSError:
            return self._address
        if (state.st_ino, state.st_mtime_ns) != self._seen:
            self._seen = state.st_ino, state.st_mtime_ns
            noted = noted_addresses(self._file)
            self._address = public_address(
                [noted[name] for name in ADDRESSES if name in noted], self._script, self._bot
            )
        return self._address


def noted_addresses(file: Path) -> dict[str, str]:
    """The addresses in the note `file`, by name; none when it is not there or holds something else."""
    try:
        noted = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: noted[name] for name in ADDRESSES if isinstance(noted.get(name), str)} if type(noted) is dict else {}


def public_address(urls: Sequence[str], script: Path, bot: Path) -> PublicAddress:
    """What addresses of the host tell, the surest first: those of the webhook, whose file is `script`, and of the bot.

    Any may be empty, or something else: what cannot be read tells nothing.
    """
    read = [parts for parts in map(_parts, urls) if parts is not None]
    if not read:
        return PublicAddress()
    path = next((parts[3] for parts in read if os.path.basename(parts[3]) == bot.name), "")
    sites = [_site(bot, path), *(_site(script, parts[3]) for parts in read)]
    site = next((site for site in sites if site in bot.parents), None)
    return PublicAddress(*read[0][:3], site, path)


def _parts(url: str) -> Optional[tuple[str, str, int, str]]:
    """Scheme, host, port and path; None when that is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in PORTS or not host or not _HOST_CHARACTERS.issuperset(host):
        return None
    return parts.scheme, host, port or PORTS[parts.scheme], unquote(parts.path)


def _site(file: Path, path: str) -> Optional[Path]:
    """The folder below which `file` has that path; None when it has it nowhere."""
    names = [name for name in path.split("/") if name]
    if not names or file.parts[-len(names) :] != tuple(names):
        return None
    return file.parents[len(names) - 1]
