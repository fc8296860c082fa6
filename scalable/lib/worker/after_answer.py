"""What a slot does while its bot works on after its answer: the job is done by then, whatever comes."""

from __future__ import annotations

import logging
import time
from typing import Optional

from scalable.lib.errors import StoppedAtOnce
from scalable.lib.logs import event
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.working_on import WorkingOn
from scalable.lib.stop_signal import StopSignal

log = logging.getLogger(__name__)


def note_of(outcome: Outcome, note: Optional[str]) -> str:
    """What is kept with the job, beside `note`."""
    answered = f"answered after {outcome.seconds:.1f} s, and worked on"
    return f"{note}; {answered}" if note else answered


def wait_for_end(works_on: WorkingOn, job: ClaimedJob, stop: StopSignal) -> None:
    """Until the bot ends, or is ended. It never raises because of the bot."""
    started = time.monotonic()
    try:
        warning = works_on.wait(lambda: check_stop(stop), lambda: stop.requested)
    except StoppedAtOnce as error:
        warning = str(error)
    seconds = time.monotonic() - started
    if warning:
        log.warning(event("bot stopped after its answer", id=job.id, seconds=seconds, cause=warning))
    else:
        log.info(event("bot ended after its answer", id=job.id, seconds=seconds))


def check_stop(stop: StopSignal) -> None:
    """Raises StoppedAtOnce when the worker is to stop at once."""
    if stop.at_once:
        raise StoppedAtOnce("asked to stop at once")
