"""The result of one run of the bot: facts only. runners/judgement.py decides what they mean for the job."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from scalable.lib.runners.working_on import WorkingOn


class End(Enum):
    """How a run ended.

    An exit has its `exit_code` and a response its `http_status`; of every other end the `cause` is in the result.
    """

    EXITED = "exited"
    RESPONDED = "responded"
    RETURNED = "returned"
    RAISED = "raised"
    NO_USABLE_ANSWER = "no usable answer"
    TIMED_OUT = "timed out"
    DIED = "died"
    NOT_STARTED = "not started"
    NOT_AN_UPDATE = "not an update"


@dataclass(frozen=True)
class ScriptEnd:
    """What PHP itself reported of a script, see php/script_report.py.

    `fatal_error` after which it did not go on, in one line; empty: there was none. `status` of its response; None when
    it set none, which only a program can do. `logged`: the end of what was added to the file that is PHP's error log
    while the script ran; what other scripts logged meanwhile may be among it.
    """

    fatal_error: str = ""
    status: Optional[int] = None
    logged: str = field(default="", repr=False)


@dataclass(frozen=True)
class RunResult:
    """`seconds` by a monotonic clock. `cause` is for a person, `output` the end of what was printed, in text.

    `report` is None where PHP reports nothing: it is not ours, or its script was killed.
    `answer` is what the web server would have got from the bot: the body of its response, or its standard output.
    Empty when there was none, or when it was larger than captured_output.HEAD_BYTES. `answer_type` is the Content-Type
    it was given with; None when there was no way to give one. `retry_after` is the header Retry-After.
    `works_on`: the bot has answered, and has not ended. `warnings`: the part of `output` that this bot wrote for
    its operator, to standard error.
    """

    end: End
    seconds: float
    cause: str = ""
    exit_code: Optional[int] = None
    http_status: Optional[int] = None
    retry_after: str = ""
    output: str = field(default="", repr=False)
    report: Optional[ScriptEnd] = None
    answer: bytes = field(default=b"", repr=False)
    answer_type: Optional[str] = None
    works_on: Optional[WorkingOn] = field(default=None, repr=False)
    warnings: str = field(default="", repr=False)

    @property
    def logged(self) -> str:
        """See ScriptEnd."""
        return self.report.logged if self.report is not None else ""


def ran_too_long(
    timeout_seconds: float, seconds: float, output: str = "", note: str = "", exit_code: Optional[int] = None
) -> RunResult:
    """Of a run that was ended because its time was over; `note` is a warning for a person."""
    cause = joined((f"stopped after {timeout_seconds:g} s (BOT_LEGACY_TIMEOUT)", note), "; ")
    return RunResult(End.TIMED_OUT, seconds, cause, exit_code, output=output)


def joined(texts: tuple[str, ...], separator: str = "\n") -> str:
    """Those texts that are not empty."""
    return separator.join(text for text in texts if text)
