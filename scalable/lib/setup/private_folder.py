"""Whether a folder that was there already is private to this user: it is made so, or refused.

The check and the doctor (doctor.php) judge by the same rule. Files of ours in it are known by their names.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.files import user_name

OURS = ".ht"
FOR_OTHERS = 0o077
OTHERS_MAY_WRITE = 0o022


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
    for path, state in ours.items() if found.st_mode & FOR_OTHERS else ():
        if stat.S_ISREG(state.st_mode) or stat.S_ISSOCK(state.st_mode):
            _close(path, state)


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
