"""What a slot does while its bot works on after its answer: the job is done by then, whatever comes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Optional

from scalable.lib.errors import StoppedAtOnce
from scalable.lib.logs import event
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.run_result import joined
from scalable.lib.runners.working_on import WorkingOn
from scalable.lib.stop_signal import StopSignal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkEnd:
    """The end of a bot that had answered: what is kept with its job now, and the warnings of the whole run.

    `outcome`: of the run as far as its answer.
    """

    job: ClaimedJob
    outcome: Outcome
    note: str
    warnings: str = field(repr=False)


def note_of(outcome: Outcome, note: Optional[str], works_on: WorkingOn) -> str:
    """What is kept with the job, beside `note`, while the bot works on. It stays when the worker dies meanwhile."""
    until = datetime.now(timezone.utc) + timedelta(seconds=works_on.seconds_left)
    return joined((note or "", f"{_answered(outcome)}, working on until {until:%H:%M:%S} UTC at most"), "; ")


def wait_for_end(
    works_on: WorkingOn, job: ClaimedJob, stop: StopSignal, outcome: Outcome, note: Optional[str] = None
) -> WorkEnd:
    """Wait until the bot ends, or is ended. It never raises because of the bot."""
    started = time.monotonic()
    try:
        problem = works_on.wait(lambda: check_stop(stop), lambda: stop.requested)
    except StoppedAtOnce as error:
        problem = str(error)
    seconds = time.monotonic() - started
    if problem:
        log.warning(event("bot stopped after its answer", id=job.id, seconds=seconds, cause=problem))
    else:
        log.info(event("bot ended after its answer", id=job.id, seconds=seconds))
    ended = joined((f"{_answered(outcome)}, worked on for {seconds:.1f} s", problem), ": ")
    return WorkEnd(job, outcome, joined((note or "", ended), "; "), works_on.warnings())


def check_stop(stop: StopSignal) -> None:
    """Raises StoppedAtOnce when the worker is to stop at once."""
    if stop.at_once:
        raise StoppedAtOnce("asked to stop at once")


def _answered(outcome: Outcome) -> str:
    return f"answered after {outcome.seconds:.1f} s"
