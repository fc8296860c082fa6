"""Text that came from outside, made harmless for a terminal and for whoever reads a log.

A control character in a user's message could move the cursor, change the window's title, turn the direction of reading,
or forge a line. Such characters are written as Python spells them, `\\x1b`. Cheap to import.
"""

from __future__ import annotations

# Of emoji that are one picture, and of Persian and Indian spelling.
_JOINERS = "\u200c\u200d"
_IN_TEXTS = "\n\t" + _JOINERS


def plain(text: str, kept: str = _IN_TEXTS) -> str:
    """`text` without control characters, other than those `kept`. Safe to repeat: a second time changes nothing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in kept else repr(each)[1:-1] for each in text)


def plain_line(text: str) -> str:
    """The same as one line."""
    return plain(text, _JOINERS)


def plain_json(text: str) -> str:
    """JSON that holds the same, without characters that a terminal obeys; those are spelled as JSON does."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(each if each.isprintable() or each in _IN_TEXTS else _json_escape(each) for each in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
