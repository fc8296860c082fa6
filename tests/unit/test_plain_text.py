"""Text from outside is harmless for a terminal, and JSON says the same afterwards."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.plain_text import plain, plain_json, plain_line
from tests.support.generators.fuzz_counts import fuzzed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("all is well\rnothing is", "all is well\\rnothing is"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\udc80", "\\udc80"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم привіт", "👨\u200d👩\u200d👧 می\u200cخواهم привіт"),
        ("", ""),
    ],
)
def test_control_characters_are_spelled(text: str, expected: str) -> None:
    assert plain(text) == expected
    assert plain(plain(text)) == expected


def test_a_line_stays_one_line() -> None:
    assert plain_line("one\ntwo\u2028three\x85") == "one\\ntwo\\u2028three\\x85"


@fuzzed(100)
@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    assert all(each.isprintable() or each in "\n\t\u200c\u200d" for each in plain(text))
    assert len(plain_line(text).splitlines()) <= 1


@fuzzed(100)
@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_holds_the_same_afterwards(value: object) -> None:
    said = plain_json(json.dumps(value, indent=2, ensure_ascii=False))

    assert json.loads(said) == value
    assert all(each.isprintable() or each in "\n\u200c\u200d" for each in said)
