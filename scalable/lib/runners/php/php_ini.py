"""What php.ini and .user.ini files say, as far as it decides how PHP is to be started. Sets nothing."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from scalable.lib.host_limits import within_limits
from scalable.lib.runners.php.find_php import CLI, NOBODYS_FOLDER, Php

SECONDS = 10
NAMES = ("auto_prepend_file", "disable_functions", "open_basedir", "user_ini.filename")
MAX_BYTES = 65536
# The command-line program prints `name => local => master`, php-cgi a table in HTML. Before PHP 8 an empty value is
# `no value` in both.
_TEXT = re.compile(r"^(?P<name>[\w.]+) => (?P<value>.*?) => .*$", re.MULTILINE)
_HTML = re.compile(r'<td class="e">(?P<name>[\w.]+)\s*</td><td class="v">(?P<value>.*?)</td>', re.DOTALL)
_LINE = re.compile(r"""\s*(?P<name>[A-Za-z][\w.]*)\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^;]*)""")
# Loaded by php.ini alone; a .user.ini that names one has no effect under a web server.
_NEVER = ("extension", "zend_extension", "user_ini.filename", "user_ini.cache_ttl", "disable_functions")


@cache
def ini_values(php: str, environment: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The values of NAMES that the PHP program has without a script; nothing when it does not tell. Kept.

    Raises OSError, or NoProcessLeft, when it cannot be asked just now; that is not kept.
    """
    printed = _printed([php, "-i"], environment)
    pattern = _HTML if "<td" in printed else _TEXT
    found = {match["name"]: _as_text(match["value"]) for match in pattern.finditer(printed)}
    return {name: found[name] for name in NAMES if name in found}


@cache
def can_read(php: Php, open_basedir: str, file: Path, environment: tuple[tuple[str, str], ...]) -> bool:
    """Whether the PHP program may read a script of ours under this open_basedir. Kept. Raises as ini_values."""
    command = [php.path, *as_options({"open_basedir": open_basedir})]
    if php.interface == CLI:  # a script that it is given as an argument is read whatever open_basedir says
        return _printed([*command, "-r", "echo @fopen($argv[1], 'r') ? 'yes' : '';", str(file)], environment) == "yes"
    return "No syntax errors" in _printed([*command, "-l", str(file)], environment)


def forget_settings() -> None:
    """Ask each PHP anew the next time: its php.ini may have changed."""
    ini_values.cache_clear()
    can_read.cache_clear()


def user_ini(folder: Path, site: Path, name: str) -> dict[str, str]:
    """What files called `name` say from `site` down to `folder`, as PHP reads them for a web server: nearest wins.

    Source: php_cgi_ini_activate_user_config in PHP's sapi/cgi/cgi_main.c.
    """
    way = [*reversed(folder.parents), folder]
    values: dict[str, str] = {}
    for place in way[way.index(site) :] if site in way else [folder]:
        values.update(_read(place / name))
    return values


def as_options(values: Mapping[str, str]) -> tuple[str, ...]:
    """`-d name=value` for each of them, with the value as it is written in a file."""
    return tuple(word for name, value in values.items() for word in ("-d", f"{name}={value}"))


def _read(file: Path) -> dict[str, str]:
    try:
        text = file.read_bytes()[:MAX_BYTES].decode("utf-8", "surrogateescape")
    except OSError:  # most folders have none, and one that may not be read is none for PHP either
        return {}
    found = (_LINE.match(line) for line in text.splitlines())
    pairs = ((match["name"], match["value"].strip()) for match in found if match)
    return {name: value for name, value in pairs if name.lower() not in _NEVER}


def _as_text(value: str) -> str:
    text = html.unescape(re.sub(r"<[^>]*>", "", value)).strip()
    return "" if text == "no value" else text


def _printed(command: list[str], environment: tuple[tuple[str, str], ...]) -> str:
    try:
        with within_limits():
            answer = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=NOBODYS_FOLDER,
                timeout=SECONDS,
                check=False,
                env=dict(environment),
            )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not say in {SECONDS} s what its settings are") from error
    return answer.stdout.decode("utf-8", "surrogateescape")
