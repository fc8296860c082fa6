"""A flood of refused requests is a few lines and a number; what is about jobs is written whole."""

from __future__ import annotations

import pytest

from scalable.lib.log_floods import LogFloods
from tests.support.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def floods(clock: FakeClock) -> LogFloods:
    return LogFloods(most=10, seconds=60, clock=clock)


REFUSED = "update refused status=401 cause=wrong"


@pytest.mark.parametrize(
    ("logger", "line"),
    [
        ("scalable.lib.ingest.pipeline", REFUSED),
        ("scalable.lib.dashboard.login", "login refused status=403 address=1.2.3.4"),
        ("scalable.lib.ingest.wsgi", "request failed method=GET script=/x"),
        ("waitress", "Exception while serving /x"),
        ("waitress.queue", "Task queue depth is 7"),
    ],
)
def test_of_what_anybody_can_cause_a_few_are_written_and_the_rest_is_counted(
    floods: LogFloods, clock: FakeClock, logger: str, line: str
) -> None:
    written = sum(floods.is_written(logger, line) for _ in range(1000))
    assert floods.sums() == []
    clock.advance(61)

    [told] = floods.sums()

    assert written == 10
    assert told.endswith("count=990 seconds=60")
    assert floods.sums() == []
    assert floods.is_written(logger, line)


@pytest.mark.parametrize("line", ["job failed id=17", "reply not sent id=1", "bot failed", "pool started pid=7"])
def test_what_is_about_jobs_is_written_whole(floods: LogFloods, line: str) -> None:
    assert all(floods.is_written("scalable.lib.worker.slot", line) for _ in range(1000))


def test_one_kind_does_not_hide_another(floods: LogFloods) -> None:
    for _ in range(100):
        floods.is_written("a", REFUSED)

    assert floods.is_written("a", "login refused status=403")


def test_nothing_is_told_of_what_was_written_whole(floods: LogFloods, clock: FakeClock) -> None:
    for _ in range(10):
        floods.is_written("a", REFUSED)
    clock.advance(61)

    assert floods.sums() == []


def test_at_the_end_of_the_process_the_sum_is_told_early(floods: LogFloods) -> None:
    for _ in range(11):
        floods.is_written("a", REFUSED)

    assert floods.sums(at_the_end=True) == ['more of these lines were left out of="update refused" count=1 seconds=60']
