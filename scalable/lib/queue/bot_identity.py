"""Which bot a table is for, so that two installations with different bots do not share one by mistake.

The number of a bot, which its token begins with, is the same on every machine it grows to, and stays when the token is
renewed. Without BOT_TOKEN only the folder is known: that warns, and refuses nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Optional

from scalable.lib.errors import ConfigurationError, SchemaMissing
from scalable.lib.queue.schema import ensure_schema
from scalable.lib.queue.table import QueueTable

# By primary key.
GET_BOT = "SELECT value FROM {jobs}_meta WHERE name = 'bot' LIMIT 1"
# Of two that change it at the same time, the second finds it changed.
CHANGE_BOT = "UPDATE {jobs}_meta SET value = :value WHERE name = 'bot' AND value = :known"
# The primary key refuses a second one.
ADD_BOT = "INSERT INTO {jobs}_meta (name, value) VALUES ('bot', :value)"


@dataclass(frozen=True)
class BotIdentity:
    """A bot of an installation: its number, empty where it is not known, and where the installation is."""

    number: str
    folder: str
    host: str

    @property
    def name(self) -> str:
        """How it is called in a message."""
        place = f"{self.folder} on {self.host}"
        return f"bot {self.number} ({place})" if self.number else f"the bot of {place}"


def confirm_bot(table: QueueTable, mine: BotIdentity) -> Optional[str]:
    """Make sure that the table is for this bot: a warning where that cannot be told. Makes the tables if need be.

    A table that is for no bot yet becomes this one's. Another bot in the same folder of the same host takes its place:
    the owner changed BOT_TOKEN. Raises ConfigurationError when it is for another bot.
    """
    stored = _stored(table, mine)
    other = _read(stored)
    if other is None:  # not ours: written with a database tool
        table.change(CHANGE_BOT, value=_text(mine), known=stored)
        return None
    is_here = (other.folder, other.host) == (mine.folder, mine.host)
    if not (mine.number and other.number):
        if _text(mine) != stored and not other.number:
            table.change(CHANGE_BOT, value=_text(mine), known=stored)
        return None if other.folder == mine.folder else _doubt(table, mine, other)
    if mine.number == other.number:
        return None
    if not is_here:
        raise ConfigurationError(_refusal(table, mine, other))
    table.change(CHANGE_BOT, value=_text(mine), known=stored)
    return f"table {table.name!r} was for bot {other.number} and is for bot {mine.number} now, as BOT_TOKEN says"


def replace_bot(table: QueueTable, mine: BotIdentity) -> None:
    """The table is for this bot from now on, whichever it was for."""
    for (known,) in table.rows(GET_BOT):
        table.change(CHANGE_BOT, value=_text(mine), known=known)
    confirm_bot(table, mine)


def _stored(table: QueueTable, mine: BotIdentity) -> str:
    """What is noted; this bot when nothing was."""
    for _ in range(2):
        try:
            known = table.rows(GET_BOT)
        except SchemaMissing:
            ensure_schema(table)
            known = []
        if known:
            return str(known[0][0])
        table.add(ADD_BOT, value=_text(mine))
    return _text(mine)


def _refusal(table: QueueTable, mine: BotIdentity, other: BotIdentity) -> str:
    return (
        f"table {table.name!r} in {table.database.place} is used by {other.name}, and this is {mine.name}: "
        "each would run updates of the other. Give one of them another BOT_QUEUE_TABLE, or another database; if this "
        f"bot is to take the place of {other.number}, run config.py --replace-bot"
    )


def _doubt(table: QueueTable, mine: BotIdentity, other: BotIdentity) -> str:
    return (
        f"table {table.name!r} was used by {other.name}, and this is {mine.name}: if these are two bots, give one of "
        "them another BOT_QUEUE_TABLE; with BOT_TOKEN set in both that is checked"
    )


def _text(bot: BotIdentity) -> str:
    return json.dumps(asdict(bot), sort_keys=True)


def _read(text: str) -> Optional[BotIdentity]:
    try:
        value: Any = json.loads(text)
        return BotIdentity(str(value["number"]), str(value["folder"]), str(value["host"]))
    except (ValueError, TypeError, KeyError):
        return None
