"""What all workers of a queue share about an outage of the bot's side: the breaker, and the failures that led to it.

Two rows beside the notes. While the row `breaker` exists, no claim finds a job (see statements.py), but the probe of
one worker at a time: `held_until`, by the database's clock, is when the next turn may begin, or when a prober that is
not heard of any more is taken for dead. Every change of that row names the value it starts from. What is evidence of an
outage, and when it is over, worker/breaker.py decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Optional

from scalable.lib.queue.claim import claim_lanes
from scalable.lib.queue.claim_request import ClaimRequest
from scalable.lib.queue.job import ClaimedJob
from scalable.lib.queue.lane_walk import LaneWalk
from scalable.lib.queue.notes import BREAKER, LONGEST_HOLD_SECONDS, MAX_CHARACTERS, Note, Notes, note_of
from scalable.lib.queue.rows import optional_time, time_of
from scalable.lib.queue.table import QueueTable

FAILURES = "failures"
# As many fit into the text of a note.
MOST_FAILURES, MOST_SUSPECTS, MOST_PROBED, MOST_BLAMED, MOST_WRONG = 30, 40, 60, 100, 30
MOST_CAUSE_CHARACTERS = 300

# Both rows, and what time it is. By primary key.
READ = """
SELECT name, value, {now}, held_until
FROM {jobs}_meta
WHERE name IN ('breaker', 'failures')
UNION ALL
SELECT 'now', '', {now}, NULL
LIMIT 3
"""

# Stops all claims. The primary key refuses a second worker that finds the same outage.
OPEN = """
INSERT INTO {jobs}_meta (name, value, held_until)
VALUES ('breaker', {stamped:text}, {in:seconds})
"""

# The turn to probe. By primary key; of two workers the second one finds another value. {far} is further ahead than any
# turn is put: the clock was wrong then.
TAKE_PROBE = """
UPDATE {jobs}_meta
SET value = {stamped:text}, held_until = {in:seconds}
WHERE name = 'breaker'
  AND value = :stored
  AND (held_until IS NULL OR held_until <= {now} OR held_until > {in:far})
"""

# How the probe ended, or that there was nothing to probe. By primary key; only the prober's own value.
CHANGE = """
UPDATE {jobs}_meta
SET value = {stamped:text}, held_until = {in:seconds}
WHERE name = 'breaker'
  AND value = :stored
"""

# Claims go on. By primary key.
CLOSE = """
DELETE FROM {jobs}_meta
WHERE name = 'breaker'
"""

# Gives back what the attempts that failed before the breaker opened have used, also when another worker has just
# claimed the job once more: that run fails as well. By primary key. It names the number of attempts it starts from.
REFUND = """
UPDATE {jobs}
SET attempts = attempts - :runs, updated_at = {now}
WHERE id = :id
  AND status IN ('pending', 'processing')
  AND attempts BETWEEN :attempts AND :attempts + 1
  AND attempts >= :runs
"""

# Whether a run of the last ones that were due has succeeded lately. By index turn, backwards.
SUCCEEDED = """
SELECT 1
FROM (
    SELECT processed_at
    FROM {jobs} {use:turn}
    WHERE status = 'done'
      AND parked = 0
      AND priority = 2
    ORDER BY available_at DESC, id DESC
    LIMIT 50) AS found
WHERE processed_at > {ago:seconds}
LIMIT 1
"""


@dataclass(frozen=True)
class Outage:
    """The bot's side is down. `since`: UTC. `step` counts the probes that failed, `probed` are the last jobs of them.

    `prober` is the worker whose turn it is; `seconds_to_probe`: until the next turn, 0 or less when it has come.
    `blamed`: the lanes and senders of what failed; `innocent_step` counts the probes of others that failed, and for
    `seconds_to_retry` only those are probed.
    """

    since: datetime
    cause: str
    step: int = 0
    prober: str = ""
    probed: tuple[int, ...] = ()
    seconds_to_probe: float = 0.0
    blamed: tuple[str, ...] = ()
    innocent_step: int = 0
    seconds_to_retry: float = 0.0
    stored: str = field(repr=False, default="")


@dataclass(frozen=True)
class Failure:
    """A run that failed. `lane`, `cause`, `sender`: fingerprints; `at`: seconds since 1970 by the database's clock."""

    job_id: int
    attempt: int
    lane: str
    cause: str
    at: float
    sender: str = ""


@dataclass(frozen=True)
class Evidence:
    """The last failures of all workers; those from `first` on have no success after them, as far as is known.

    `suspects`: in how many outages a job was among the evidence. `wrong`: of how many outages that were none a lane or
    sender was evidence, and of the last one when.
    """

    failures: tuple[Failure, ...] = ()
    first: int = 0
    suspects: dict[int, int] = field(default_factory=dict)
    wrong: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def counted(self) -> tuple[Failure, ...]:
        """Those that may be of an outage."""
        return self.failures[self.first :]


@dataclass(frozen=True)
class Shared:
    """Both rows as they are `now`, in seconds since 1970."""

    outage: Optional[Outage]
    evidence: Evidence
    now: float
    note: Optional[Note] = None


def outage_of(note: Note, held_until: Optional[datetime] = None) -> Outage:
    """The outage that the note tells of; one that cannot be read is one as well, since it was written."""
    try:
        told = json.loads(note.text)
        since = datetime.fromtimestamp(float(told["since"]), timezone.utc) if told["since"] else note.at
        values = (str(told["cause"]), int(told["step"]), str(told["prober"]), tuple(map(int, told["probed"])))
        blamed, innocent_step = tuple(map(str, told.get("blamed", ()))), int(told.get("innocent_step", 0))
        retry_after = min(float(told.get("retry_after", 0.0)), LONGEST_HOLD_SECONDS)
    except (ValueError, TypeError, KeyError, OverflowError):
        since, values, blamed, innocent_step, retry_after = note.at, ("unknown", 0, "", ()), (), 0, 0.0
    now = note.at.timestamp() + note.age_seconds
    seconds = 0.0 if held_until is None else held_until.timestamp() - now
    seconds = min(seconds, LONGEST_HOLD_SECONDS)
    return Outage(since, *values, seconds, blamed, innocent_step, seconds + retry_after, note.stored)


class Outages:
    """Of the queue in `table`. Safe to share between threads. Every method raises DatabaseUnavailable."""

    def __init__(self, table: QueueTable) -> None:
        self._table = table
        self._notes = Notes(table)
        self._walk = LaneWalk(table)

    def read(self) -> Shared:
        """How it stands; one statement."""
        rows = {name: (value, now, held) for name, value, now, held in self._table.rows(READ)}
        now = time_of(rows["now"][1]).timestamp()
        outage = note = None
        if BREAKER in rows:
            value, at, held = rows[BREAKER]
            outage = outage_of(note_of(value, at), optional_time(held))
        if FAILURES in rows:
            note = note_of(*rows[FAILURES][:2])
        return Shared(outage, _evidence(note), now, note)

    def open(self, cause: str, seconds: float, blamed: Iterable[str] = ()) -> bool:
        """Stop claims; the first probe may begin in so many seconds. False when another worker has just done it."""
        outage = Outage(datetime.fromtimestamp(0, timezone.utc), cause, blamed=tuple(blamed), seconds_to_retry=seconds)
        text = _outage_text(outage, seconds)
        return self._table.add(OPEN, text=text, seconds=seconds)

    def take_probe(self, outage: Outage, worker: str, seconds: float) -> Optional[Outage]:
        """The outage with `worker` as the prober for so many seconds; None when it is not its turn, or it is over."""
        text = _outage_text(replace(outage, prober=worker), seconds)
        values = {"text": text, "stored": outage.stored, "seconds": seconds, "far": LONGEST_HOLD_SECONDS}
        if not self._table.change(TAKE_PROBE, **values):
            return None
        taken = self.read().outage
        return taken if taken is not None and taken.prober == worker else None

    def end_turn(self, outage: Outage, seconds: float) -> bool:
        """Its turn is over, `outage` is how it stands now, and the next one begins in so many seconds."""
        return self.change(replace(outage, prober=""), seconds)

    def change(self, outage: Outage, seconds: float) -> bool:
        """`outage` is how it stands now; the next turn begins in so many seconds. False: it was changed meanwhile."""
        text = _outage_text(outage, seconds)
        return bool(self._table.change(CHANGE, text=text, stored=outage.stored, seconds=seconds))

    def close(self) -> bool:
        """Claims go on; False when they did already. Safe to repeat."""
        return bool(self._table.change(CLOSE))

    def claim_probe(self, worker: str, lease_seconds: float, skipped: Sequence[int]) -> list[ClaimedJob]:
        """One due job that is none of the `skipped`, the most pressing first, although claims are stopped."""
        request = ClaimRequest(worker, lease_seconds, 1, probe_without=tuple(skipped))
        return [lane.jobs[0] for lane in claim_lanes(self._table, self._walk, request)]

    def claim_innocent(self, worker: str, lease_seconds: float, outage: Outage) -> list[ClaimedJob]:
        """One due job that has never failed, of nobody who is blamed, the most pressing first."""
        blamed = frozenset(outage.blamed)
        request = ClaimRequest(worker, lease_seconds, 1, probe_without=outage.probed, not_from=blamed)
        return [lane.jobs[0] for lane in claim_lanes(self._table, self._walk, request)]

    def store(self, evidence: Evidence, last: Shared) -> bool:
        """Store the evidence, if nobody else has done so since `last` was read."""
        return self._notes.write_if_unchanged(FAILURES, _evidence_text(evidence), last.note)

    def refund(self, failures: Iterable[Failure], running: Optional[Failure] = None) -> int:
        """Give back the attempts of these runs; of how many jobs.

        `running`: the run of one of them whose end is not stored yet; that attempt is not given back here.
        """
        of_job: dict[int, list[Failure]] = {}
        for failure in failures:
            of_job.setdefault(failure.job_id, []).append(failure)
        refunded = 0
        for job_id, runs in of_job.items():
            last = max(run.attempt for run in runs)
            if running is not None and running.job_id == job_id:
                last = running.attempt
            values = {"id": job_id, "attempts": last, "runs": len(runs)}
            refunded += self._table.change(REFUND, **values)
        return refunded

    def succeeded_within(self, seconds: float) -> bool:
        """Whether a run has succeeded in these last seconds, as far as a short look shows."""
        return bool(self._table.rows(SUCCEEDED, seconds=max(0.0, seconds)))


def _outage_text(outage: Outage, seconds_to_probe: float) -> str:
    told = {
        "since": outage.since.timestamp(),
        "step": outage.step,
        "prober": outage.prober,
        "probed": list(outage.probed[-MOST_PROBED:]),
        "cause": outage.cause[:MOST_CAUSE_CHARACTERS],
        "blamed": list(dict.fromkeys(outage.blamed))[-MOST_BLAMED:],
        "innocent_step": outage.innocent_step,
        "retry_after": round(outage.seconds_to_retry - seconds_to_probe, 3),
    }
    return json.dumps(told)


def _evidence(note: Optional[Note]) -> Evidence:
    """What the note holds; nothing when it cannot be read."""
    try:
        told: Any = json.loads(note.text) if note is not None else {}
        failures = tuple(Failure(*run) for run in told.get("failures", ()))
        suspects = {int(job_id): int(times) for job_id, times in told.get("suspects", {}).items()}
        wrong = {str(mark): (int(times), float(at)) for mark, (times, at) in told.get("wrong", {}).items()}
        return Evidence(failures, int(told.get("first", 0)), suspects, wrong)
    except (ValueError, TypeError, AttributeError):
        return Evidence()


def _evidence_text(evidence: Evidence) -> str:
    cut = max(0, len(evidence.failures) - MOST_FAILURES)
    failures = evidence.failures[cut:]
    runs = [(run.job_id, run.attempt, run.lane, run.cause, round(run.at, 3), run.sender) for run in failures]
    suspects = dict(list(evidence.suspects.items())[-MOST_SUSPECTS:])
    wrong = dict(list(evidence.wrong.items())[-MOST_WRONG:])
    told = {"first": max(0, evidence.first - cut), "failures": runs, "suspects": suspects, "wrong": wrong}
    text = json.dumps(told, separators=(",", ":"))
    return text if len(text) <= MAX_CHARACTERS else json.dumps({"failures": [], "suspects": {}})
