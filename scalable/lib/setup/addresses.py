"""Guesses the addresses of this installation: of the webhook, and of the bot. A guess is shown, never used."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Optional

WEBHOOK_SCRIPT = "webhook_queue.py"
UNKNOWN = "YOUR-DOMAIN"
# What hosts call the folder a domain shows: cPanel and DirectAdmin, Plesk, Apache's and Debian's defaults.
_SHOWN = ("public_html", "httpdocs", "htdocs", "html", "www", "web")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}", re.ASCII)


def webhook_address(folder: Path, bot: Optional[Path], current: str) -> str:
    """Where Telegram should bring updates. `folder` is scalable/, `current` where it brings them now, empty: unknown.

    Telegram's own address of the bot says it exactly, when the bot's file is the one in it.
    """
    if WEBHOOK_SCRIPT in current:
        return current
    beside = _folder_of(current, bot)
    return f"{beside or _guess(folder.parent)}{folder.name}/{WEBHOOK_SCRIPT}"


def bot_address(folder: Path, bot: Optional[Path], current: str, before: str) -> str:
    """Where the bot is without us: where Telegram brings updates now, if that is not us, or brought them before."""
    for url in (current, before):
        if url and WEBHOOK_SCRIPT not in url:
            return url
    return f"{_guess(folder.parent)}{bot.name if bot else 'bot.php'}"


def _folder_of(url: str, bot: Optional[Path]) -> str:
    """`https://example.com/x/` of `https://example.com/x/bot.php?key=…`; empty when it is another file's."""
    base, _, name = url.partition("?")[0].rpartition("/")
    return f"{base}/" if base and bot is not None and name == bot.name else ""


def _guess(site: Path) -> str:
    """The address of a folder, from what its path is made of, with a slash at the end."""
    parts = PurePosixPath(site).parts
    shown = [number for number, part in enumerate(parts) if part in _SHOWN]
    if not shown:
        return f"https://{UNKNOWN}/"
    domains = [part for part in parts[: shown[-1]] if _DOMAIN.fullmatch(part)]
    below = "".join(f"{part}/" for part in parts[shown[-1] + 1 :])
    return f"https://{domains[-1] if domains else UNKNOWN}/{below}"
