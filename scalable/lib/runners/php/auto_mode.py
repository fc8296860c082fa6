"""Which way a PHP bot is run where BOT_LEGACY_MODE says auto: one that is certain to run its updates, or none.

Of the bot it knows what its source says, of the host which PHP it has. What is not certain is never tried: a bot that
is run in a way it does not expect ends without an error, and its updates would count as done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from scalable.lib.errors import BotMissing, BotUnsuitable
from scalable.lib.runners.php.bot_source import BotSource
from scalable.lib.runners.php.find_php import (
    CGI,
    CLI,
    Php,
    extensions_of,
    find_php,
    names_in,
    php_cgi_like,
)
from scalable.lib.runners.php.source_signs import Place

# What php-cgi says it is; a bot may ask for the first letters only.
_OF_PHP_CGI = frozenset(("cgi", "cgi-fcgi"))
_OF_SHELLS = frozenset(("cli", "cli-server", "phpdbg", "embed"))
# Extensions that PHP's command-line program has for itself, or that change nothing but speed.
_NOT_FOR_BOTS = frozenset(("readline", "pcntl", "zend opcache", "xdebug", "pcov", "ffi"))
DECIDE = "or decide how it is run: BOT_LEGACY_MODE"


@dataclass(frozen=True)
class Way:
    """`mode` is one of choose.MODES. `php`: the program that fastcgi is to use. `address`: where http is to post."""

    mode: str
    php: str = ""
    address: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What the settings say besides. `own_address`: of the bot at its web server, empty where that is not known."""

    php_binary: str
    fastcgi_socket: str
    secret: str = field(repr=False)
    has_query: bool
    own_address: Callable[[], str]


def choose_way(source: BotSource, around: Circumstances) -> Way:
    """The way to run it. Raises BotUnsuitable with the reason and what to do, in one line."""
    refuse_what_would_do_nothing(source, around)
    signs = source.signs
    if not source.is_there or _is_for_a_shell(source):
        return Way("cli")
    if around.fastcgi_socket:
        return Way("fastcgi")
    named = signs.interfaces - _OF_SHELLS
    php_cgi = None if named and not named & _OF_PHP_CGI else _php_cgi(source, around.php_binary)
    if php_cgi is not None:
        return Way("fastcgi", php_cgi.path)
    by_itself = signs.request or (signs.request_query if around.has_query else None)
    if signs.interface is None and signs.console is None and by_itself is None:
        return Way("cli")
    return _at_its_web_server(source, around, by_itself)


def _is_for_a_shell(source: BotSource) -> bool:
    """Whether it takes its update in a shell, too, where it may answer by printing. Raises BotUnsuitable.

    One that asks whether it was started by hand may be about to show a menu to its owner there: the web server is its
    place when it reads its update as from there as well.
    """
    signs = source.signs
    if signs.console is None:
        return signs.stdin is not None or signs.refuses_web is not None
    if signs.refuses_web is not None or (signs.stdin is not None and signs.body is None and not source.is_complete):
        raise BotUnsuitable(
            f"the bot asks whether it was started in a shell ({signs.console}), and it cannot be told whether it takes "
            f"an update there: name the file that takes one update from php://input in BOT_LEGACY_PATH, {DECIDE}"
        )
    return signs.stdin is not None and signs.body is None


def refuse_what_would_do_nothing(source: BotSource, around: Circumstances) -> None:
    """Raises BotUnsuitable for a bot that would end without a word on every update, whichever way it is run."""
    signs, problem = source.signs, secret_problem(source, around.secret)
    if signs.polls is not None and signs.body is None and signs.stdin is None:
        raise BotUnsuitable(
            f"the bot fetches its updates itself (getUpdates in {signs.polls}) and would not end: name the file that "
            f"takes one update from php://input in BOT_LEGACY_PATH, {DECIDE}"
        )
    if problem is not None:
        raise BotUnsuitable(f"{problem}, {DECIDE}")
    if signs.query_gate is not None and not around.has_query:
        keys = "&".join(f"{key}=…" for key in signs.query if key) or "…"
        raise BotUnsuitable(
            f"the bot does nothing without its query ({signs.query_gate}): write it behind the file as in its old "
            f"webhook, BOT_LEGACY_PATH=…/{source.file.name}?{keys}, {DECIDE}"
        )


def secret_problem(source: BotSource, secret: str) -> Optional[str]:
    """Why a bot that compares the secret token itself would refuse every update, and what to do; None: it would not."""
    signs = source.signs
    if signs.secret is None or (signs.secret_values and secret in signs.secret_values):
        return None
    if signs.secret_values:
        seen = "BOT_WEBHOOK_SECRET is " + ("another one" if secret else "empty")
        return f"the bot compares the secret token itself ({signs.secret}), and {seen}: set it to the one in the bot"
    if secret:
        return None
    return (
        f"the bot compares the secret token itself ({signs.secret}) with one that is not in its source, and "
        "BOT_WEBHOOK_SECRET is empty: set it to the one the bot has"
    )


def _php_cgi(source: BotSource, php_binary: str) -> Optional[Php]:
    """The php-cgi that can take the place of the command-line program; None when it is not certain that one can.

    Which PHP the site itself runs cannot be told from here, so that program is what an owner has tried.
    """
    try:
        cli = find_php(php_binary, CLI)
    except BotMissing:  # BOT_PHP_BINARY names php-cgi, or there is nothing else
        try:
            return find_php(php_binary, CGI)
        except BotMissing:
            return None
    found = php_cgi_like(cli)
    return None if found is None or _lacks_extensions(source, cli, found) else found


def _lacks_extensions(source: BotSource, cli: Php, php_cgi: Php) -> bool:
    """Whether the bot may use an extension that the command-line program has, and php-cgi has not."""
    missing = extensions_of(cli) - extensions_of(php_cgi) - _NOT_FOR_BOTS
    if not missing or not source.is_complete:
        return bool(missing)
    used = source.signs.names
    drivers = any(name.startswith("pdo_") for name in missing) and "pdo" in used
    return drivers or bool(used & names_in(cli, missing))


def _at_its_web_server(source: BotSource, around: Circumstances, by_itself: Optional[Place]) -> Way:
    """For a bot that asks which interface PHP has, or reads its request `by_itself`, where there is only `cli`."""
    address = around.own_address()
    if address:
        return Way("http", address=address)
    place = source.signs.console or source.signs.interface
    asked = f"the bot asks which interface PHP has ({place}), and no PHP here has the one it wants"
    if place is None:
        asked = f"the bot reads its request by getenv or filter_input ({by_itself}), which finds none in mode cli"
    raise BotUnsuitable(
        f"{asked}: set BOT_LEGACY_PATH to its address, such as https://example.com/{source.file.name}, install php-cgi "
        f"of the site's version, {DECIDE}"
    )
