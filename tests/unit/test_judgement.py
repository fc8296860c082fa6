"""What a run of the bot means: success, another try, or the end."""

from __future__ import annotations

import pytest

from scalable.lib.runners.judgement import judge
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.run_result import End, RunResult, ScriptEnd, ran_too_long

BROKEN = ScriptEnd("PHP fatal error: Uncaught Exception: no in /b/bot.php:3")
TEXT_ERROR = (
    "\nFatal error: Uncaught Exception: no in /b/bot.php:3\nStack trace:\n#0 {main}\n  thrown in /b/bot.php on line 3"
)
LOGGED_ERROR = "[24-Nov-2026 10:00:00 UTC] PHP Fatal error:  Uncaught Exception: no in /b/bot.php:3"


def of_exit(code: int, report: ScriptEnd | None = None, output: str = "") -> Outcome:
    return judge(RunResult(End.EXITED, 1.5, exit_code=code, report=report, output=output))


def of_status(status: int, report: ScriptEnd | None = None, output: str = "", retry_after: str = "") -> Outcome:
    result = RunResult(
        End.RESPONDED, 2.0, http_status=status, report=report, output=output, retry_after=retry_after, exit_code=0
    )
    return judge(result)


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        (0, Kind.SUCCEEDED, "exit code 0"),
        (1, Kind.FAILED, "exit code 1"),
        (255, Kind.FAILED, "exit code 255"),
        (65, Kind.FAILED_FOR_GOOD, "exit code 65: the bot refuses this update"),
    ],
)
def test_the_exit_code_decides(code: int, kind: Kind, cause: str):
    outcome = of_exit(code)

    assert (outcome.kind, outcome.cause, outcome.exit_code, outcome.seconds) == (kind, cause, code, 1.5)


def test_a_script_that_php_reports_as_broken_off_has_failed_whatever_the_exit_code_or_status_says():
    """Given a shutdown function that ends with exit(0), or display_errors on, which leaves the status at 200."""
    by_exit, by_status = of_exit(0, BROKEN), of_status(200, BROKEN)

    assert (by_exit.kind, by_status.kind) == (Kind.FAILED, Kind.FAILED)
    assert by_exit.cause == "PHP fatal error: Uncaught Exception: no in /b/bot.php:3 (exit code 0)"
    assert by_status.cause == "PHP fatal error: Uncaught Exception: no in /b/bot.php:3 (HTTP status 200)"


@pytest.mark.parametrize("words", [TEXT_ERROR, LOGGED_ERROR, "PHP message: PHP Fatal error:  x", "PHP Parse error:  y"])
@pytest.mark.parametrize("report", [None, ScriptEnd()])
def test_no_words_in_the_output_are_a_failure_because_people_write_them(words: str, report: ScriptEnd | None):
    assert of_exit(0, report, words).succeeded
    assert of_status(200, report, words).succeeded


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (200, Kind.SUCCEEDED, "exit code 0, HTTP status 200"),
        (500, Kind.FAILED, "exit code 0, HTTP status 500"),
        (410, Kind.FAILED_FOR_GOOD, "exit code 0, HTTP status 410: the bot refuses this update"),
    ],
)
def test_a_program_in_php_that_sets_a_status_means_it(status: int, kind: Kind, cause: str):
    outcome = of_exit(0, ScriptEnd(status=status))

    assert (outcome.kind, outcome.cause) == (kind, cause)
    assert of_exit(1, ScriptEnd(status=200)).cause == "exit code 1"


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        (200, Kind.SUCCEEDED, "HTTP status 200"),
        (204, Kind.SUCCEEDED, "HTTP status 204"),
        (301, Kind.FAILED, "HTTP status 301: a redirect, which is not followed"),
        (400, Kind.FAILED_FOR_GOOD, "HTTP status 400: the bot refuses this update"),
        (403, Kind.FAILED, "HTTP status 403"),
        (404, Kind.FAILED, "HTTP status 404"),
        (429, Kind.FAILED, "HTTP status 429"),
        (500, Kind.FAILED, "HTTP status 500"),
        (599, Kind.FAILED, "HTTP status 599"),
    ],
)
def test_the_status_decides(status: int, kind: Kind, cause: str):
    outcome = of_status(status)

    assert (outcome.kind, outcome.cause, outcome.http_status, outcome.seconds) == (kind, cause, status, 2.0)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "30", 30.0),
        (503, " 7 ", 7.0),
        (500, "999999", 3600.0),
        (503, "9" * 400, 3600.0),
        (200, "30", None),
        (404, "30", None),
        (503, "-1", None),
        (503, "soon", None),
        (503, "٣", None),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (503, "", None),
    ],
)
def test_a_wait_the_bot_asks_for_is_taken_from_a_429_or_5xx_alone(status: int, header: str, seconds: float | None):
    assert of_status(status, retry_after=header).retry_after_seconds == seconds


def test_what_the_bot_printed_and_answered_is_passed_on():
    outcome = judge(RunResult(End.RETURNED, 1.5, "returned", output="said", answer=b"{}", answer_type="text/plain"))

    assert (outcome.output, outcome.answer, outcome.answer_type) == ("said", b"{}", "text/plain")


def test_a_run_over_its_time_says_which_setting_to_change():
    outcome = judge(ran_too_long(60, 1.5, "half", exit_code=0))

    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 60 s (BOT_LEGACY_TIMEOUT)")
    assert (outcome.seconds, outcome.output, outcome.exit_code) == (1.5, "half", 0)


def test_a_run_over_its_time_says_what_goes_on_all_the_same():
    cause = judge(ran_too_long(2.5, 3.0, note="the bot did not stop")).cause

    assert cause == "stopped after 2.5 s (BOT_LEGACY_TIMEOUT); the bot did not stop"


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (End.RETURNED, Kind.SUCCEEDED),
        (End.RAISED, Kind.FAILED),
        (End.NO_USABLE_ANSWER, Kind.FAILED),
        (End.TIMED_OUT, Kind.TIMED_OUT),
        (End.DIED, Kind.DIED),
        (End.NOT_STARTED, Kind.FAILED),
        (End.NOT_AN_UPDATE, Kind.FAILED_FOR_GOOD),
    ],
)
def test_every_other_end_has_its_cause_from_the_runner(end: End, kind: Kind):
    """Given the report of a fatal error, which counts only for an exit or a response."""
    outcome = judge(RunResult(end, 1.5, "why", report=BROKEN))

    assert (outcome.kind, outcome.cause) == (kind, "why")
    assert outcome.was_not_started == (end is End.NOT_STARTED)


def test_every_end_is_judged():
    assert {type(judge(RunResult(end, 1.0)).kind) for end in End} == {Kind}


def test_only_success_and_a_refusal_are_not_tried_again():
    tried = {kind for kind in Kind if Outcome(kind, "x", 1.0).may_be_retried}

    assert tried == {Kind.FAILED, Kind.TIMED_OUT, Kind.DIED}
