"""Checks the bot: how it will be run, by which PHP, and whether that suits what its file says.

What a bot needs is guessed from its text, so a guess is a warning at most, and names the text it was made from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing, ConfigurationError, NoProcessLeft
from scalable.lib.runners.choose import BotSettings, checked, create_runner, prelude_of
from scalable.lib.runners.php.find_php import CGI, CLI, Php, find_php
from scalable.lib.setup.files import read_start
from scalable.lib.setup.finding import Finding, error, ok, warning

NOTHING: Mapping[str, str] = MappingProxyType({})
MAX_SOURCE_BYTES = 4 * 1024 * 1024
_READS_BODY = re.compile(r"php://input|HTTP_RAW_POST_DATA")
_READS_STDIN = re.compile(r"\bSTDIN\b|php://stdin")
# A method call as an answer: json_encode(['method' => 'sendMessage', …]), {"method": …}, or $reply['method'] = …
_ANSWERS = re.compile(r"""['"]method['"]\s*(?:=>|:|\]\s*=)""")
# As cPanel, CloudLinux and Plesk write it into .htaccess: x-httpd-ea-php81, x-httpd-alt-php74, php82-script.
_HANDLER = re.compile(r"^\s*(?:AddHandler|SetHandler|AddType)\b.*?php-?([5-9])\.?([0-9])", re.MULTILINE | re.IGNORECASE)


def check_bot(bot: BotSettings, has_token: bool, environment: Mapping[str, str] = NOTHING) -> list[Finding]:
    """What was found, with the `environment` that a worker has; the first one says whether the bot can be run."""
    try:
        findings = [ok("bot", f"will be run as: {checked(create_runner(bot, environment))}")]
    except (BotMissing, ConfigurationError) as problem:
        findings = [error("bot", str(problem))]
    php = _php(bot, findings)
    file = bot.file
    if file is not None:
        findings += _prelude(bot, php, environment)
        findings += _source(_read(file), has_token)
        findings += _other_php(php, file)
    return findings


def better_mode(bot: BotSettings) -> Optional[str]:
    """`fastcgi` for a PHP file that reads its update as under a web server, where php-cgi is there; else None."""
    file = bot.file
    if file is None or file.suffix != ".php" or bot.chosen_mode != "cli":
        return None
    source = _read(file)
    if not _READS_BODY.search(source) or _READS_STDIN.search(source):
        return None
    try:
        find_php(bot.php_binary, CGI)
    except BotMissing:
        return None
    return "fastcgi"


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


def _source(source: str, has_token: bool) -> list[Finding]:
    findings = []
    if not has_token and _ANSWERS.search(source):
        seen = "its file seems to answer in the HTTP response ('method'), and nobody would send that on"
        findings.append(warning("bot", f"{seen}: set BOT_TOKEN"))
    return findings


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
