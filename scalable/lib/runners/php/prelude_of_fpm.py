"""How the prelude comes before a bot that the host's own PHP-FPM runs, and where it cannot.

A setting that comes with one request (PHP_VALUE, PHP_ADMIN_VALUE) stays in the process that served it
(https://bugs.php.net/bug.php?id=53611), so that pages of the site would be run behind the prelude, too. What concerns
one request alone is its main script: that is fpm_entry.php, which includes the bot. Whether the host's PHP may read
it is asked first, by a request that runs nothing; where it may not, or where the bot could notice, the bot is run
without.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from scalable.lib.runners.php.cgi_request import PLAIN, request_variables
from scalable.lib.runners.php.cgi_response import NotACgiResponse, parse_response
from scalable.lib.runners.php.fastcgi_client import FastCgiConnection, RequestEnd
from scalable.lib.runners.php.fastcgi_protocol import begin_request, finish_request
from scalable.lib.runners.php.prelude import FILE, Prelude
from scalable.lib.runners.php.public_address import PublicAddress
from scalable.lib.runners.php.script_report import ReportedOutput, new_key

ENTRY = FILE.with_name("fpm_entry.php")
# For how long an answer of the host's PHP holds: its settings may change.
KNOWN_SECONDS = 300.0
# And for how long it is left alone when it was too busy to answer.
BUSY_SECONDS = 30.0
ANSWER_SECONDS = 5.0
BUSY = "the host's PHP did not say in time whether it may read the file that reports"
USER_INI = ".user.ini"
MAX_BYTES = 1024 * 1024
# By these a bot sees which script is the main one.
_LOOKS_AT_MAIN = re.compile(
    rb"\b(debug_(print_)?backtrace|get_(included|required)_files|getlastmod|getmyinode)\b", re.I
)

Connect = Callable[[float], FastCgiConnection]
_State = Optional[tuple[int, int, int, int]]


class PreludeOfFpm:
    """Knows it for one bot at a time, and asks again now and then, and when the bot has changed."""

    def __init__(self) -> None:
        self._known: Optional[Prelude] = None
        self._for: Optional[tuple[Path, Path, _State]] = None
        self._until = 0.0

    def find(self, bot: Path, site: Path, connect: Connect, deadline: float) -> Prelude:
        """The Prelude for `bot`, of the folder `site`. Raises BotMissing where `connect` does.

        Takes a few seconds at most, before `deadline` (time.monotonic); without an answer by then it has a problem.
        """
        asked_for = (bot, site, _state(bot))
        if self._known is not None and self._for == asked_for and time.monotonic() < self._until:
            return self._known
        found, known_seconds = Prelude(problem=_problem(bot, site)), KNOWN_SECONDS
        if not found.problem:
            found = _asked(bot, site, connect, min(deadline, time.monotonic() + ANSWER_SECONDS))
            known_seconds = BUSY_SECONDS if found.problem == BUSY else KNOWN_SECONDS
        self._known, self._for, self._until = found, asked_for, time.monotonic() + known_seconds
        return found


def _state(bot: Path) -> _State:
    try:
        state = os.stat(bot)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _problem(bot: Path, site: Path) -> str:
    """Why the bot would notice that it is not the main script; empty when it would not."""
    if bot.suffix != ".php":
        return f"{bot} is no .php file"
    try:
        with open(bot, "rb") as file:
            found = _LOOKS_AT_MAIN.search(file.read(MAX_BYTES))
    except OSError as error:
        return f"{bot} cannot be read ({error.strerror or error})"
    if found is not None:
        return f"the bot looks at which script is the main one ({found.group().decode('ascii')})"
    for folder in _way(bot.parent, site) ^ _way(ENTRY.parent, site):
        if (folder / USER_INI).exists():
            return f"{folder / USER_INI} is heeded only for one of the bot and {ENTRY}"
    return ""


def _way(folder: Path, site: Path) -> frozenset[Path]:
    """The folders whose .user.ini PHP reads for a script in `folder`."""
    way = [folder, *folder.parents]
    return frozenset(way[: way.index(site) + 1] if site in way else [folder])


def _asked(bot: Path, site: Path, connect: Connect, deadline: float) -> Prelude:
    prelude, key = Prelude(main_script=str(ENTRY), bot=str(bot)), new_key()
    errors = ReportedOutput(key)
    variables = {**request_variables(bot, PLAIN, PublicAddress()), "DOCUMENT_ROOT": str(site)}
    request = begin_request(variables, False) + finish_request(b"{}", prelude.probe(key))
    connection = connect(deadline)
    try:
        answer = connection.ask(request, deadline, lambda: None, errors)
    finally:
        connection.close()
    if answer.ended is not RequestEnd.IN_ORDER:
        return Prelude(problem=BUSY)
    try:
        status, _, body = parse_response(bytes(answer.output.head))
    except NotACgiResponse:
        status, body = 0, b""
    if body.strip() != key.encode():
        return Prelude(problem=f"the host's PHP may not read {ENTRY} and the bot (HTTP status {status})")
    if errors.report is None:
        return Prelude(problem="the host's PHP keeps its reports to itself (fastcgi.logging)")
    return prelude
