"""Whether a folder that was there already is private to this user: it is made so, or refused.

The check and the doctor (doctor.php) judge by the same rule. Files of ours in it are known by their names.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.files import user_name, write_file

OURS = ".ht"
FOR_OTHERS = 0o077
OTHERS_MAY_WRITE = 0o022
OTHERS_MAY_ENTER = 0o011
OTHERS_MAY_OPEN = 0o066
WAS_OPEN = ".ht-was-open"
WORTH_TELLING = (".ht-queue.sqlite3", ".ht-secret", ".ht-monitor-token")


def make_private(folder: Path) -> None:
    """Let nobody else read or replace what we keep in `folder`. Safe to repeat.

    A folder that holds other things as well, such as a home, stays readable, or a web server could not pass it; our
    files in it do not. Raises ConfigurationError where others may write, or have written: they could have put
    a database or a secret of theirs in the place of ours.
    """
    found, we_are_root = folder.stat(), os.geteuid() == 0
    trusted = {0, os.geteuid(), *([found.st_uid] if we_are_root else [])}
    if found.st_uid not in trusted:
        raise _refusal(folder, f"it belongs to user {user_name(found.st_uid)}, who can replace what is in it")
    if all(name.startswith(OURS) for name in os.listdir(folder)):
        _close(folder, found)
    mode = stat.S_IMODE(folder.stat().st_mode)
    ours = _files_of_ours(folder)  # looked for when the folder is closed: until then somebody could add one
    for path, state in ours.items():
        if state.st_uid not in trusted:
            why = f"{path.name} in it belongs to user {user_name(state.st_uid)}; look at it, and delete it"
            raise ConfigurationError(f"BOT_DATA_DIR={str(folder)!r}: {why}")
    if mode & OTHERS_MAY_WRITE:
        raise _refusal(folder, f"mode {mode:o}: others may write here")
    if found.st_mode & OTHERS_MAY_ENTER:
        _note_what_was_open(folder, found, ours)  # first: when the modes are changed, nobody can tell any more
    for path, state in ours.items() if found.st_mode & FOR_OTHERS else ():
        if stat.S_ISREG(state.st_mode) or stat.S_ISSOCK(state.st_mode):
            _close(path, state)


def opened_before(folder: Path) -> list[str]:
    """Names of files that others could open before they were made private, and that are still the same files.

    To change a mode takes nothing away from who has opened the file already: he reads on, also what comes later. The
    database is not replaced here, as a process that has the old one open would store updates where nobody looks.
    """
    states = [(name, mark, _state(folder / name)) for name, *mark in _noted(folder)]
    return sorted(name for name, mark, state in states if state and mark == _mark(folder / name, state))


def _note_what_was_open(folder: Path, found: os.stat_result, ours: dict[Path, os.stat_result]) -> None:
    open_now = [[path.name, *_mark(path, state)] for path, state in ours.items() if _is_told(path, state)]
    if not open_now:
        return
    names = [entry[0] for entry in open_now]
    kept = [entry for entry in _noted(folder) if entry[0] not in names]
    note = folder / WAS_OPEN
    try:
        write_file(note, json.dumps(kept + open_now).encode())
        if os.geteuid() == 0:
            os.chown(note, found.st_uid, found.st_gid)
    except OSError as problem:
        raise ConfigurationError(f"{note}: cannot be written ({problem.strerror})") from problem


def _is_told(path: Path, state: os.stat_result) -> bool:
    """The database and what opens the page; of the files of SQLite the first tells of all."""
    is_open = stat.S_ISREG(state.st_mode) and state.st_mode & OTHERS_MAY_OPEN
    return bool(is_open) and state.st_size > 0 and path.name in WORTH_TELLING


def _mark(path: Path, state: os.stat_result) -> list[int]:
    """What tells it from a file made later, which may get the number of one that was deleted.

    The database is written all the time, so its time tells nothing; it is replaced by a copy, which has another number.
    """
    return [state.st_ino] if path.name.endswith(".sqlite3") else [state.st_ino, state.st_mtime_ns]


def _noted(folder: Path) -> list[list[Any]]:
    try:
        noted = json.loads((folder / WAS_OPEN).read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    is_ours = isinstance(noted, list) and all(isinstance(each, list) and each for each in noted)
    return [each for each in noted if isinstance(each[0], str)] if is_ours else []


def _files_of_ours(folder: Path) -> dict[Path, os.stat_result]:
    paths = [folder / name for name in os.listdir(folder) if name.startswith(OURS)]
    return {path: state for path in paths if (state := _state(path))}


def _state(path: Path) -> os.stat_result | None:
    """None for a file that another process of ours has renamed or deleted meanwhile."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _close(path: Path, found: os.stat_result) -> None:
    """As far as the file system has modes, and this user may set them."""
    if found.st_mode & FOR_OTHERS:
        with suppress(OSError):
            path.chmod(stat.S_IMODE(found.st_mode) & ~FOR_OTHERS)


def _refusal(folder: Path, why: str) -> ConfigurationError:
    remedy = f"make it private (chmod 700), or name a new folder of your own, such as {folder / '.htdata'}"
    return ConfigurationError(f"BOT_DATA_DIR={str(folder)!r}: {why}; {remedy}")
