"""The secret token of a new installation: the one that the bot compares, one that its owner knows, or a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from getpass import getpass
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.runners.bot_secret import TOKEN, known_token
from scalable.lib.runners.choose import BotSettings
from scalable.lib.runners.php.bot_source import read_bot_source
from scalable.lib.setup.config import load_config
from scalable.lib.setup.finding import Finding, ok, warning

NAME = "BOT_WEBHOOK_SECRET"
_TRIES = 3


@dataclass(frozen=True)
class Secret:
    """`token` is to be written; None: none, it stays as it is; empty: a new one may be made. `findings` tell why."""

    token: Optional[str] = field(repr=False)
    findings: tuple[Finding, ...] = ()


def secret_to_write(environment: Mapping[str, str], folder: Path, ask: Optional[Callable[[str], str]] = None) -> Secret:
    """What `init` does about BOT_WEBHOOK_SECRET where nobody has set it. `ask` is None where nobody can be asked.

    A new one would make a bot that compares its own refuse every update, so it is made only for one that does not.
    """
    try:
        bot = _bot(environment, folder)
    except ConfigurationError:  # told by what reads the settings next
        return Secret(None)
    if bot.file is None:
        seen = f"{NAME} is sent to the bot's address: a bot that compares one of its own refuses every other one"
        return Secret("", (warning("settings", seen, "if it does, set that one"),))
    signs = read_bot_source(bot.php_script).signs if bot.php_script is not None else None
    if signs is None or signs.secret is None:
        return Secret("")
    known = known_token(signs)
    if known is not None:
        return Secret(known, (ok("settings", f"{NAME} is the one that the bot compares ({signs.secret})"),))
    place = f"the bot compares the secret token itself ({signs.secret})"
    answer = _asked(f"{place}. Its value, nothing to leave it out: ", ask) if ask else ""
    if answer:
        return Secret(answer, (ok("settings", f"{NAME} is the one you gave"),))
    seen = f"{NAME} stays empty: {place} with one that is not in its source"
    return Secret(None, (warning("settings", seen, f"set {NAME} to the one it has"),))


def _bot(environment: Mapping[str, str], folder: Path) -> BotSettings:
    """The bot of the settings; a BOT_CONFIG may name a file that is only made by this `init`."""
    try:
        return load_config(environment, folder).bot
    except ConfigurationError:
        if "BOT_CONFIG" not in environment:
            raise
        others = {name: value for name, value in environment.items() if name != "BOT_CONFIG"}
        return load_config(others, folder).bot


def _asked(question: str, ask: Callable[[str], str]) -> str:
    """What the owner wrote, empty after _TRIES answers that Telegram would not take."""
    for _ in range(_TRIES):
        answer = ask(question).strip()
        if not answer or TOKEN.fullmatch(answer):
            return answer
        question = "Telegram takes 1 to 256 of A-Z a-z 0-9 _ -. Its value, nothing to leave it out: "
    return ""


def ask_at_terminal() -> Optional[Callable[[str], str]]:
    """Asks without showing the answer; None where nobody sits at a terminal."""
    streams = (sys.stdin, sys.stderr)
    return getpass if all(stream is not None and stream.isatty() for stream in streams) else None
