"""The addresses of the webhook and of the bot, known or guessed. A guess is only shown to the owner."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Optional

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, SchemaMissing
from scalable.lib.queue.views.webhook_info import is_webhook, read_webhook
from scalable.lib.redaction import without_token
from scalable.lib.setup.config import Config
from scalable.lib.setup.public_check import folder_url
from scalable.lib.setup.storage import Storage

WEBHOOK_SCRIPT = "webhook_queue.py"
UNKNOWN = "YOUR-DOMAIN"
# Usual names of the folder that a domain shows: cPanel and DirectAdmin, Plesk, Apache's and Debian's defaults.
_WEB_FOLDERS = ("public_html", "httpdocs", "htdocs", "html", "www", "web")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", re.ASCII)


def webhook_address(folder: Path, bot: Optional[Path], current: str) -> str:
    """Where Telegram should send updates. `folder` is scalable/, `current` where it sends them now, empty: unknown.

    When `current` ends with the name of the bot's file, the result is exact, because scalable/ is beside that file.
    """
    if is_webhook(current):
        return current
    beside = _folder_of(current, bot)
    return f"{beside or _guess(folder.parent)}{folder.name}/{WEBHOOK_SCRIPT}"


def bot_address(folder: Path, bot: Optional[Path], current: str, before: str) -> str:
    """Where the bot itself is: where Telegram sends updates now, or sent them `before`, if that is not this webhook."""
    for url in (current, before):
        if url and not is_webhook(url):
            return url
    return f"{_guess(folder.parent)}{bot.name if bot else 'bot.php'}"


def holds_key(url: str) -> bool:
    """Whether the address may have a secret in it: a query, a password, the token of a bot."""
    return "?" in url or "@" in url or without_token(url) != url


def own_address(config: Config, storage: Storage) -> str:
    """The bot's own address, where Telegram brings updates or brought them before; empty: not known."""
    try:
        seen = read_webhook(storage.queue().notes.read())
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing, OSError):
        return ""
    return known_bot_address(config.bot.php_script, seen.url, seen.before) if seen else ""


def telegrams_folder(config: Config, storage: Storage) -> str:
    """The address of scalable/ by where Telegram itself has the bot's webhook: here, or at the bot beside it.

    Empty when it is elsewhere or not known. Telegram is asked, unless it was within the last minute.
    """
    try:
        if config.bot_token:
            _ask_telegram(config, storage)
        seen = read_webhook(storage.queue().notes.read())
        if seen is None or not (seen.leads_here or _folder_of(seen.url, config.bot.php_script)):
            return ""
        return folder_url(webhook_address(config.scalable_folder, config.bot.php_script, seen.url))
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing, ValueError, OSError):
        return ""  # what is wrong with the database, other checks tell; with that address, nobody can ask there


def _ask_telegram(config: Config, storage: Storage) -> None:
    from scalable.lib.pool.webhook_admin import WebhookAdmin
    from scalable.lib.telegram.bot_api import BotApi

    def make_api(timeout_seconds: float) -> BotApi:
        return BotApi(config.bot_token, config.bot_api_url, timeout_seconds)

    WebhookAdmin(storage.queue(), make_api, config.webhook_secret).refresh_if_old()


def known_bot_address(bot: Optional[Path], current: str, before: str) -> str:
    """The one of these addresses that is certainly of the bot's own file; empty when neither is."""
    return next((url for url in (current, before) if url and _folder_of(url, bot)), "")


def _folder_of(url: str, bot: Optional[Path]) -> str:
    """`https://example.com/x/` of `https://example.com/x/bot.php?key=…`; empty when it names another file."""
    base, _, name = url.partition("?")[0].rpartition("/")
    return f"{base}/" if base and bot is not None and name == bot.name else ""


def _guess(site: Path) -> str:
    """The address of a folder, from the parts of its path, with a slash at the end."""
    parts = PurePosixPath(site).parts
    shown = [number for number, part in enumerate(parts) if part in _WEB_FOLDERS]
    if not shown:
        return f"https://{UNKNOWN}/"
    domains = [part for part in parts[: shown[-1]] if _DOMAIN.fullmatch(part)]
    below = "".join(f"{part}/" for part in parts[shown[-1] + 1 :])
    return f"https://{domains[-1] if domains else UNKNOWN}/{below}"
