"""Log lines: one form, one line each, whatever the values hold."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.logs import OncePer, configure_logging, event
from tests.support.fakes.clock import FakeClock
from tests.support.generators.fuzz_counts import fuzzed


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "job failed"),
        ({"id": 17, "attempt": "6/6"}, "job failed id=17 attempt=6/6"),
        ({"cause": None, "id": 0}, "job failed id=0"),
        ({"cause": ""}, 'job failed cause=""'),
        ({"cause": "exit code 1"}, 'job failed cause="exit code 1"'),
        ({"cause": 'he said "no"'}, 'job failed cause="he said \\"no\\""'),
        ({"cause": "a=b"}, 'job failed cause="a=b"'),
        ({"cause": "two\nlines\r\ttab"}, 'job failed cause="two\\nlines\\r\\ttab"'),
        ({"cause": "back\\slash and space"}, 'job failed cause="back\\\\slash and space"'),
        ({"cause": "\x1b[31mred\x00"}, 'job failed cause="\\x1b[31mred\\x00"'),
        ({"cause": "\u2028\u202e\udc80"}, 'job failed cause="\\u2028\\u202e\\udc80"'),
        ({"cause": "привіт"}, "job failed cause=привіт"),
        ({"cause": ValueError("went wrong")}, 'job failed cause="went wrong"'),
        ({"seconds": 30.0}, "job failed seconds=30"),
        ({"seconds": 0.12345}, "job failed seconds=0.123"),
        ({"seconds": 1200.0}, "job failed seconds=1200"),
        ({"seconds": 0.0}, "job failed seconds=0"),
    ],
)
def test_a_line_is_an_event_and_its_fields(fields: dict[str, object], line: str):
    assert event("job failed", **fields) == line


@fuzzed(100)
@given(st.text())
@example('x"\n2026-01-01T00:00:00Z ERROR forged id=1')
@example("\\")
@example('\\" id=2 x="')
def test_no_value_can_forge_a_second_line_or_a_second_field(value: str):
    line = event("bot said", cause=value)

    assert line.splitlines() == [line]
    assert re.fullmatch(r'bot said cause=([^ "=]+|"([^"\\]|\\.)*")', line)


def test_lines_go_to_the_stream_in_utc_with_their_level():
    stream = io.StringIO()
    configure_logging("INFO", stream)

    logging.getLogger("scalable.x").info(event("worker started", slot=1))
    logging.getLogger("scalable.x").debug("not wanted")

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO worker started slot=1\n", stream.getvalue())


def test_configuring_twice_does_not_double_the_lines_and_the_last_call_wins():
    first, second = io.StringIO(), io.StringIO()
    configure_logging("DEBUG", first)
    configure_logging("WARNING", second)

    logging.getLogger("scalable.x").warning("once")
    logging.getLogger("scalable.x").info("not wanted")

    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def test_a_lasting_condition_is_logged_once_in_a_while():
    clock = FakeClock()
    may_log = OncePer(60, clock)

    heard = []
    for _ in range(5):
        heard.append(may_log())
        clock.advance(30)

    assert heard == [True, False, True, False, True]


def test_a_log_on_a_full_disk_is_left_out_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    # Each line that does not fit would otherwise write a traceback of twenty more into what is full.
    with open("/dev/full", "w", buffering=1) as full:
        configure_logging("INFO", full)
        logging.getLogger("worker").info("job done id=1")
        with contextlib.suppress(OSError):
            full.close()

    assert capsys.readouterr().err == ""


def test_a_log_line_that_is_a_mistake_of_the_program_is_still_shown(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", io.StringIO())

    logging.getLogger("worker").info("job done id=%d", "one")

    assert "Logging error" in capsys.readouterr().err
