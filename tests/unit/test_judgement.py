"""What a run of the bot means: success, another try, or the end."""

from __future__ import annotations

import pytest

from scalable.lib.runners.judgement import judge_exit, judge_response, judge_system_exit, not_an_update, ran_too_long
from scalable.lib.runners.outcome import Kind
from scalable.lib.runners.process import ProcessEnd
from scalable.lib.runners.response import Response

TEXT_ERROR = (
    "\nFatal error: Uncaught Exception: no in /b/bot.php:3\nStack trace:\n#0 {main}\n  thrown in /b/bot.php on line 3"
)
HTML_ERROR = (
    "<br />\n<b>Fatal error</b>:  Uncaught Exception: a &lt; b in /b/bot.php:3\nStack trace:\n#0 {main}\n"
    "  thrown in <b>/b/bot.php</b> on line <b>3</b><br />\n"
)
# As PHP 8.5 shows an error that is no exception.
TRACED_ERROR = (
    "\nFatal error: Allowed memory size of 16777216 bytes exhausted in /b/bot.php on line 3\nStack trace:\n"
    "#0 /b/bot.php(3): str_repeat('x', 67108864)\n#1 {main}\n"
)
LOGGED_ERROR = (
    "[24-Nov-2026 10:00:00 UTC] PHP Fatal error:  Uncaught Exception: no in /b/bot.php:3\nStack trace:\n#0 {main}"
)


def end(returncode: int = 0, *, stdout: str = "", stderr: str = "", timed_out: bool = False, is_whole: bool = True):
    return ProcessEnd(returncode, timed_out, 1.5, stdout.encode(), is_whole, stdout, stderr, stderr)


@pytest.mark.parametrize(
    ("returncode", "kind", "cause"),
    [
        (0, Kind.SUCCEEDED, "exit code 0"),
        (1, Kind.FAILED, "exit code 1"),
        (255, Kind.FAILED, "exit code 255"),
        (65, Kind.FAILED_FOR_GOOD, "exit code 65: the bot refuses this update"),
        (-9, Kind.DIED, "killed by SIGKILL"),
    ],
)
def test_the_exit_code_decides(returncode: int, kind: Kind, cause: str):
    outcome = judge_exit(end(returncode, stdout="said"), 60)

    assert (outcome.kind, outcome.cause, outcome.exit_code, outcome.seconds) == (kind, cause, returncode, 1.5)
    assert (outcome.output, outcome.answer) == ("said", b"said")


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        ("", LOGGED_ERROR),
        ("", "PHP message: " + LOGGED_ERROR.partition("] ")[2]),
        ("", "PHP message: one; PHP message: two; PHP message: " + LOGGED_ERROR.partition("] ")[2]),
        ("", "noise\nPHP Parse error:  syntax error, unexpected end of file in /b/bot.php on line 3"),
        ("PHP Fatal error ahead" + TEXT_ERROR, ""),
        ("<p>hello</p>" + HTML_ERROR, ""),
        ("hello" + TRACED_ERROR, ""),
    ],
)
def test_php_that_broke_off_has_failed_whatever_the_exit_code_or_status_says(stdout: str, stderr: str):
    """Given a shutdown function that ends with exit(0), or display_errors on, which leaves the status at 200."""
    by_exit = judge_exit(end(0, stdout=stdout, stderr=stderr), 60)
    by_status = judge_response(Response(200, {}, stdout.encode(), True, stdout, stderr, stderr), 1.0)

    assert (by_exit.kind, by_status.kind) == (Kind.FAILED, Kind.FAILED)
    assert by_exit.cause.startswith(
        (
            "PHP fatal error: Uncaught Exception: ",
            "PHP parse error: syntax error",
            "PHP fatal error: Allowed memory",
        )
    )
    assert by_exit.cause.endswith(" (exit code 0)")
    assert by_status.cause.endswith(" (HTTP status 200)")


def test_what_php_showed_as_html_is_told_as_text():
    outcome = judge_response(Response(200, {}, HTML_ERROR.encode(), True, HTML_ERROR.strip()), 1.0)

    assert outcome.cause == "PHP fatal error: Uncaught Exception: a < b in /b/bot.php:3 (HTTP status 200)"


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (TEXT_ERROR[-60:], ""),
        (HTML_ERROR[-90:] + "\n", ""),
        ("", TEXT_ERROR[-60:] + "\nand then noise"),
    ],
)
def test_the_end_of_a_long_stack_trace_is_enough(stdout: str, stderr: str):
    """Given one that is longer than what is kept of an output, as frameworks have them."""
    outcome = judge_response(Response(200, {}, b"", False, stdout, stderr, stderr), 1.0)

    assert (outcome.kind, outcome.cause) == (
        Kind.FAILED,
        "PHP fatal error: uncaught, thrown in /b/bot.php on line 3 (HTTP status 200)",
    )


@pytest.mark.parametrize(
    "words",
    [
        "#0 {main}\n  thrown in /b/bot.php on line 3\nand then the bot went on",
        "Exception: no in /b/bot.php:3\nStack trace:\n#0 /b/lib.php(4): f()\n#1 {main}",
        "a user wrote: Fatal error: oh no",
        "Fatal error: in the middle on line 3\nand then the bot went on",
        "PHP Fatal error:  in its own output",
        "Warning: something in /b/bot.php on line 3",
        "Fatal error: " + "x\n" * 5000,
    ],
)
def test_words_that_only_look_like_it_are_no_failure(words: str):
    assert judge_exit(end(0, stdout=words), 60).succeeded


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
    outcome = judge_response(Response(status, {}, b"body", True, "body", "errors"), 2.0)

    assert (outcome.kind, outcome.cause, outcome.http_status, outcome.seconds) == (kind, cause, status, 2.0)
    assert (outcome.output, outcome.answer) == ("body\nerrors", b"body")


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
    assert judge_response(Response(status, {"retry-after": header}), 1.0).retry_after_seconds == seconds


def test_an_answer_that_was_cut_is_no_answer():
    assert judge_exit(end(0, stdout="begins", is_whole=False), 60).answer == b""
    assert judge_response(Response(200, {}, b"begins", is_whole=False), 1.0).answer == b""


def test_a_run_over_its_time_says_which_setting_to_change():
    outcome = judge_exit(end(0, stdout="half", timed_out=True), 60)

    assert outcome == ran_too_long(60, 1.5, "half", 0)
    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 60 s (BOT_LEGACY_TIMEOUT)")


@pytest.mark.parametrize(
    ("code", "kind", "cause", "output"),
    [
        (None, Kind.SUCCEEDED, "exit code 0", "said"),
        (0, Kind.SUCCEEDED, "exit code 0", "said"),
        (1, Kind.FAILED, "exit code 1", "said"),
        (65, Kind.FAILED_FOR_GOOD, "exit code 65: the bot refuses this update", "said"),
        (-1, Kind.FAILED, "exit code 255", "said"),
        ("no database", Kind.FAILED, "exit code 1", "said\nno database"),
        ((1, 2), Kind.FAILED, "exit code 1", "said\n(1, 2)"),
    ],
)
def test_sys_exit_inside_the_worker_is_judged_as_the_exit_of_a_program(code, kind: Kind, cause: str, output: str):
    outcome = judge_system_exit(code, 1.5, "said")

    assert (outcome.kind, outcome.cause, outcome.output, outcome.seconds) == (kind, cause, output, 1.5)


def test_a_job_without_an_update_is_not_tried_again():
    outcome = not_an_update("expected a JSON object, got a list")

    assert outcome.cause == "the job holds no update: expected a JSON object, got a list"
    assert (outcome.succeeded, outcome.may_be_retried) == (False, False)


def test_only_success_and_a_refusal_are_not_tried_again():
    tried = {kind for kind in Kind if judge_exit(end(), 60).__class__(kind, "x", 1.0).may_be_retried}

    assert tried == {Kind.FAILED, Kind.TIMED_OUT, Kind.DIED}
