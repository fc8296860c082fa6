"""Updates that are held while nothing is certain to run the bot: who is told, and how it goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable, ConfigurationError, DatabaseUnavailable
from scalable.lib.pool.bot_hold import CHECK_SECONDS, RENEW_SECONDS, BotHold
from scalable.lib.queue.notes import HELD
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.hold import HOLD_SECONDS, Hold, read_hold
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.worker_bench import Bench

REASON = "the bot polls: name another file"


class Installation:
    """One that shares the queue of a bench; `problem` is what a check of its bot raises."""

    def __init__(self, bench: Bench, place: str = "here") -> None:
        self.queue = bench.queue
        self.clock = FakeClock()
        self.problem: Exception | None = None
        self.asked: list[bool] = []
        self.hold = BotHold(bench.queue, place, self._check, self.clock)

    def _check(self, anew: bool) -> None:
        self.asked.append(anew)
        if self.problem is not None:
            raise self.problem

    def holds(self, after_seconds: float = CHECK_SECONDS) -> bool:
        self.clock.advance(after_seconds)
        return self.hold.holds()

    @property
    def reasons(self) -> list[str]:
        return [reason.code for reason in check_health(self.queue).reasons if reason.code != "no_update"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def here(bench: Bench) -> Installation:
    return Installation(bench)


def test_a_bot_that_suits_is_not_held_and_nothing_is_written(here: Installation) -> None:
    assert not here.holds()
    assert HELD not in here.queue.notes.read()


def test_what_holds_it_is_told_and_goes_on_by_itself(here: Installation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    here.problem = BotUnsuitable(REASON)

    assert here.holds()
    assert here.reasons == ["held"], "nobody is told to start a worker"
    reason = check_health(here.queue).reasons[0]
    assert REASON in reason.text
    assert "\n" not in reason.text

    here.problem = None
    assert not here.holds()
    assert "held" not in here.reasons
    assert [record.getMessage().partition(" cause")[0] for record in caplog.records] == [
        "updates held",
        "updates not held any more",
    ]


def test_it_is_asked_now_and_then_and_the_host_is_searched_anew_only_while_it_holds(here: Installation) -> None:
    here.problem = BotUnsuitable(REASON)

    assert [here.holds(), here.holds(0), here.holds(0), here.holds()] == [True] * 4
    assert here.asked == [False, True]


def test_another_reason_is_told_but_it_holds_since_the_first(here: Installation) -> None:
    here.problem = BotUnsuitable(REASON)
    here.holds()
    first = read_hold(here.queue.notes.read())
    here.problem = BotUnsuitable("another reason")
    here.holds()
    second = read_hold(here.queue.notes.read())

    assert first is not None
    assert second == Hold("another reason", first.place, first.since)


def test_settings_that_cannot_be_read_hold_nothing_but_do_not_end_a_hold(here: Installation) -> None:
    here.problem = ConfigurationError("BOT_X is wrong")
    assert not here.holds()

    here.problem = BotUnsuitable(REASON)
    assert here.holds()
    here.problem = ConfigurationError("BOT_X is wrong")
    assert here.holds()


def test_the_note_of_another_installation_stays(bench: Bench, here: Installation) -> None:
    there = Installation(bench, "there")
    there.problem = BotUnsuitable(REASON)
    assert there.holds()

    assert not here.holds()

    hold = read_hold(bench.queue.notes.read())
    assert hold is not None
    assert hold.place == "there"


def test_the_note_is_renewed_before_it_looks_left_behind(here: Installation) -> None:
    assert RENEW_SECONDS * 2 < HOLD_SECONDS
    here.problem = BotUnsuitable(REASON)
    here.holds()
    first = here.queue.notes.read()[HELD].stored
    here.queue.notes.delete(HELD)

    here.holds(RENEW_SECONDS)

    assert here.queue.notes.read()[HELD].stored[24:] == first[24:]


def test_while_the_database_is_away_it_holds_all_the_same_and_tells_later(
    bench: Bench, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("away")

    here.problem = BotUnsuitable(REASON)
    with monkeypatch.context() as patch:
        patch.setattr(bench.queue.notes, "read", away)
        assert here.holds()
    assert HELD not in bench.queue.notes.read()

    assert here.holds()
    assert HELD in bench.queue.notes.read()


@pytest.mark.parametrize("text", ["", "by hand", "[]", '{"reason": "x"}'])
def test_a_note_that_is_not_ours_holds_nothing(here: Installation, text: str) -> None:
    here.queue.notes.write(HELD, text)

    assert read_hold(here.queue.notes.read()) is None
