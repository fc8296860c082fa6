"""The file of the bot: whether it can be run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from scalable.lib.errors import BotMissing


def check_bot_file(bot: Path) -> os.stat_result:
    """The state of the file. Raises BotMissing, naming it and what to do, unless it is a readable file."""
    try:
        state = os.stat(bot)
    except (OSError, ValueError):  # such as a folder on the way that may not be entered
        state = None
    if state is None or not stat.S_ISREG(state.st_mode):
        raise BotMissing(f"BOT_LEGACY_PATH: there is no bot at {bot}; name your bot's file, relative to scalable/")
    if not os.access(bot, os.R_OK):
        raise BotMissing(f"BOT_LEGACY_PATH: {bot} may not be read by user {os.geteuid()}")
    return state
