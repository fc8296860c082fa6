"""Decides when failed runs mean that the bot's side is down, and how long to wait before it is tried again.

Pure: values in, values out. An outage is told from bad luck by how often the bot failed before: so many failures alike
in a row, of two lanes and two senders at least and without any success between them, must be all but impossible by
chance. A job that always fails is one lane, and a person in many chats one sender, so neither is ever an outage by
itself; two of them that fail alike hold up the others no more than MOST_OUTAGES times, each until the first probe.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from scalable.lib.queue.outages import MOST_FAILURES, Evidence, Failure
from scalable.lib.runners.outcome import Outcome

SHORTEST_STEP_SECONDS, LONGEST_STEP_SECONDS = 2.0, 60.0
# How many outages a job may be evidence of: it fails also while others succeed.
MOST_OUTAGES = 3
# What counts as impossible by chance.
CHANCE = 1e-6
# Of a bot that nothing is known of: it is taken to fail once in twenty runs, as if ten runs had been seen.
PRIOR_FAILURES, PRIOR_RUNS = 0.5, 10.0
FEWEST_FAILURES = 3
LAST_OUTCOMES = 200
# A bot that needs more failures in a row than that fails often by itself: its jobs may use up their attempts.
UNRELIABLE_FROM = 9
# Failures so long ago say nothing about now.
OLDEST_SECONDS = 3600.0
# `exit code 1`, and other numbers that are kinds and not values.
_KINDS_OF_NUMBERS = re.compile(r"(exit code|status) \d+")
_VALUES = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|0x[0-9a-fA-F]+|\d+")


def step_seconds(step: int) -> float:
    """How long to wait before the next probe after `step` of them have failed: 2 s, 4 s … 60 s."""
    return min(SHORTEST_STEP_SECONDS * 2.0 ** min(step, 10), LONGEST_STEP_SECONDS)


def fingerprint(outcome: Outcome) -> str:
    """The cause without what differs from update to update: numbers, names in quotes."""
    if outcome.http_status is not None and outcome.http_status >= 500:
        return f"{outcome.kind.value} HTTP status 5xx"  # a server that fails, and the gateway before it
    line = outcome.cause.partition("\n")[0]
    kinds = " ".join(match.group() for match in _KINDS_OF_NUMBERS.finditer(line))
    return f"{outcome.kind.value} {_VALUES.sub('#', line)} {kinds}"


class RunWindow:
    """The last outcomes of one worker."""

    def __init__(self) -> None:
        self._before: deque[bool] = deque(maxlen=LAST_OUTCOMES)  # whether each failed; those in a row now are not in it
        self.in_a_row = 0

    def succeeded(self) -> None:
        """Record a success, which ends a row of failures."""
        self._before.extend([True] * min(self.in_a_row, LAST_OUTCOMES))
        self._before.append(False)
        self.in_a_row = 0

    def failed(self) -> None:
        """Record a failure."""
        self.in_a_row += 1

    @property
    def needed(self) -> int:
        """How many failures in a row mean an outage, for a bot that failed as often as this one did before."""
        share = (sum(self._before) + PRIOR_FAILURES) / (len(self._before) + PRIOR_RUNS)
        return max(FEWEST_FAILURES, min(MOST_FAILURES, math.ceil(math.log(CHANCE) / math.log(share))))

    @property
    def is_worth_telling(self) -> bool:
        """Whether other workers should know of the last failure: not while this one sees successes all the time."""
        return self.in_a_row >= self.needed // 4


def with_failure(evidence: Evidence, failure: Failure) -> Evidence:
    """The evidence with one more failure; those that are too old are left out."""
    recent = [run for run in evidence.failures if 0.0 <= failure.at - run.at <= OLDEST_SECONDS]
    first = max(0, evidence.first - (len(evidence.failures) - len(recent)))
    return replace(evidence, failures=(*recent, failure), first=first)


def restarted(evidence: Evidence) -> Evidence:
    """The evidence when a run has succeeded meanwhile: only the last failure is still counted."""
    return replace(evidence, first=max(0, len(evidence.failures) - 1))


def is_suspect(evidence: Evidence, job_id: int, marks: Iterable[str] = (), now: float = 0.0) -> bool:
    """Whether what this job does is no evidence any more.

    It failed in several outages, and again after each; or its lane or sender, its `marks`, was evidence of several that
    were none, the last of them not long ago.
    """
    if evidence.suspects.get(job_id, 0) >= MOST_OUTAGES:
        return True
    known = (evidence.wrong.get(mark, (0, 0.0)) for mark in marks)
    return any(times >= MOST_OUTAGES and now - at <= OLDEST_SECONDS for times, at in known)


def alike(evidence: Evidence) -> list[Failure]:
    """The counted failures with the cause of the last one."""
    return [run for run in evidence.counted if run.cause == evidence.counted[-1].cause]


def is_outage(evidence: Evidence, needed: int, is_last_attempt: bool = False) -> bool:
    """Whether the bot's side is down, now that the last failure was added.

    `needed`: see RunWindow. `is_last_attempt`: the job would be failed for good now; then two are enough, unless the
    bot fails often. One of them at least has to be an update that is new: those that are tried again have failed while
    others succeeded, and where only such ones are left they fail one after the other.
    """
    same = alike(evidence)
    if min(len({run.lane for run in same}), len({run.sender or run.lane for run in same})) < 2:
        return False
    if 2 * len(same) <= len(evidence.counted):
        return False
    if all(run.attempt > 1 for run in same):
        return False
    return len(same) >= needed or (is_last_attempt and needed < UNRELIABLE_FROM)


def after_opening(evidence: Evidence) -> Evidence:
    """The evidence has been used: nothing is left of it but who was among it."""
    suspects = dict(evidence.suspects)
    for job_id in dict.fromkeys(run.job_id for run in alike(evidence)):
        suspects[job_id] = suspects.pop(job_id, 0) + 1  # at the end: the first ones are forgotten first
    return Evidence((), 0, suspects, evidence.wrong)


def blamed(evidence: Evidence) -> list[str]:
    """The lanes and senders of what opened it: others are probed first."""
    return list(dict.fromkeys(mark for run in alike(evidence) for mark in (run.lane, run.sender) if mark))


def after_wrong_opening(evidence: Evidence, marks: Iterable[str], now: float) -> Evidence:
    """There was no outage: the first probe of somebody else succeeded. Those who were evidence of it are noted."""
    wrong = dict(evidence.wrong)
    for mark in marks:
        times, at = wrong.pop(mark, (0, 0.0))
        wrong[mark] = (times + 1 if now - at <= OLDEST_SECONDS else 1, now)
    return replace(evidence, wrong=wrong)


def opens_at_once(outcome: Outcome) -> bool:
    """Whether the bot could not be run at all, so that no update can be."""
    return outcome.was_not_started
