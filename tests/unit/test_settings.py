"""The machinery of settings: converters at their borders, the settings file, what a problem says, parse_host."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.queue.dialects.address import MySqlAddress, parse_host
from scalable.lib.setup.settings import (
    Setting,
    matching,
    one_of,
    read_settings,
    seconds,
    text,
    unknown_names,
    whole_number,
)
from scalable.lib.setup.settings_file import read_settings_file

SIZE = Setting("BOT_SIZE", whole_number(1, 64), "4", "A size.")
WORD = Setting("BOT_WORD", text, "", "A word.")
PASSWORD = Setting("BOT_PASSWORD", matching("[a-z]*", "a to z"), "", "A password.", secret=True)
TABLE = (SIZE, WORD, PASSWORD)


@pytest.mark.parametrize(
    ("environment", "file", "value", "source"),
    [
        ({"BOT_SIZE": "7"}, {"BOT_SIZE": "8"}, 7, "environment"),
        ({}, {"BOT_SIZE": "8"}, 8, "file"),
        ({}, {}, 4, "default"),
        ({"BOT_SIZE": ""}, {"BOT_SIZE": "8"}, 4, "environment"),
        ({"BOT_SIZE": "   "}, {}, 4, "environment"),
        ({"BOT_SIZE": " 7 "}, {}, 7, "environment"),
    ],
)
def test_the_environment_wins_over_the_file_and_the_file_over_the_default(environment, file, value, source):
    readings, problems = read_settings([SIZE], environment, file)

    assert problems == []
    assert (readings["BOT_SIZE"].value, readings["BOT_SIZE"].source) == (value, source)


def test_every_wrong_value_is_told_at_once_with_name_value_source_and_expectation():
    _, problems = read_settings(TABLE, {"BOT_SIZE": "four", "BOT_WORD": "a\nb"}, {"BOT_PASSWORD": "UPPER"})

    assert problems == [
        "BOT_SIZE='four' (environment): expected a whole number from 1 to 64",
        "BOT_WORD='a\\nb' (environment): expected text without control characters or line breaks",
        "BOT_PASSWORD=(hidden) (file): expected a to z",
    ]


def test_the_text_of_a_secret_is_kept_as_it_is_and_other_texts_are_trimmed():
    readings, _ = read_settings(
        [WORD, Setting("BOT_KEY", text, "", "", secret=True)],
        {
            "BOT_WORD": " x ",
            "BOT_KEY": " x ",
        },
        {},
    )

    assert (readings["BOT_WORD"].value, readings["BOT_KEY"].value) == ("x", " x ")


def test_a_reading_never_shows_the_text_of_a_secret():
    readings, _ = read_settings(TABLE, {"BOT_PASSWORD": "hush", "BOT_WORD": "loud"}, {})

    assert readings["BOT_WORD"].shown() == "loud"
    assert readings["BOT_PASSWORD"].shown() == "(set, hidden)"
    assert "hush" not in repr(readings)


def test_an_empty_setting_is_shown_as_empty():
    readings, _ = read_settings(TABLE, {}, {})

    assert (readings["BOT_WORD"].shown(), readings["BOT_PASSWORD"].shown()) == ("(empty)", "(empty)")


@pytest.mark.parametrize(
    ("convert", "given", "value"),
    [
        (whole_number(1, 64), "1", 1),
        (whole_number(1, 64), "64", 64),
        (whole_number(1, 64), "007", 7),
        (seconds(0.1, 3600), "0.1", 0.1),
        (seconds(0.1, 3600), "3600", 3600.0),
        (seconds(0.1, 3600), "3600.000000", 3600.0),
        (one_of("DEBUG", "INFO"), "debug", "DEBUG"),
        (one_of("DEBUG", "INFO"), "Info", "INFO"),
        (matching("[a-z]{2,3}", "letters"), "abc", "abc"),
        (text, "anything at all", "anything at all"),
    ],
)
def test_a_converter_takes_values_up_to_its_borders(convert: Callable[[str], object], given: str, value: object):
    assert convert(given) == value


@pytest.mark.parametrize(
    ("convert", "given", "expected"),
    [
        *[
            (whole_number(1, 64), given, "a whole number from 1 to 64")
            for given in (
                "0",
                "65",
                "-1",
                "+1",
                "1.0",
                "1e1",
                "0x10",
                "",
                " 1",
                "1 ",
                "1\n",
                "four",
                "1_0",
                "٣",
                "²",
                "9" * 5000,
            )
        ],
        *[
            (seconds(0.1, 3600), given, "a number of seconds from 0.1 to 3600")
            for given in (
                "0.09",
                "3600.000001",
                "-1",
                "1.",
                ".5",
                "1e3",
                "nan",
                "inf",
                "",
                "1,5",
                "1s",
                "1\n",
                "٣",
                "1.0000001",
            )
        ],
        *[(one_of("DEBUG", "INFO"), given, "one of DEBUG, INFO") for given in ("", "TRACE", "DEBUG ", "DEBUG,INFO")],
        *[
            (matching("[a-z]{2,3}", "2 or 3 letters"), given, "2 or 3 letters")
            for given in (
                "a",
                "abcd",
                "aB",
                "ab\n",
                "",
                "äb",
            )
        ],
    ],
)
def test_a_converter_refuses_what_is_beyond_and_says_what_it_expects(convert, given: str, expected: str):
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        convert(given)


def test_unknown_names_get_the_nearest_known_one_or_the_benefit_of_the_doubt():
    lines = unknown_names(TABLE, {"BOT_SIZES": "1", "PATH": "/bin"}, {"BOT_ADMIN": "9", "OTHER": "x", "BOT_WORD": "w"})

    assert lines == [
        "BOT_SIZES (environment) is not a setting of Scalable mode; did you mean BOT_SIZE?",
        "BOT_ADMIN (file) is not a setting of Scalable mode; "
        "and your bot does not see this file: give it its own settings where it looks for them",
    ]


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"", {}),
        (b"A=1\nB=2", {"A": "1", "B": "2"}),
        (b"A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        (b"\xef\xbb\xbfA=1\n", {"A": "1"}),
        (b"# a comment\n\n   \nA=1 # and another\n#B=2\n", {"A": "1"}),
        (b"export A=1\n  B = 2  \n", {"A": "1", "B": "2"}),
        (b"A=\nB=''\n", {"A": "", "B": ""}),
        (b"A='x # y'\nB=\"x # y\"\nC=x#y\n", {"A": "x # y", "B": "x # y", "C": "x#y"}),
        (b"A=$HOME\nB=${HOME}\nC=\"${A}\"\nD='$A'\n", {"A": "$HOME", "B": "${HOME}", "C": "${A}", "D": "$A"}),
        (b'A=\'it\\\'s\'\nB="say \\"so\\""\n', {"A": "it's", "B": 'say "so"'}),
        (b"A=a=b=c\n", {"A": "a=b=c"}),
        (b"A=1\nA=2\n", {"A": "2"}),
        ("A=привіт 🙂\n".encode(), {"A": "привіт 🙂"}),
    ],
)
def test_the_settings_file_is_read_as_written_and_nothing_is_interpolated(tmp_path: Path, content: bytes, values):
    file = tmp_path / ".htenv"
    file.write_bytes(content)

    assert read_settings_file(file) == values


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("nonsense here\n", [1]),
        ("A=1\nB\nC=3\n", [2]),
        ("A=1\n\n\n# why\n\nnonsense here\nB=2\n", [6]),
        ("\n\nA='never closed\n", [3]),
        ("A='x' y\nB=1\n= 3\n", [1, 3]),
        ("A=1\r\n\r\nnonsense here\r\n", [3]),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(tmp_path: Path, content: str, lines: list[int]):
    file = tmp_path / ".htenv"
    file.write_bytes(content.encode())

    with pytest.raises(ConfigurationError) as caught:
        read_settings_file(file)

    assert list(caught.value.problems) == [f"{file}, line {line}: expected NAME=value" for line in lines]


def test_an_unreadable_line_is_not_quoted_because_it_may_be_a_password(tmp_path: Path):
    file = tmp_path / ".htenv"
    file.write_text("BOT_DB_PASS='hush\n")

    with pytest.raises(ConfigurationError) as caught:
        read_settings_file(file)

    assert "hush" not in str(caught.value)


def test_a_settings_file_that_is_not_utf8_is_refused_by_name(tmp_path: Path):
    file = tmp_path / ".htenv"
    file.write_bytes("BOT_DB_PASS=sécret\n".encode("latin-1"))

    with pytest.raises(ConfigurationError, match=r"\.htenv: the settings file cannot be read: 'utf-8' codec") as caught:
        read_settings_file(file)

    assert "cret" not in str(caught.value)


def test_a_settings_file_that_cannot_be_opened_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="the settings file cannot be read"):
        read_settings_file(tmp_path)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("db.example.com", ("db.example.com", 3306, None)),
        ("db.example.com:3307", ("db.example.com", 3307, None)),
        ("127.0.0.1", ("127.0.0.1", 3306, None)),
        ("my_host-1:1", ("my_host-1", 1, None)),
        ("host:65535", ("host", 65535, None)),
        ("[::1]", ("::1", 3306, None)),
        ("[2001:db8::7]:3307", ("2001:db8::7", 3307, None)),
        ("/run/mysqld/mysqld.sock", ("localhost", 3306, "/run/mysqld/mysqld.sock")),
        ("localhost", ("localhost", 3306, "")),
        ("localhost:3307", ("localhost", 3307, None)),
    ],
)
def test_the_host_takes_every_form_that_php_bots_use(given: str, place: tuple[str, int, object]):
    assert parse_host(given) == place


@pytest.mark.parametrize(
    "given",
    [
        "",
        "::1",
        "host:",
        ":3306",
        "host:0",
        "host:65536",
        "host:99999999",
        "host:port",
        "host:33 06",
        "ho st",
        "mysql://host",
        "user@host",
        "host;port=1",
        "[::1",
        "::1]",
        "[]",
        "[host]",
        "host\n",
        "höst",
        "host:٣",
        "host/db",
    ],
)
def test_a_host_of_no_known_form_is_refused_with_the_known_forms(given: str):
    with pytest.raises(ValueError, match=r"^host, host:port, /path/to\.sock or localhost$"):
        parse_host(given)


def test_an_address_never_shows_its_password():
    address = MySqlAddress("db", 3306, None, "bot", "me", "hush")

    assert "hush" not in f"{address} {address!r}"
    assert str(address) == "MySQL database 'bot' at db:3306"
