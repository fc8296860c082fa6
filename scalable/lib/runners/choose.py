"""Chooses how the bot is run, from the settings; only the chosen way is loaded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import BotMissing, BotUnsuitable, NoProcessLeft
from scalable.lib.runners.bot_environment import ALL, php_environment, program_environment
from scalable.lib.runners.php.cgi_request import WebRequest, site_folder
from scalable.lib.runners.php.find_php import CGI, CLI
from scalable.lib.runners.php.public_address import AddressNote
from scalable.lib.runners.runner import Runner

if TYPE_CHECKING:  # a web process reads settings, too, and starts no process
    from scalable.lib.runners.php.auto_mode import Circumstances
    from scalable.lib.runners.php.bot_source import BotSource
    from scalable.lib.runners.php.fastcgi_server import FastCgiServer
    from scalable.lib.runners.php.find_php import Php
    from scalable.lib.runners.php.prelude import Prelude
    from scalable.lib.runners.process_reaper import ProcessReaper

# As BOT_LEGACY_MODE names them; the first chooses by what BOT_LEGACY_PATH names.
MODES = ("auto", "cli", "cgi", "fastcgi", "http", "python")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z_][A-Za-z_0-9]*)", re.DOTALL)

_QUERY = re.compile(r"(?P<file>.+?\.(?:php[0-9]*|phtml))\?(?P<query>.*)", re.DOTALL)
OwnAddress = Callable[[], str]
NO_ENVIRONMENT: Mapping[str, str] = MappingProxyType({})


def _unknown() -> str:
    return ""


@dataclass(frozen=True)
class BotSettings:
    """The settings of the bot.

    `target` is the absolute path of a file, such a path with `:function` behind it, or an address. `secret` is what
    Telegram would send as its secret token. `socket_folder` is private to this user. `query` is what follows a `?` in
    the path of a PHP bot; where people reach it is read from `address_note` and from where the `webhook_script` is. A
    bot that has answered may work on until `background_seconds` after its start. `variables` are names of its
    environment, see bot_environment.py. `is_strict`: a run with warnings has failed.
    """

    target: str = field(repr=False)
    mode: str
    timeout_seconds: float
    php_binary: str
    fastcgi_socket: str
    secret: str = field(repr=False)
    socket_folder: Path
    query: str = field(default="", repr=False)
    address_note: Path = Path()
    webhook_script: Path = Path()
    background_seconds: float = 0.0
    variables: tuple[str, ...] = (ALL,)
    is_strict: bool = False

    @property
    def chosen_mode(self) -> str:
        """The mode; `auto` is decided by the target, and of a PHP file by its source, see `decided`."""
        if self.mode != "auto" or self.is_decided_by_source:
            return self.mode
        if is_address(self.target):
            return "http"
        return "python" if function_of(self.target) else "cli"

    @property
    def is_decided_by_source(self) -> bool:
        """Whether how it is run depends on what is in its file."""
        return self.mode == "auto" and self.php_script is not None

    @property
    def file(self) -> Optional[Path]:
        """The bot's own file; None for an address."""
        if is_address(self.target):
            return None
        function = function_of(self.target)
        return function[0] if function else Path(self.target)

    @property
    def php_script(self) -> Optional[Path]:
        """The bot's own file where that is one of PHP; else None."""
        return Path(self.target) if self.target.endswith(".php") and not is_address(self.target) else None

    @property
    def php_interface(self) -> Optional[str]:
        """The kind of PHP program of this machine that runs it, see find_php.py; None when none does."""
        mode, file = self.chosen_mode, self.file
        if mode == "cli" and file is not None and file.suffix == ".php":
            return CLI
        return CGI if mode == "cgi" or (mode == "fastcgi" and not self.fastcgi_socket) else None


def is_address(target: str) -> bool:
    """Whether a BOT_LEGACY_PATH is an address rather than a file."""
    return _ADDRESS.match(target) is not None


def function_of(target: str) -> Optional[tuple[Path, str]]:
    """File and function of a BOT_LEGACY_PATH such as `bot.py:handle`; None for any other."""
    found = _FUNCTION.fullmatch(target)
    return (Path(found.group("file")), found.group("function")) if found and not is_address(target) else None


def split_query(target: str) -> tuple[str, str]:
    """The file of a BOT_LEGACY_PATH such as `bot.php?s=k`, and its query; of any other the whole, and nothing."""
    found = None if is_address(target) else _QUERY.fullmatch(target)
    return (found.group("file"), found.group("query")) if found else (target, "")


def without_password(target: str) -> str:
    """The same for messages and logs: without user, password and query, which may be a key."""
    if not is_address(target):
        file, query = split_query(target)
        return f"{file}?…" if query else file
    shown = re.sub(r"^(https?://)[^/?#]*@", r"\1…@", target, flags=re.IGNORECASE)
    return re.sub(r"\?.*", "?…", shown, flags=re.DOTALL)


def mismatch(target: str, mode: str) -> Optional[str]:
    """What BOT_LEGACY_MODE expects of BOT_LEGACY_PATH, when the two do not go together; None when they do."""
    if mode == "http" and not is_address(target):
        return "an address such as https://example.com/bot.php"
    if mode == "python" and function_of(target) is None:
        return "a file and a function such as ../bot.py:handle"
    if mode in ("cli", "cgi", "fastcgi") and (is_address(target) or function_of(target)):
        return "a file such as ../bot.php"
    return None


def decided(
    bot: BotSettings,
    source: Optional[BotSource] = None,
    own_address: OwnAddress = _unknown,
    environment: Mapping[str, str] = NO_ENVIRONMENT,
) -> BotSettings:
    """The same with a mode, where that depends on the bot's `source` (read now when it is not given).

    `environment` as for create_runner. Raises BotUnsuitable, with the reason, when nothing is certain to run its
    updates.
    """
    if not bot.is_decided_by_source or bot.php_script is None:
        return bot
    from scalable.lib.runners.php.auto_mode import choose_way
    from scalable.lib.runners.php.bot_source import read_bot_source

    source = source or read_bot_source(bot.php_script)
    way = choose_way(source, circumstances(bot, own_address))
    signs = source.signs
    if way.mode == "cli" and signs.body is not None and (signs.stdin is None or signs.method is not None):
        _require_prelude(bot, environment)
    return replace(bot, mode=way.mode, target=way.address or bot.target, php_binary=way.php or bot.php_binary)


def _require_prelude(bot: BotSettings, environment: Mapping[str, str]) -> None:
    """Raises BotUnsuitable when php://input would be empty for a bot that is run by PHP's command-line program."""
    from scalable.lib.runners.php.find_php import find_php

    try:
        php = find_php(bot.php_binary, CLI)
        problem = prelude_of(bot, php, environment).problem
    except (BotMissing, OSError, NoProcessLeft):  # told by the check of the runner, and by its runs
        return
    if problem:
        raise BotUnsuitable(
            f"the bot would not find its update in php://input: {problem}. Allow it there, set BOT_LEGACY_PATH to the "
            "bot's address, or install php-cgi of the site's version"
        )


def circumstances(bot: BotSettings, own_address: OwnAddress = _unknown) -> Circumstances:
    """What the settings say to the choice of a mode."""
    from scalable.lib.runners.php.auto_mode import Circumstances

    return Circumstances(bot.php_binary, bot.fastcgi_socket, bot.secret, bool(bot.query), own_address)


def create_runner(
    bot: BotSettings,
    environment: Mapping[str, str],
    reaper: Optional[ProcessReaper] = None,
    own_address: OwnAddress = _unknown,
) -> Runner:
    """The Runner for these settings; nothing is started yet.

    A PHP bot finds in its environment what it needs of `environment`, the owner's. `reaper` ends the bot when this
    process is killed. `own_address` tells where the bot's web server has it, as far as that is known. Raises
    ConfigurationError for a BOT_FASTCGI_SOCKET that cannot be one.
    """
    if bot.is_decided_by_source and bot.php_script is not None:
        from scalable.lib.runners.auto_runner import AutoRunner

        return AutoRunner(
            bot.php_script,
            lambda source: decided(bot, source, own_address, environment),
            lambda way: _create(way, environment, reaper),
        )
    return _create(bot, environment, reaper)


def _create(bot: BotSettings, environment: Mapping[str, str], reaper: Optional[ProcessReaper]) -> Runner:
    mode, file, function = bot.chosen_mode, bot.file, function_of(bot.target)
    if file is None:
        from scalable.lib.runners.http.runner import HttpRunner

        return HttpRunner(bot.target, bot.timeout_seconds, bot.secret)
    if function is not None:
        from scalable.lib.runners.python.runner import PythonRunner

        return PythonRunner(*function, bot.timeout_seconds)
    note = AddressNote(bot.address_note, bot.webhook_script, file)
    request = WebRequest(bot.secret, bot.query, note.read)
    if mode == "fastcgi":
        return _create_fastcgi(bot, file, request, environment, reaper)
    rest = (bot.background_seconds, bot.variables, bot.is_strict)
    how = (file, bot.timeout_seconds, bot.php_binary, request, environment, reaper, *rest)
    if mode == "cgi":
        from scalable.lib.runners.php.cgi import CgiRunner

        return CgiRunner(*how)
    from scalable.lib.runners.cli import CliRunner

    return CliRunner(*how)


def _create_fastcgi(
    bot: BotSettings, file: Path, request: WebRequest, environment: Mapping[str, str], reaper: Optional[ProcessReaper]
) -> Runner:
    from scalable.lib.runners.php.fastcgi import FastCgiRunner

    if bot.fastcgi_socket:
        from scalable.lib.runners.php.fpm import HostServer
        from scalable.lib.runners.php.prelude_of_fpm import PreludeOfFpm

        server: FastCgiServer = HostServer(bot.fastcgi_socket, PreludeOfFpm())
    else:
        from scalable.lib.runners.php.resident_php import ResidentPhpCgi

        own = partial(ResidentPhpCgi, environment=environment, reaper=reaper)
        server = own(bot.socket_folder, bot.php_binary, named=bot.variables, takes_log=bot.is_strict)
    rest = (bot.background_seconds, bot.variables)
    return FastCgiRunner(file, bot.timeout_seconds, server, request, environment, *rest)


def prelude_of(bot: BotSettings, php: Php, environment: Mapping[str, str]) -> Prelude:
    """How a worker with this environment starts `php` for the bot, a file."""
    from scalable.lib.runners.php.prelude import prelude_for

    file = bot.file or Path()
    site = site_folder(file, AddressNote(bot.address_note, bot.webhook_script, file).read())
    if php.interface == CLI:
        return prelude_for(php, file, site, program_environment(environment, bot.variables, is_php=True))
    return prelude_for(php, file, site, php_environment(environment, bot.variables))


def problem_of_fpm(bot: BotSettings) -> str:
    """Why the host's PHP-FPM runs the bot, a file, without the prelude now; empty: with it. Raises BotMissing."""
    from scalable.lib.runners.php.fpm import CONNECT_SECONDS, HostServer
    from scalable.lib.runners.php.prelude_of_fpm import PreludeOfFpm

    file = bot.file or Path()
    server = HostServer(bot.fastcgi_socket, PreludeOfFpm())
    server.serve(file, site_folder(file, AddressNote(bot.address_note, bot.webhook_script, file).read()))
    server.connect(time.monotonic() + CONNECT_SECONDS).close()
    return server.prelude.problem


def checked(runner: Runner) -> str:
    """The result of its check, for a process that will not run the bot itself. Raises BotMissing."""
    try:
        return runner.check()
    finally:
        runner.close()
