"""What checks and set-up need of files: how one begins, its mode, its owner, and writing one as a whole."""

from __future__ import annotations

import os
import pwd
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

PRIVATE_MODE = 0o600


def read_start(path: Path, max_bytes: int) -> bytes:
    """The first `max_bytes` of the file. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(max_bytes)


def mode_of(path: Path) -> int:
    """Its permission bits. Raises OSError."""
    return stat.S_IMODE(path.stat().st_mode)


def user_name(user_id: int, prefix_of_number: str = "") -> str:
    """The user's name; its number behind `prefix_of_number` where the system has no name for it, as in containers."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"{prefix_of_number}{user_id}"


def write_file(
    path: Path, content: bytes, mode: int = PRIVATE_MODE, put_in_place: Callable[[Path, Path], None] = os.replace
) -> None:
    """Write the whole file or nothing; a web server that ignores .htaccess does not show the unfinished one either.

    `put_in_place` gives the finished file its name: os.replace, or os.link, which raises FileExistsError when another
    process was first. Raises OSError.
    """
    unfinished = path.with_name(f".ht-{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE), "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # a power cut must not leave an empty file under the final name
        put_in_place(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
