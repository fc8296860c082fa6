"""The umask that this process was started with, which is the bot's: the start block has taken one that is ours.

Files of ours are for this user alone. Those of the bot are the bot's business: a picture that it stores for the web
server has to be readable there, as it was before we ran it.
"""

from __future__ import annotations

import os
import sys

# What Popen takes for "leave it as it is": a server that imports an entry script keeps its own umask.
UNCHANGED = -1
OURS = 0o077
OTHERS_MAY_NOT_WRITE = 0o022


def inherited_umask() -> int:
    """For Popen(umask=) of a process that runs the bot, or that starts one which does."""
    umask = getattr(sys.modules["scalable"], "inherited_umask", UNCHANGED)
    assert isinstance(umask, int)
    return umask


def share_umask_with_bot() -> None:
    """For a bot that runs in this very process from now on: others may read its files, and ours, but write none."""
    umask = inherited_umask()
    if umask != UNCHANGED:
        os.umask(umask | OTHERS_MAY_NOT_WRITE)


def take_umask_back() -> None:
    """The bot is left: what is made from now on is for this user alone again, as the start block had it."""
    if inherited_umask() != UNCHANGED:
        os.umask(OURS)
