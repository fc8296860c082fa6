"""Which secret token the bot itself expects of Telegram, for the day the webhook leads to it again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from scalable.lib.runners.choose import BotSettings
from scalable.lib.runners.php.bot_source import read_bot_source
from scalable.lib.runners.php.source_signs import SECRET_HEADERS, Place, Signs

# What Telegram takes (Bot API, setWebhook).
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
MAX_SOURCE_BYTES = 512 * 1024


@dataclass(frozen=True)
class BotSecret:
    """`token` is what the bot knows, empty: none. `why` says so in one sentence, without it.

    `file_name` is the last part of the bot's own address, empty where that is not known.
    """

    token: str = field(repr=False)
    why: str
    file_name: str = ""

    def is_for(self, url: str) -> bool:
        """Whether this address is the bot's own."""
        return bool(self.file_name) and url.partition("?")[0].endswith(f"/{self.file_name}")


def known_token(signs: Signs) -> Optional[str]:
    """The one secret token that the bot's source holds; None when it holds none, or several."""
    found = {text for text in signs.secret_values if TOKEN.fullmatch(text)}
    return found.pop() if len(found) == 1 else None


def secret_of(bot: BotSettings) -> BotSecret:
    """What the bot that runs by these settings expects, as far as that can be told."""
    script, file = bot.php_script, bot.file
    if file is None:
        return BotSecret(bot.secret, "the bot's address gets BOT_WEBHOOK_SECRET with every update already")
    if script is None:
        return BotSecret(*_of_a_text(file, bot.secret), file.name)
    return BotSecret(*_of_php(read_bot_source(script).signs, bot.secret), script.name)


def _of_php(signs: Signs, secret: str) -> tuple[str, str]:
    known = known_token(signs)
    if signs.secret is None:
        return "", "the bot was not seen to compare one"
    if known is not None:
        return known, f"it is the one that the bot compares ({signs.secret})"
    if secret in signs.secret_values:
        return secret, f"it is one of those that the bot compares ({signs.secret})"
    return _not_in_the_source(secret, signs.secret)


def _of_a_text(file: Path, secret: str) -> tuple[str, str]:
    """Of a bot in another language: only whether it names the header."""
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_SOURCE_BYTES).decode("latin-1").upper()
    except OSError:
        text = ""
    if any(name in text for name in SECRET_HEADERS):
        return _not_in_the_source(secret, file.name)
    return "", "the bot was not seen to compare one"


def _not_in_the_source(secret: str, place: str | Place) -> tuple[str, str]:
    why = f"the bot compares one ({place}) that is not in its source"
    if not secret:
        return "", f"{why}, and BOT_WEBHOOK_SECRET is empty: if it needs one, set that and repeat this"
    return secret, f"{why}: it is BOT_WEBHOOK_SECRET, with which the bot was run"


SecretOfBot = Callable[[], BotSecret]
