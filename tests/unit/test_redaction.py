"""What others wrote, made fit to be logged and kept with a job."""

from __future__ import annotations

import pytest

from scalable.lib.redaction import MAX_CHARACTERS, one_line, without_token

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no answer from /bot{TOKEN}/sendMessage", "no answer from /bot<token>/sendMessage"),
        (f"{TOKEN} and {TOKEN}", "<token> and <token>"),
        ("at 12:30:45 port 127.0.0.1:8080, 17000:short", "at 12:30:45 port 127.0.0.1:8080, 17000:short"),
    ],
)
def test_bot_tokens_are_hidden_and_nothing_else(text: str, shown: str):
    assert without_token(text) == shown


def test_half_a_character_does_not_keep_the_rest_from_being_stored():
    assert without_token("a\ud83db").encode("utf-8") == b"a?b"


def test_a_cause_is_one_line_of_limited_length():
    assert one_line("two\nlines\tand   a tab ") == "two lines and a tab"
    assert len(one_line("x" * 1000)) == MAX_CHARACTERS
    assert one_line("x" * 1000).endswith("x…")
