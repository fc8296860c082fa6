"""Judges a run of chaos afterwards, from what the bots, the senders and the killers wrote down, and the queue's rows.

Pure functions: knows neither how the bots were run nor how anything was killed, and nothing of the product's code.
All moments are seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SUCCEEDED, FAILED, KILLED = "succeeded", "failed", "killed"
# What the bot depends on was away.
AWAY = "away"
# For so long after a run in an outage, what fails for a reason of its own uses no attempt either, and has no delay.
PROBED_SECONDS = 15.0
FINAL = ("done", "failed", "expired")
# A lease counts from the claim. Its answer may take 10 s, and the last of a batch may begin a second after it.
CLAIMED_BEFORE_SECONDS = 11.0
# A bot that wrote its last line still has to tell its worker; killed before that, it did not succeed for the worker.
ANSWER_SECONDS = 1.0
# A worker stores together what it ran in a quarter of a second, and what it runs next meanwhile.
IN_A_ROW_SECONDS = 1.0


@dataclass(frozen=True)
class Kill:
    """One worker that was killed `at` a moment, and the bots it ran, all of them dead when they were `gone`.

    A bot that was killed alone has no `worker`: 0.
    """

    worker: int
    bots: tuple[int, ...]
    at: float
    gone: float


@dataclass(frozen=True)
class Run:
    """One run of the bot. `result` is succeeded, failed, away or killed; a killed one ended when its killing was over.

    `bot` is the process it ran in, which may have run others before; `host` its machine, where there are several.
    """

    update: int
    lane: str
    worker: int
    start: float
    end: float
    result: str
    bot: int = 0
    host: str = ""


@dataclass(frozen=True)
class Note:
    """A line a bot wrote: `event` is start, succeeded, failed, away, or beside another (its lane had a live run)."""

    event: str
    update: int
    lane: str
    pid: int
    worker: int
    at: float
    host: str = ""


@dataclass(frozen=True)
class Story:
    """What is known about one run of chaos.

    `accepted`: the lane of every update that was answered with success, in the order of arrival; `states`: what the
    queue says of every update it has. `delay_seconds`: the shortest wait before another attempt; `lease_seconds`: how
    long a claim is good for when its worker lives on, infinite when no lease may have run out. `may_expire`: updates
    with a deadline; `always_fail`: those whose bot never succeeds.
    """

    accepted: Mapping[int, str]
    states: Mapping[int, str]
    runs: Sequence[Run]
    kills: Sequence[Kill]
    delay_seconds: float
    lease_seconds: float = float("inf")
    may_expire: frozenset[int] = field(default_factory=frozenset)
    always_fail: frozenset[int] = field(default_factory=frozenset)


def read_runs(notes: Sequence[Note], kills: Sequence[Kill]) -> tuple[list[Run], list[str]]:
    """All runs in the order of their starts, and what is wrong with the journal itself."""
    killed_at: dict[int, list[float]] = defaultdict(list)
    for kill in kills:
        for bot in kill.bots:
            killed_at[bot].append(kill.gone)
    runs: list[Run] = []
    wrong: list[str] = []
    going: dict[int, Note] = {}
    for note in sorted(notes, key=lambda note: note.at):
        if note.event == "beside another":
            wrong.append(f"two live runs of a lane: {note}")
            continue
        begun = going.pop(note.pid, None)
        if note.event == "start":
            if begun is not None:
                _end_by_kill(begun, killed_at, runs, wrong)
            going[note.pid] = note
        elif begun is None or begun.update != note.update:
            wrong.append(f"an end without a run: {note}")
        else:
            runs.append(_run(begun, note.at, note.event))
    for begun in going.values():
        _end_by_kill(begun, killed_at, runs, wrong)
    return sorted(runs, key=lambda run: run.start), wrong


def _end_by_kill(begun: Note, killed_at: Mapping[int, list[float]], runs: list[Run], wrong: list[str]) -> None:
    gone = min((gone for gone in killed_at.get(begun.pid, []) if gone >= begun.at), default=None)
    if gone is None:
        wrong.append(f"a run without an end, and nobody killed it: {begun}")
    else:
        runs.append(_run(begun, gone, KILLED))


def _run(begun: Note, end: float, result: str) -> Run:
    return Run(begun.update, begun.lane, begun.worker, begun.at, end, result, begun.pid, begun.host)


def find_wrongs(story: Story) -> list[str]:
    """Every rule that was broken; empty when order and delivery are as promised."""
    by_update: dict[int, list[Run]] = defaultdict(list)
    for run in story.runs:
        by_update[run.update].append(run)
    return [*_wrong_states(story, by_update), *_wrong_reruns(story, by_update), *_wrong_order(story, by_update)]


def _wrong_states(story: Story, by_update: Mapping[int, list[Run]]) -> Iterator[str]:
    """Nothing is lost, and every state is one that the runs can have led to."""
    for update in story.accepted:
        if update not in story.states:
            yield f"update {update} was accepted, and is lost"
    for update, state in story.states.items():
        results = [run.result for run in by_update.get(update, [])]
        if state not in FINAL:
            yield f"update {update} is {state}"
        elif state == "done" and SUCCEEDED not in results:
            yield f"update {update} is done, and no run of it succeeded"
        elif state == "failed" and not results:
            yield f"update {update} is failed, and was never run"
        elif state == "failed" and AWAY in results and update not in story.always_fail:
            yield f"update {update} is failed, and {results.count(AWAY)} of its runs were in an outage of its bot"
        elif state == "expired" and update not in story.may_expire:
            yield f"update {update} is expired, and has no deadline"
        if update in story.always_fail and state != "failed":
            yield f"update {update} is {state}, and its bot never succeeds"
    for update in by_update:
        if update not in story.states:
            yield f"update {update} was run, and the queue does not have it"


def _wrong_reruns(story: Story, by_update: Mapping[int, list[Run]]) -> Iterator[str]:
    """A rerun comes after a failure, a death or the end of the lease, never before, and has waited."""
    died = {kill.worker: kill for kill in story.kills if kill.worker}
    killed_bots: dict[int, list[Kill]] = defaultdict(list)
    for kill in story.kills:
        for bot in kill.bots:
            killed_bots[bot].append(kill)
    away = [run for runs in by_update.values() for run in runs if run.result == AWAY]
    for runs in by_update.values():
        for before, again in zip(runs, runs[1:]):
            is_in_outage = any(run.start <= before.end <= run.end + PROBED_SECONDS for run in away)
            has_failed = before.result == FAILED or before.bot in killed_bots
            has_no_delay = before.result == AWAY or (has_failed and is_in_outage)
            lease_ended = before.end if has_no_delay else _lease_end(story, before, died, killed_bots)
            if lease_ended is None:
                yield f"run again although it {before.result} and its worker lived on: {before} {again}"
            elif again.start < lease_ended:
                yield f"run again before its lease had ended and its delay was over: {before} {again}"


def _lease_end(
    story: Story, before: Run, died: Mapping[int, Kill], killed_bots: Mapping[int, list[Kill]]
) -> float | None:
    """The first moment at which the next run may begin; None: never."""
    if before.result == FAILED:  # whatever became of the worker: it may have told the queue before it died
        return before.end + story.delay_seconds
    ends = [before.start - CLAIMED_BEFORE_SECONDS + story.lease_seconds]
    death = died.get(before.worker)
    if death is not None and death.gone >= before.start:  # a bot may still get to its first line after that
        ends.append(death.at + story.delay_seconds)
    ends += [
        kill.at + story.delay_seconds
        for kill in killed_bots.get(before.bot, [])
        if before.start <= kill.gone and kill.at <= before.end + ANSWER_SECONDS
    ]
    earliest = min(ends)
    return None if earliest == float("inf") else earliest


def _wrong_order(story: Story, by_update: Mapping[int, list[Run]]) -> Iterator[str]:
    """In each lane, all runs of an update are over before the next one begins.

    But for those that one worker ran one after the other right before it died: all of them are run again, in order.
    """
    lanes: dict[str, list[int]] = defaultdict(list)
    for update, lane in story.accepted.items():
        if update in by_update:
            lanes[lane].append(update)
    for updates in lanes.values():
        for earlier, later in zip(updates, updates[1:]):
            before, after = by_update[earlier], by_update[later]
            over = max(run.end for run in before)
            too_soon = [run for run in after if run.start < over]
            is_repeated = after[-1].start >= over and all(_follows_in_a_row(before, run) for run in too_soon)
            if too_soon and not is_repeated:
                yield (f"update {later} started before {earlier} was over: {before} {after}")


def _follows_in_a_row(before: Sequence[Run], run: Run) -> bool:
    """Whether the same worker had run the earlier update with success shortly before."""
    return any(
        (one.worker, one.host, one.result) == (run.worker, run.host, SUCCEEDED)
        and 0 <= run.start - one.end <= IN_A_ROW_SECONDS
        for one in before
    )
