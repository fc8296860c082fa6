"""Which language a request is answered in, and how numbers, durations and sentences are written in it.

The texts are data: texts/en.json and texts/id.json, UTF-8, a key a line, the same keys in the same order and in the
same groups: everywhere, states, counts, verdict, figures, pause, charts, workers, lists of jobs, one job, actions,
webhook, check, refusals. `{name}` is filled in; `|` separates the form for one from the form for any other number.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Optional

NAMES = {"en": "English", "id": "Bahasa Indonesia"}
_TEXTS = Path(__file__).parent / "texts"
_PREFERENCE = re.compile(r"\s*([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9-]{1,32})?\s*(?:;\s*q=\s*([01](?:\.[0-9]{0,3})?))?\s*")


@cache
def read_texts(name: str) -> dict[str, str]:
    """The texts of the language `name` (one of NAMES) by their keys. The file is read when first asked for."""
    texts: dict[str, str] = json.loads((_TEXTS / f"{name}.json").read_text(encoding="utf-8"))
    return texts


def choose_language(kept: str, accepted: str) -> str:
    """The language of the cookie, else the one of ours the browser likes best (Accept-Language, RFC 9110, 12.5.4)."""
    if kept in NAMES:
        return kept
    best, best_quality = "en", 0.0
    for part in accepted[:500].split(","):
        found = _PREFERENCE.fullmatch(part)
        if not found:
            continue
        name = found.group(1).lower()
        # `in` is what Indonesian was called before 1989; old browsers still say it.
        name, quality = {"in": "id"}.get(name, name), float(found.group(2) or 1)
        if name in NAMES and quality > best_quality:
            best, best_quality = name, quality
    return best


class Language:
    """The texts of one language, `name` as in NAMES. Immutable."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._texts = read_texts(name)

    def has(self, key: str) -> bool:
        """Whether there is a text `key`."""
        return key in self._texts

    def text(self, key: str, **values: object) -> str:
        """The text `key`, its values put in, whole numbers with the marks of the language.

        One with `|` has a form for n=1 and another for all else.
        """
        text = self._texts[key]
        if "|" in text:
            one, many = text.split("|")
            text = one if values.get("n") == 1 else many
        shown = {name: self.number(value) if isinstance(value, int) else value for name, value in values.items()}
        return text.format(**shown) if shown else text

    def number(self, number: float, digits: int = 0) -> str:
        """`1,234.5`, with the marks of the language."""
        written = f"{number:,.{digits}f}"
        return written if self.name == "en" else written.translate(str.maketrans(",.", ".,"))

    def seconds(self, seconds: Optional[float]) -> str:
        """A duration in the unit that suits it: `120 ms`, `3.4 s`, `12 min`."""
        if seconds is None:
            return "–"
        if seconds < 0.9995:
            return f"{self.number(seconds * 1000)} {self.text('unit_ms')}"
        if seconds < 9.95:
            return f"{self.number(seconds, 1)} {self.text('unit_s')}"
        for limit, size, unit in ((120, 1, "unit_s"), (7200, 60, "unit_min"), (172_800, 3600, "unit_h")):
            if seconds < limit:
                return f"{self.number(seconds / size)} {self.text(unit)}"
        return f"{self.number(seconds / 86_400)} {self.text('unit_d')}"
