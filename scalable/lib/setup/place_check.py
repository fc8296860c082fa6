"""Checks what is around scalable/: who else can replace the bot, the settings or the data folder as a whole.

Whoever may write in a folder may give what is in it another name, and put something of his own in its place. That holds
for every folder up to the root; in one with the sticky bit, such as /tmp, only for what is his (unlink(2), EPERM).
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from scalable.lib.setup.files import user_name
from scalable.lib.setup.finding import Finding, error, warning

GROUP_MAY_WRITE, ANYBODY_MAY_WRITE = 0o020, 0o002


def check_places(bot: Optional[Path], scalable: Path, others: Sequence[Path] = ()) -> list[Finding]:
    """What can be replaced by somebody else: the bot's file, and the folders above it, `scalable` and `others`."""
    trusted = {0, os.geteuid(), scalable.stat().st_uid}
    places = {place: None for path in (bot, scalable, *others) if path is not None for place in _above(path)}
    states = {path: state for path in ([bot] if bot else []) + list(places) if (state := _state(path))}
    findings = []
    for may_write, problem, whom in ((ANYBODY_MAY_WRITE, error, "others"), (GROUP_MAY_WRITE, warning, "its group")):
        open_ones = [path for path, state in states.items() if _is_open(state, may_write)]
        states = {path: state for path, state in states.items() if path not in open_ones}
        if open_ones:
            first = f"{open_ones[0]}, mode {_mode(open_ones[0]):o}{_and_more(open_ones)}"
            seen = f"{first}: {whom} may write here, and so put a bot or settings of theirs in the place of yours"
            findings.append(problem("folders", seen, f"chmod go-w {' '.join(map(_quoted, open_ones))}"))
    return findings + [
        warning(
            "folders",
            f"{path} belongs to {user_name(state.st_uid, 'user ')}, who can replace what is in it",
            "give it to the user whom your bot runs as, or move the site to a folder of that user",
        )
        for path, state in states.items()
        if state.st_uid not in trusted
    ]


def _above(path: Path) -> Iterator[Path]:
    """Every folder on the way to it, and on the way to what it is a link to."""
    yield from Path(os.path.abspath(path)).parents
    yield from path.resolve().parents


def _is_open(state: os.stat_result, may_write: int) -> bool:
    is_guarded = stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX
    return bool(state.st_mode & may_write) and not is_guarded


def _state(path: Path) -> Optional[os.stat_result]:
    try:
        return path.stat()
    except OSError:  # a bot that is missing has a finding of its own
        return None


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _and_more(paths: Sequence[Path]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
