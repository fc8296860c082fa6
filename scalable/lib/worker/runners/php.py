"""Finds the PHP command-line program, in the places where hosts keep it, newest version first."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Optional

from scalable.lib.errors import BotMissing

# cPanel, CloudLinux, Plesk and DirectAdmin, after whatever is in PATH and the usual places.
PLACES = ("/usr/local/bin/php", "/usr/bin/php")
PATTERNS = (
    "opt/cpanel/ea-php*/root/usr/bin/php", "opt/alt/php*/usr/bin/php", "opt/plesk/php/*/bin/php",
    "usr/local/php*/bin/php", "usr/bin/php[0-9]*",
)


@dataclass(frozen=True)
class Php:
    """A PHP program that was asked what it is. `interface` is `cli` when it reads an update on standard input."""

    path: str
    version: str
    interface: str


@cache
def find_php(named: str = "") -> Php:
    """The PHP to use: the one named by BOT_PHP_BINARY, or the first usable one. Raises BotMissing."""
    if named:
        found = ask_php(shutil.which(named) or named)
        if found is None or found.interface != "cli":
            raise BotMissing(f"BOT_PHP_BINARY={named!r}: expected PHP's command-line program, {_seen(found)}")
        return found
    for candidate in _candidates():
        found = ask_php(candidate)
        if found is not None and found.interface == "cli":
            return found
    raise BotMissing("PHP was not found: set BOT_PHP_BINARY to its command-line program (your host's panel names it)")


def _seen(found: Optional[Php]) -> str:
    return f"it is {found.interface} of PHP {found.version}" if found else "it cannot be run or is no PHP"


def _candidates() -> Iterable[str]:
    in_path = shutil.which("php")
    if in_path:
        yield in_path
    yield from (place for place in PLACES if Path(place).is_file())
    for pattern in PATTERNS:
        yield from sorted((str(path) for path in Path("/").glob(pattern)), reverse=True)


def ask_php(path: str) -> Optional[Php]:
    """Version and interface of the program at `path`; None when it is no PHP. `-v` works in every interface."""
    try:
        answer = subprocess.run([path, "-v"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"PHP (\d+\.\d+\.\d+)\S* \(([a-z-]+)\)", answer.stdout)
    return Php(path, match.group(1).decode(), match.group(2).decode()) if match else None
