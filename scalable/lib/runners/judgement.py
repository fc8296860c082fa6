"""What a run of the bot means: the one place that decides whether it succeeded, and whether another try may help."""

from __future__ import annotations

import signal

from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.fatal_errors import fatal_error
from scalable.lib.runners.process import ProcessEnd
from scalable.lib.runners.response import Response

# EX_DATAERR of sysexits.h, "the input data was incorrect in some way": a bot says so that trying again is no use.
DATA_ERROR = 65
# The bot refuses this very update: Bad Request, Gone, Content Too Large, Unsupported Media Type, Unprocessable Content
# (RFC 9110, 15.5). Not 404 or 403: those are the address, and somebody is going to put it right.
REFUSALS = frozenset({400, 410, 413, 415, 422})
# Telegram itself honours no more than this.
LONGEST_RETRY_AFTER_SECONDS = 3600.0


def judge_exit(end: ProcessEnd, timeout_seconds: float) -> Outcome:
    """Of a program: exit code 0 is success, unless PHP says that the script broke off."""
    if end.timed_out:
        return ran_too_long(timeout_seconds, end.seconds, end.output, end.returncode)
    kind, cause = _of_exit(end)
    return Outcome(
        kind,
        cause,
        end.seconds,
        exit_code=end.returncode,
        output=end.output,
        answer=end.head if end.is_whole else b"",
    )


def judge_response(response: Response, seconds: float) -> Outcome:
    """Of an HTTP response: any 2xx is success, as for Telegram, unless PHP says that the script broke off."""
    kind, cause = _of_response(response)
    return Outcome(
        kind,
        cause,
        seconds,
        http_status=response.status,
        retry_after_seconds=_retry_after(response),
        output="\n".join(part for part in (response.body_end, response.errors) if part),
        answer=response.body if response.is_whole else b"",
        answer_type=response.headers.get("content-type", ""),
    )


def judge_system_exit(code: object, seconds: float, output: str = "") -> Outcome:
    """Of sys.exit() in a bot inside the worker: as of a program, which ends with 1 when `code` is no number.

    Of a number the system keeps the last eight bits (exit(3)).
    """
    number = 0 if code is None else int(code) & 0xFF if isinstance(code, int) else 1
    kind, cause = _of_code(number)
    said = [output, "" if code is None or isinstance(code, int) else str(code)]
    return Outcome(kind, cause, seconds, exit_code=number, output="\n".join(part for part in said if part))


def not_an_update(why: str) -> Outcome:
    """Of a job whose payload no bot could be given: however often it is tried, it stays what it is."""
    return Outcome(Kind.FAILED_FOR_GOOD, f"the job holds no update: {why}", 0.0)


def ran_too_long(timeout_seconds: float, seconds: float, output: str = "", exit_code: int | None = None) -> Outcome:
    """Of a run that was ended because its time was over."""
    cause = f"stopped after {timeout_seconds:g} s (BOT_LEGACY_TIMEOUT)"
    return Outcome(Kind.TIMED_OUT, cause, seconds, exit_code=exit_code, output=output)


def _of_exit(end: ProcessEnd) -> tuple[Kind, str]:
    if end.returncode < 0:
        return Kind.DIED, f"killed by {signal_name(-end.returncode)}"
    broken = fatal_error(end.logged, end.stdout)
    if broken:
        return Kind.FAILED, f"{broken} (exit code {end.returncode})"
    return _of_code(end.returncode)


def _of_code(code: int) -> tuple[Kind, str]:
    if code == DATA_ERROR:
        return Kind.FAILED_FOR_GOOD, f"exit code {DATA_ERROR}: the bot refuses this update"
    return Kind.SUCCEEDED if code == 0 else Kind.FAILED, f"exit code {code}"


def _of_response(response: Response) -> tuple[Kind, str]:
    broken = fatal_error(response.logged, response.body_end)
    if broken:
        return Kind.FAILED, f"{broken} (HTTP status {response.status})"
    cause = f"HTTP status {response.status}"
    if 200 <= response.status < 300:
        return Kind.SUCCEEDED, cause
    if 300 <= response.status < 400:
        return Kind.FAILED, f"{cause}: a redirect, which is not followed"
    if response.status in REFUSALS:
        return Kind.FAILED_FOR_GOOD, f"{cause}: the bot refuses this update"
    return Kind.FAILED, cause


def _retry_after(response: Response) -> float | None:
    """Seconds of a Retry-After header with 429 or a 5xx (RFC 9110, 10.2.3); a date in it is not used."""
    text = response.headers.get("retry-after", "").strip()
    if not (response.status == 429 or 500 <= response.status < 600) or not (text.isascii() and text.isdigit()):
        return None
    return min(float(text[:9]), LONGEST_RETRY_AFTER_SECONDS)


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; `signal 35` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
