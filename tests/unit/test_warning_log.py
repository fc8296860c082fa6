"""The log has one line for each kind of warning and minute, and says how often it came again."""

from __future__ import annotations

import logging

import pytest

from scalable.lib.worker.warning_log import MOST_KINDS, WarningLog, kind_of
from tests.support.fakes.clock import FakeClock

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def warnings(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> WarningLog:
    caplog.set_level(logging.WARNING)
    return WarningLog(clock)


def test_of_one_kind_there_is_one_line_in_a_minute(warnings: WarningLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        warnings.log(number, f"no answer of 10.0.0.{number} to 'query {number}'\nand more")

    assert caplog.messages == ["bot warned id=0 text=\"no answer of 10.0.0.0 to 'query 0'\""]


def test_after_the_minute_it_says_how_often_it_came(
    warnings: WarningLog, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(5):
        warnings.log(number, "refused")
    clock.now += 60
    warnings.log(5, "refused")

    assert caplog.messages == [
        "bot warned id=0 text=refused",
        "bot warned again times=4 kind=refused seconds=60",
        "bot warned id=5 text=refused",
    ]


def test_other_kinds_have_lines_of_their_own_up_to_a_limit(
    warnings: WarningLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10 * MOST_KINDS):
        warnings.log(number, f"kind {'x' * number}")

    assert len(caplog.messages) == MOST_KINDS + 1


def test_no_token_is_in_it_and_no_second_line(warnings: WarningLog, caplog: pytest.LogCaptureFixture) -> None:
    warnings.log(1, f"https://api.telegram.org/bot{TOKEN}/sendMessage failed\r\n2026-01-01 ERROR forged")

    assert TOKEN not in caplog.text
    assert "forged" not in caplog.text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SQLSTATE[HY000] [2002] refused", "SQLSTATE[HY000] [2006] refused"),
        ('Undefined array key "a" in /x.php:3', 'Undefined array key "b" in /x.php:44'),
        ("object at 0x7f00", "object at 0x12ab"),
    ],
)
def test_what_differs_in_numbers_and_quoted_words_is_one_kind(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) != kind_of(f"{one} again")
