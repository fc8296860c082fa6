"""Checks the bot: how it will be run, by which PHP, and whether that suits what its file says.

What a bot needs is read from its source; where that is not certain, it is a warning at most, and names the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing, ConfigurationError, NoProcessLeft
from scalable.lib.runners.choose import BotSettings, checked, create_runner, decided, prelude_of, problem_of_fpm
from scalable.lib.runners.php.auto_mode import secret_problem
from scalable.lib.runners.php.bot_source import BotSource, read_bot_source
from scalable.lib.runners.php.find_php import CLI, Php, find_php
from scalable.lib.setup.files import read_start
from scalable.lib.setup.finding import Finding, error, ok, warning

NOTHING: Mapping[str, str] = MappingProxyType({})
MAX_SOURCE_BYTES = 4 * 1024 * 1024
# A method call as an answer: json_encode(['method' => 'sendMessage', …]), {"method": …}, or $reply['method'] = …
_ANSWERS = re.compile(r"""['"]method['"]\s*(?:=>|:|\]\s*=)""")
# As cPanel, CloudLinux and Plesk write it into .htaccess: x-httpd-ea-php81, x-httpd-alt-php74, php82-script.
_HANDLER = re.compile(r"^\s*(?:AddHandler|SetHandler|AddType)\b.*?php-?([5-9])\.?([0-9])", re.MULTILINE | re.IGNORECASE)


def check_bot(
    bot: BotSettings,
    has_token: bool,
    environment: Mapping[str, str] = NOTHING,
    own_address: Callable[[], str] = lambda: "",
) -> list[Finding]:
    """What was found, with the `environment` that a worker has; the first one says whether the bot can be run.

    `own_address` tells where the bot's web server has it, as far as that is known.
    """
    source = read_bot_source(bot.php_script) if bot.php_script is not None else None
    try:
        bot = decided(bot, source, own_address, environment)
        findings = [ok("bot", f"will be run as: {checked(create_runner(bot, environment))}")]
    except (BotMissing, ConfigurationError) as problem:
        findings = [error("bot", str(problem))]
    php = _php(bot, findings)
    file = bot.file
    if file is not None:
        findings += _prelude(bot, php, environment)
        if source is not None and not bot.is_decided_by_source:
            findings += _what_it_expects(bot, source)
        findings += _answers(_read(file), has_token)
        findings += _other_php(php, file)
    return findings


def _what_it_expects(bot: BotSettings, source: BotSource) -> list[Finding]:
    """What a bot that is run in `bot.mode` expects besides its update, and may not find."""
    signs, found = source.signs, []
    if signs.query and not bot.query:
        keys = "&".join(f"{key}=…" for key in signs.query if key) or "…"
        seen = f"its file reads its query ($_GET in {next(iter(signs.query.values()))}), and there is none"
        found.append(
            warning("bot", seen, f"if its webhook had one, write it: BOT_LEGACY_PATH=…/{source.file.name}?{keys}")
        )
    problem = secret_problem(source, bot.secret)
    if problem is not None:
        found.append((error if signs.secret_values else warning)("bot", problem))
    elif signs.secret is not None and not signs.secret_values:
        seen = f"it compares the secret token itself ({signs.secret}); BOT_WEBHOOK_SECRET has to be the one it has"
        found.append(ok("bot", seen))
    if signs.polls is not None and signs.body is None and signs.stdin is None:
        seen = f"it fetches its updates itself (getUpdates in {signs.polls}), and would not take those of the queue"
        found.append(warning("bot", seen))
    if bot.mode == "cli" and signs.console is not None:
        seen = f"it asks which interface PHP has ({signs.console}), and in mode cli that is none of a web server"
        found.append(warning("bot", seen, "leave BOT_LEGACY_MODE out"))
    if bot.mode != "cli" and signs.refuses_web is not None:
        seen = f"it ends where it is not run in a shell ({signs.refuses_web}), and in mode {bot.mode} it is not"
        found.append(warning("bot", seen, "leave BOT_LEGACY_MODE out"))
    if signs.sets_webhook is not None and signs.method is None and not signs.query:
        seen = f"it calls setWebhook ({signs.sets_webhook})"
        found.append(warning("bot", seen, "if it does so with every update, each one leads the webhook away from here"))
    return found


def _php(bot: BotSettings, findings: list[Finding]) -> Optional[Php]:
    if bot.php_interface is None:
        return None
    try:
        php = find_php(bot.php_binary, bot.php_interface)
    except BotMissing as problem:
        findings.append(error("php", str(problem)))
        return None
    findings.append(ok("php", f"{php.version} ({php.interface}) at {php.path}"))
    return php


def _prelude(bot: BotSettings, php: Optional[Php], environment: Mapping[str, str]) -> list[Finding]:
    """Without the prelude a bot in mode cli finds no request, and of an error only status or exit code are known."""
    if bot.mode == "fastcgi" and bot.fastcgi_socket:
        return _prelude_of_fpm(bot)
    if php is None:
        return []
    try:
        problem = prelude_of(bot, php, environment).problem
    except (OSError, NoProcessLeft) as error:
        return [warning("php", f"{php.path} could not be asked for its settings: {error}")]
    if not problem:
        return []
    lost = "php://input is empty for the bot" if php.interface == CLI else "an error behind a status 200 is not seen"
    return [warning("php", f"{problem}, so {lost}: allow it there, or let BOT_LEGACY_PATH be the bot's address")]


def _prelude_of_fpm(bot: BotSettings) -> list[Finding]:
    try:
        problem = problem_of_fpm(bot)
    except (BotMissing, ConfigurationError):  # told by the check of the bot
        return []
    if not problem:
        return []
    seen = f"{problem}, so an error of the bot behind a status 200 is not seen, and its update counts as done"
    return [warning("php", seen, "leave display_errors off, and let the bot answer when its work is done")]


def _answers(source: str, has_token: bool) -> list[Finding]:
    if has_token or not _ANSWERS.search(source):
        return []
    seen = "its file seems to answer in the HTTP response ('method'), and nobody would send that on"
    return [warning("bot", f"{seen}: set BOT_TOKEN")]


def _other_php(php: Optional[Php], file: Path) -> list[Finding]:
    """The web server may run the site by another PHP than the one found, and bots break on the difference."""
    if php is None:
        return []
    for folder in list(file.parents)[:6]:
        found = _HANDLER.search(_read(folder / ".htaccess"))
        if found is None:
            continue
        wanted = f"{found.group(1)}.{found.group(2)}"
        if php.version.startswith(f"{wanted}."):
            break
        seen = f"the web server runs PHP {wanted} here ({folder / '.htaccess'}), and workers {php.version}"
        return [warning("php", f"{seen}: set BOT_PHP_BINARY to the same version")]
    return []


def _read(path: Path) -> str:
    """The file's text, empty when it cannot be read, which the runner's own check reports."""
    try:
        return read_start(path, MAX_SOURCE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
