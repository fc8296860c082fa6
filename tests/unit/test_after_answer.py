"""What a slot does while its bot works on after its answer."""

from __future__ import annotations

import logging
import re
import signal
import time
from collections.abc import Callable

import pytest

from scalable.lib.queue.job import ClaimedJob, Lease
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.working_on import WorkingOn
from scalable.lib.stop_signal import StopSignal
from scalable.lib.worker.after_answer import note_of, wait_for_end

JOB = ClaimedJob(17, "{}", 1, 1, "message", "chat:7", Lease(17, "token", "worker"), 0.0)
ANSWERED = Outcome(Kind.SUCCEEDED, "HTTP status 200", 0.31)


class Works(WorkingOn):
    """Ends with `warning` after one tick; `seen` is what it was told about a stop."""

    def __init__(self, warning: str = "") -> None:
        super().__init__(time.monotonic(), 1.0, 2.0, lambda: "")
        self.warning = warning
        self.seen: list[bool] = []

    def wait(self, tick: Callable[[], None], is_stopping: Callable[[], bool]) -> str:
        """See WorkingOn.wait."""
        tick()
        self.seen.append(is_stopping())
        return self.warning

    def _follow(self, deadline: float, tick: Callable[[], None]) -> None:
        raise NotImplementedError

    def _end(self) -> str:
        raise NotImplementedError


def test_the_job_says_until_when_it_may_work_on_beside_what_else_is_to_be_said() -> None:
    answered = r"answered after 0\.3 s, working on until \d\d:\d\d:\d\d UTC at most"

    assert re.fullmatch(answered, note_of(ANSWERED, None, Works()))
    assert re.fullmatch("reply not sent: x; " + answered, note_of(ANSWERED, "reply not sent: x", Works()))


def test_at_its_end_the_job_says_how_long_it_did_and_what_went_wrong() -> None:
    good = wait_for_end(Works(), JOB, StopSignal(), ANSWERED, "reply not sent: x")
    bad = wait_for_end(Works("stopped after 300 s"), JOB, StopSignal(), ANSWERED)

    assert good.note == "reply not sent: x; answered after 0.3 s, worked on for 0.0 s"
    assert bad.note == "answered after 0.3 s, worked on for 0.0 s: stopped after 300 s"


def test_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    works = Works()

    wait_for_end(works, JOB, StopSignal(), ANSWERED)

    assert works.seen == [False]
    assert caplog.messages[0].startswith("bot ended after its answer id=17 seconds=")


def test_a_bot_that_was_ended_is_a_warning_with_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    wait_for_end(Works("stopped after 300 s (BOT_LEGACY_BACKGROUND_SECONDS)"), JOB, StopSignal(), ANSWERED)

    assert caplog.records[0].levelname == "WARNING"
    assert "BOT_LEGACY_BACKGROUND_SECONDS" in caplog.messages[0]


def test_a_stop_is_told_and_one_at_once_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    stop, works = StopSignal(), Works()
    stop.request()
    wait_for_end(works, JOB, stop, ANSWERED)
    stop.request(signal.SIGQUIT)
    wait_for_end(works, JOB, stop, ANSWERED)

    assert works.seen == [True]
    assert "asked to stop at once" in caplog.messages[-1]
