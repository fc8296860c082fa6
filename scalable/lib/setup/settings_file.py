"""Reads and writes the settings file. What the owner wrote in it stays as it is.

A name that is in the file, even with nothing after the =, is the owner's decision.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.files import PRIVATE_MODE, mode_of, write_file

# Passwords that are made here. 32 characters of A-Z a-z 0-9 - _, which Telegram takes as a secret token.
INVENTED = ("BOT_WEBHOOK_SECRET", "BOT_MONITOR_TOKEN")
RANDOM_BYTES = 24


def read_settings_file(path: Path) -> dict[str, str]:
    """Names and values of a settings file of `NAME=value` lines, nothing interpolated.

    Raises ConfigurationError naming the line when one cannot be read: a line that is skipped would be a setting without
    effect.
    """
    from dotenv.parser import parse_stream  # here, because a process without a settings file need not pay for it

    values: dict[str, str] = {}
    problems = []
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for binding in parse_stream(stream):
                if binding.error or (binding.key is not None and binding.value is None):
                    problems.append(f"{path}, line {_line_of(*binding.original)}: expected NAME=value")
                elif binding.key is not None:
                    values[binding.key] = binding.value or ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: the settings file cannot be read: {error}") from error
    if problems:
        raise ConfigurationError(*problems)
    return values


def _line_of(string: str, line: int) -> int:
    """Where the text itself starts: the parser counts the empty lines before it as a part of it."""
    return line + string[: len(string) - len(string.lstrip())].count("\n")


def write_settings_file(
    path: Path, example: Path, environment: Mapping[str, str], given: Mapping[str, Optional[str]]
) -> list[str]:
    """Make the settings file, or add to it what it lacks; the names that were written. Safe to repeat.

    `example`: what a new file begins with. `environment`: names that are set there are not written. `given`: values
    in the place of new passwords; None: that one is not written. Raises ConfigurationError when a file cannot be read
    or written.
    """
    is_new = not path.exists()
    present = {} if is_new else read_settings_file(path)
    wanted = {**{name: secrets.token_urlsafe(RANDOM_BYTES) for name in INVENTED}, **given}
    missing = {
        name: value
        for name, value in wanted.items()
        if value is not None and name not in present and not environment.get(name)
    }
    if missing or is_new:
        _write(path, _with_values(_read(example if is_new else path), missing))
    elif mode_of(path) & 0o077:
        _make_private(path)
    return list(missing)


def _with_values(text: str, values: Mapping[str, str]) -> str:
    """`text` with each value in the place of its commented example, or at the end where there is none."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    for name, value in values.items():
        places = [number for number, line in enumerate(lines) if re.match(rf"#\s*{name}=", line)]
        if places:
            lines[places[0]] = f"{name}={value}\n"
        else:
            lines.append(f"{name}={value}\n")
    return "".join(lines)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({error}); upload the release again") from error


def _write(path: Path, text: str) -> None:
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error


def _make_private(path: Path) -> None:
    try:
        path.chmod(PRIVATE_MODE)
    except OSError as error:
        seen = f"{path}: others may read it, and its mode cannot be changed ({error.strerror})"
        raise ConfigurationError(seen) from error
