"""Finds PHP in the places where hosts keep it, newest version first: its command-line program, or php-cgi."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Optional

from scalable.lib.errors import BotMissing
from scalable.lib.usual_path import USUAL_PATH

# PHP's own names of interfaces: CLI reads an update on standard input, CGI is run as by a web server (CGI, FastCGI).
CLI = "cli"
CGI = "cgi-fcgi"
# On some hosts the program called `php` is php-cgi.
NAMES = {CLI: ("php",), CGI: ("php-cgi", "php")}
MEANINGS = {CLI: "PHP's command-line program", CGI: "php-cgi"}
REMEDIES = {
    CLI: "PHP was not found: set BOT_PHP_BINARY to its command-line program (your host's panel names it)",
    CGI: "php-cgi was not found: install it (apt install php-cgi, dnf install php-cgi), or set BOT_PHP_BINARY to your "
    "host's own, such as /opt/cpanel/ea-php83/root/usr/bin/php-cgi",
}
# cPanel, CloudLinux, Plesk and DirectAdmin, after whatever is in PATH and the usual places.
PLACES = ("/usr/local/bin", "/usr/bin")
PATTERNS = (
    "opt/cpanel/ea-php*/root/usr/bin/{name}",
    "opt/alt/php*/usr/bin/{name}",
    "opt/plesk/php/*/bin/{name}",
    "usr/local/php*/bin/{name}",
    "usr/local/php*/bin/{name}[0-9]*",
    "usr/bin/{name}[0-9]*",
)
# Without the variables of a CGI request this process may be serving: php-cgi would take the call for a request.
ENVIRONMENT = {"PATH": USUAL_PATH}
# php-cgi loads what ./php.ini names: in a folder such as /tmp another user could have written that.
NOBODYS_FOLDER = "/"


@dataclass(frozen=True)
class Php:
    """A PHP program that was asked what it is; `interface` is CLI, CGI, or another one, which no runner can use."""

    path: str
    version: str
    interface: str


@cache
def find_php(named: str = "", interface: str = CLI) -> Php:
    """The PHP to use, with this interface: the one BOT_PHP_BINARY names, or the first usable one. Raises BotMissing.

    For CGI, `named` may be the command-line program when php-cgi of the same version is beside it. The answer is kept.
    """
    if named:
        return _named(named, interface)
    for candidate in _candidates(interface):
        found = ask_php(candidate)
        if found is not None and found.interface == interface:
            return found
    raise BotMissing(REMEDIES[interface])


@cache
def php_cgi_like(php: Php) -> Optional[Php]:
    """php-cgi of the same version as `php`, to the second number, or None. The answer is kept."""
    beside = _php_cgi_beside(php)
    if beside is not None:
        return beside
    branch = php.version.rpartition(".")[0]
    for candidate in _candidates(CGI):
        found = ask_php(candidate)
        if found is not None and (found.interface, found.version.rpartition(".")[0]) == (CGI, branch):
            return found
    return None


@cache
def extensions_of(php: Php) -> frozenset[str]:
    """The extensions this PHP has loaded, in lower case; none when it does not say. The answer is kept."""
    lines = _printed([php.path, "-m"]).splitlines()
    return frozenset(line.strip().lower() for line in lines if line.strip() and not line.startswith("["))


@cache
def names_in(php: Php, extensions: frozenset[str]) -> frozenset[str]:
    """Functions and classes of these extensions of a PHP of the interface CLI, in lower case. The answer is kept."""
    code = (
        "foreach (array_slice($argv, 1) as $name) { $e = new ReflectionExtension($name); "
        'echo implode("\\n", array_merge(array_keys($e->getFunctions()), $e->getClassNames())), "\\n"; }'
    )
    printed = _printed([php.path, "-r", code, "--", *sorted(extensions)]) if extensions else ""
    return frozenset(printed.lower().split())


def forget_php() -> None:
    """Look for PHP anew: somebody may have installed it meanwhile."""
    for kept in (find_php, php_cgi_like, extensions_of, names_in):
        kept.cache_clear()


def _named(named: str, interface: str) -> Php:
    path = _whole(shutil.which(named) or named)
    found = ask_php(path)
    if found is not None and found.interface == interface:
        return found
    if found is not None and interface == CGI:
        beside = _php_cgi_beside(found)
        if beside is not None:
            return beside
    raise BotMissing(f"BOT_PHP_BINARY={named!r}: expected {MEANINGS[interface]}, {_seen(found, interface)}")


def _php_cgi_beside(php: Php) -> Optional[Php]:
    """php-cgi of the same version as `php`, in the same folder: php82 → php-cgi82, also behind symbolic links."""
    for path in (php.path, os.path.realpath(php.path)):
        folder, name = os.path.split(path)
        found = ask_php(os.path.join(folder, name.replace("php", "php-cgi", 1)))
        if found is not None and (found.interface, found.version) == (CGI, php.version):
            return found
    return None


def _seen(found: Optional[Php], interface: str) -> str:
    if found is None:
        return "it cannot be run or is no PHP"
    beside = ", and no php-cgi of that version is beside it" if interface == CGI else ""
    return f"it is {found.interface} of PHP {found.version}{beside}"


def _candidates(interface: str) -> Iterable[str]:
    for name in NAMES[interface]:
        in_path = shutil.which(name)
        if in_path:
            yield _whole(in_path)
        yield from (path for path in (f"{place}/{name}" for place in PLACES) if os.path.isfile(path))
        for pattern in PATTERNS:
            yield from sorted((str(path) for path in Path("/").glob(pattern.format(name=name))), reverse=True)


def _whole(path: str) -> str:
    """A path that holds in every folder; a name stays one."""
    return os.path.abspath(path) if os.sep in path else path


def ask_php(path: str) -> Optional[Php]:
    """Version and interface of the program at `path`; None when it is no PHP. `-v` works in every interface."""
    match = re.search(r"PHP (\d+\.\d+\.\d+)\S* \(([a-z-]+)\)", _printed([path, "-v"]), re.ASCII)
    return Php(path, match.group(1), match.group(2)) if match else None


def mysql_socket(php: Php) -> str:
    """Where this PHP, of the interface CLI, looks for the database server of `localhost`; empty: unknown."""
    code = "echo ini_get('pdo_mysql.default_socket') ?: ini_get('mysqli.default_socket');"
    printed = _printed([php.path, "-r", code])
    return printed.strip() if printed.startswith("/") else ""


def _printed(command: list[str]) -> str:
    """Empty when the program cannot be started, or does not end."""
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=NOBODYS_FOLDER,
            timeout=10,
            check=False,
            env=ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode("utf-8", "surrogateescape")
