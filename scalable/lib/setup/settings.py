"""What a table of settings is made of: its rows, their converters, and reading all of them.

Names no setting (the table is settings_table.py), and reads neither file nor environment: it is given names and texts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Converter = Callable[[str], Any]
_HINT_FOR_UNKNOWN = {
    "environment": "fine if your bot reads it itself",
    "file": "and your bot does not see this file: give it its own settings where it looks for them",
}
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class Setting:
    """One row of the table: `convert` takes the text and raises ValueError with what was expected.

    `show` makes of the text what people may see; the text of a `secret` setting is never shown.
    """

    name: str
    convert: Converter
    default: str
    help: str
    secret: bool = False
    show: Callable[[str], str] = str


@dataclass(frozen=True)
class Reading:
    """A setting as found. `value` is made of its `text`, `source` is environment, file or default."""

    setting: Setting
    text: str = field(repr=False)
    value: Any = field(repr=False)
    source: str

    def shown(self) -> str:
        """The text that people may see; of a secret, only whether it is set."""
        if self.setting.secret:
            return "(set, hidden)" if self.text else "(empty)"
        return self.setting.show(self.text) or "(empty)"


def read_settings(
    table: Sequence[Setting], environment: Mapping[str, str], file_values: Mapping[str, str]
) -> tuple[dict[str, Reading], list[str]]:
    """Every readable setting of `table` by name, and a line for every wrong value.

    Environment over file over default; an empty text counts as given and means the default. Problems are returned
    rather than raised, so that the caller can add its own and the owner sees all of them at once.
    """
    readings: dict[str, Reading] = {}
    problems = []
    for setting in table:
        text, source = _find(setting, environment, file_values)
        try:
            if _CONTROL_CHARACTERS.search(text):
                raise ValueError("text without control characters or line breaks")
            readings[setting.name] = Reading(setting, text, setting.convert(text), source)
        except ValueError as error:
            seen = "(hidden)" if setting.secret else repr(setting.show(text))
            problems.append(f"{setting.name}={seen} ({source}): expected {error}")
    return readings, problems


def _find(setting: Setting, environment: Mapping[str, str], file_values: Mapping[str, str]) -> tuple[str, str]:
    for source, values in (("environment", environment), ("file", file_values)):
        if setting.name in values:
            text = values[setting.name] if setting.secret else values[setting.name].strip()
            return text or setting.default, source
    return setting.default, "default"


def unknown_names(
    table: Sequence[Setting], environment: Mapping[str, str], file_values: Mapping[str, str]
) -> list[str]:
    """A line for each `BOT_*` name that is not in `table`, with the nearest that is; it may be the bot's own."""
    known = [setting.name for setting in table]
    lines = []
    for source, values in (("environment", environment), ("file", file_values)):
        for name in sorted(values):
            if name.startswith("BOT_") and name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
                hint = f"did you mean {near[0]}?" if near else _HINT_FOR_UNKNOWN[source]
                lines.append(f"{name} ({source}) is not a setting of Scalable mode; {hint}")
    return lines


def text(value: str) -> str:
    """Any text."""
    return value


def whole_number(low: int, high: int) -> Converter:
    """A converter for whole numbers from `low` to `high`, both included."""

    def convert(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return convert


def seconds(low: float, high: float) -> Converter:
    """A converter for a number of seconds, fractions allowed, from `low` to `high`."""

    def convert(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return float(value)

    return convert


def auto_or(otherwise: Converter) -> Converter:
    """A converter for the word `auto`, which becomes None, or what `otherwise` takes."""

    def convert(value: str) -> Any:
        if value.lower() == "auto":
            return None
        try:
            return otherwise(value)
        except ValueError as error:
            raise ValueError(f"auto, or {error}") from None

    return convert


def one_of(*choices: str) -> Converter:
    """A converter for one word of `choices`, upper or lower case."""

    def convert(value: str) -> str:
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise ValueError("one of " + ", ".join(choices))

    return convert


def matching(pattern: str, expected: str) -> Converter:
    """A converter for text that matches `pattern` as a whole; `expected` says in words what that is."""

    def convert(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(expected)
        return value

    return convert
