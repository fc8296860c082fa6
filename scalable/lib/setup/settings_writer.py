"""Writes the settings file: fresh random passwords where there are none. What the owner wrote stays as it is.

A name that is there, even with nothing after the =, is the owner's decision.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.settings import read_settings_file

# What nobody should have to invent. 32 characters of A-Z a-z 0-9 - _, which Telegram takes as a secret token.
INVENTED = ("BOT_WEBHOOK_SECRET", "BOT_MONITOR_TOKEN")
EXAMPLE = ".htenv.example"
MODE = 0o600


def invent() -> str:
    """192 random bits, as text that needs no quotes anywhere."""
    return secrets.token_urlsafe(24)


def write_settings(
    path: Path,
    example: Path,
    environment: Mapping[str, str],
    more: Mapping[str, str],
    invented: Callable[[], str] = invent,
) -> list[str]:
    """Make the settings file, or add to it what it lacks; the names that were written. Safe to repeat.

    `example`: what a new file begins with. `environment`: names that are set there are not written. `more`: values for
    a new file besides. Raises ConfigurationError when a file cannot be read or written.
    """
    is_new = not path.exists()
    there = {} if is_new else read_settings_file(path)
    wanted = {**{name: invented() for name in INVENTED}, **(more if is_new else {})}
    missing = {name: value for name, value in wanted.items() if name not in there and not environment.get(name)}
    if missing or is_new:
        text = _read(example) if is_new else _read(path)
        _replace(path, "".join(_with(text, missing)))
    elif path.stat().st_mode & 0o077:
        _close_to_others(path)
    return list(missing)


def _with(text: str, values: Mapping[str, str]) -> list[str]:
    """The lines of `text`, each value where its example was, and at the end where there was none."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for name, value in values.items():
        places = [number for number, line in enumerate(lines) if re.match(rf"#\s*{name}=", line)]
        if places:
            lines[places[0]] = f"{name}={value}\n"
        else:
            lines.append(f"{name}={value}\n")
    return lines


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); upload the release again") from error


def _replace(path: Path, text: str) -> None:
    """The file has `text`, or is what it was: nobody ever sees half of it, and nobody else sees any of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _close_to_others(path: Path) -> None:
    try:
        path.chmod(MODE)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: others may read it, and its mode cannot be changed ({error.strerror})"
        ) from error
