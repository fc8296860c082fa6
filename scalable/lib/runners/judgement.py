"""The outcome of a run: the one place that decides whether it succeeded, and whether another try may help.

Uses only the result of the run, and does not depend on the runner.
"""

from __future__ import annotations

from typing import Optional

from scalable.lib.redaction import one_line
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.run_result import End, RunResult, ScriptEnd, joined

# EX_DATAERR of sysexits.h, "the input data was incorrect in some way": by it a bot reports that another try is no use.
DATA_ERROR = 65
# The bot refuses this very update: Bad Request, Gone, Content Too Large, Unsupported Media Type, Unprocessable Content
# (RFC 9110, 15.5). Not 404 or 403: those are about the address, which can be corrected.
REFUSALS = frozenset({400, 410, 413, 415, 422})
# Telegram itself waits no longer than this.
LONGEST_RETRY_AFTER_SECONDS = 3600.0
REFUSED = ": the bot refuses this update"
_KINDS = {
    End.RETURNED: Kind.SUCCEEDED,
    End.RAISED: Kind.FAILED,
    End.NO_USABLE_ANSWER: Kind.FAILED,
    End.TIMED_OUT: Kind.TIMED_OUT,
    End.DIED: Kind.DIED,
    End.NOT_STARTED: Kind.FAILED,
    End.NOT_AN_UPDATE: Kind.FAILED_FOR_GOOD,  # another try would send the same payload
}


def judge(result: RunResult, is_strict: bool = False) -> Outcome:
    """Exit code 0 and any 2xx are success, as for Telegram, unless PHP reports that the script broke off.

    What the bot printed or logged decides nothing: people write it. Unless its owner wants that (`is_strict`): then a
    success with warnings is a failure, but for one that was answered already.
    """
    kind, cause = _kind_and_cause(result)
    if is_strict and kind is Kind.SUCCEEDED and result.warnings and not result.works_on:
        first = result.warnings.partition("\n")[0]
        kind, cause = Kind.FAILED, f"{one_line(first)} (a warning, BOT_LEGACY_STRICT=1)"
    return Outcome(
        kind,
        cause,
        result.seconds,
        result.exit_code,
        result.http_status,
        _retry_after_seconds(result),
        result.output,
        result.answer,
        result.answer_type,
        result.end is End.NOT_STARTED,
        joined((result.warnings, result.logged)),
    )


def _kind_and_cause(result: RunResult) -> tuple[Kind, str]:
    report = result.report or ScriptEnd()
    if result.end is End.EXITED:
        kind, meaning = _of_exit_code(result.exit_code)
        told = f"exit code {result.exit_code}"
        if kind is Kind.SUCCEEDED and report.status is not None:  # a PHP script that knows of no exit codes
            kind, meaning = _of_status(report.status)
            told += f", HTTP status {report.status}"
    elif result.end is End.RESPONDED:
        kind, meaning = _of_status(result.http_status or 0)
        told = f"HTTP status {result.http_status}"
    else:
        return _KINDS[result.end], result.cause
    # What breaks off after the answer does not change that the update was served.
    broken = "" if result.works_on else report.fatal_error
    return (Kind.FAILED, f"{broken} ({told})") if broken else (kind, told + meaning)


def _of_exit_code(code: Optional[int]) -> tuple[Kind, str]:
    if code == DATA_ERROR:
        return Kind.FAILED_FOR_GOOD, REFUSED
    return Kind.SUCCEEDED if code == 0 else Kind.FAILED, ""


def _of_status(status: int) -> tuple[Kind, str]:
    if status in REFUSALS:
        return Kind.FAILED_FOR_GOOD, REFUSED
    if 300 <= status < 400:
        return Kind.FAILED, ": a redirect, which is not followed"
    return Kind.SUCCEEDED if 200 <= status < 300 else Kind.FAILED, ""


def _retry_after_seconds(result: RunResult) -> Optional[float]:
    """Seconds of a Retry-After header with 429 or a 5xx (RFC 9110, 10.2.3); a date in it is not used."""
    status, text = result.http_status or 0, result.retry_after.strip()
    if not (status == 429 or 500 <= status < 600) or not (text.isascii() and text.isdigit()):
        return None
    return min(float(text[:9]), LONGEST_RETRY_AFTER_SECONDS)
