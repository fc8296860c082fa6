"""What counts as an outage: generated histories of runs, judged by the pure half of the breaker."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.queue.outages import MOST_FAILURES, Evidence, Failure
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.worker import breaker
from scalable.lib.worker.breaker import RunWindow


@dataclass(frozen=True)
class Ran:
    """A run of one history: which job of which lane, and its cause; None: it succeeded."""

    job: int
    lane: str
    cause: str | None = None
    attempt: int = 1
    sender: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        return self.lane, self.sender or self.lane


class History:
    """Judges runs one after the other, as a single worker does; after an opening claims stop, and a probe closes it."""

    def __init__(self, max_attempts: int = 6) -> None:
        self.window = RunWindow()
        self.evidence = Evidence()
        self.openings: list[int] = []
        self.blamed: list[str] = []
        self.now = 0.0
        self._max_attempts = max_attempts
        self._succeeded_at = -1.0
        self._count = 0

    def run(self, ran: Ran) -> bool:
        """Whether this run opened it."""
        self._count += 1
        self.now += 1.0
        if ran.cause is None:
            self.window.succeeded()
            self._succeeded_at = self.now
            return False
        self.window.failed()
        if not self.window.is_worth_telling or breaker.is_suspect(self.evidence, ran.job, ran.marks, self.now):
            return False
        failure = Failure(ran.job, ran.attempt, ran.lane, ran.cause, self.now, ran.sender)
        self.evidence = breaker.with_failure(self.evidence, failure)
        if not breaker.is_outage(self.evidence, self.window.needed, ran.attempt >= self._max_attempts):
            return False
        if self._succeeded_at > self.evidence.counted[0].at:
            self.evidence = breaker.restarted(self.evidence)
            return False
        self.blamed = breaker.blamed(self.evidence)
        self.evidence = breaker.after_opening(self.evidence)
        self.openings.append(self._count)
        return True

    def close_wrongly(self) -> None:
        """The first probe of somebody else succeeded."""
        self.evidence = breaker.after_wrong_opening(self.evidence, self.blamed, self.now)
        self.blamed = []

    def runs(self, history: Iterable[Ran]) -> History:
        """All of them."""
        for ran in history:
            self.run(ran)
        return self


def healthy(count: int) -> Iterator[Ran]:
    return (Ran(number, f"chat:{number % 7}") for number in range(count))


def outage(count: int, first_job: int = 1000) -> Iterator[Ran]:
    return (Ran(first_job + number, f"chat:{number % 5}", "refused") for number in range(count))


@pytest.mark.parametrize("before", [0, 1, 3, 10, 50, 1000])
def test_an_outage_is_seen_within_five_runs_whatever_was_before(before: int):
    history = History().runs(healthy(before)).runs(outage(5))

    assert len(history.openings) == 1


def test_two_chats_that_are_tried_again_and_again_are_enough():
    runs = [
        Ran(1, "chat:7", "500", 1),
        Ran(2, "chat:8", "500", 1),
        Ran(1, "chat:7", "500", 2),
        Ran(2, "chat:8", "500", 2),
    ]

    assert History().runs([*runs, Ran(1, "chat:7", "500", 3)]).openings == [5]


@given(st.integers(1, 6), st.integers(0, 200))
def test_a_job_that_always_fails_never_opens_it_beside_a_healthy_bot(attempts: int, between: int):
    history = History(attempts)
    for attempt in range(1, attempts + 1):
        history.run(Ran(1, "chat:1", "poison", attempt))
        history.runs(healthy(between))

    assert history.openings == []


@given(st.lists(st.sampled_from(["exit code 1", "exit code 2"]), max_size=60))
def test_a_single_lane_never_opens_it_however_it_fails(causes: list[str]):
    history = History().runs(Ran(number, "chat:1", cause, 6) for number, cause in enumerate(causes))

    assert history.openings == []


@pytest.mark.parametrize("seed", range(8))
def test_a_bot_that_fails_one_run_in_twenty_at_random_does_not_open_it(seed: int):
    chance = random.Random(seed)
    history = History()
    for number in range(20_000):
        history.run(Ran(number, f"chat:{number % 50}", "exit code 1" if chance.random() < 0.05 else None))

    assert history.openings == []


@pytest.mark.parametrize("seed", range(8))
def test_half_of_the_commands_failing_does_not_stop_the_other_half(seed: int):
    """While it learns how the bot fails it may open a few times; each costs two seconds."""
    chance = random.Random(seed)
    history = History().runs(healthy(50))
    for number in range(10_000):
        history.run(Ran(number, f"chat:{number % 50}", "no stock server" if chance.random() < 0.5 else None))

    assert len(history.openings) <= 8
    assert sum(opening > 1000 for opening in history.openings) <= 2


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=300))
def test_it_never_opens_while_two_failures_never_come_in_a_row(history: list[tuple[int, bool]]):
    runs: list[Ran] = []
    for number, (lane, fails) in enumerate(history):
        runs.append(Ran(number, f"chat:{lane}", "500" if fails else None))
        runs.append(Ran(1000 + number, "chat:0"))

    assert History().runs(runs).openings == []


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([None, "a", "b"])), max_size=200))
def test_whenever_it_opens_two_lanes_failed_alike_and_nothing_succeeded_between_them(
    runs: list[tuple[int, str | None]],
):
    history, since_success = History(), []
    for number, (lane, cause) in enumerate(runs):
        ran = Ran(number, f"chat:{lane}", cause)
        since_success = [] if cause is None else [*since_success, ran]
        if history.run(ran):
            alike = [other for other in since_success if other.cause == cause]
            assert len({other.lane for other in alike}) >= 2
            assert 2 * len(alike) > len(since_success[-len(alike) * 2 :]) - 1
            since_success = []


def test_two_jobs_that_always_fail_stop_the_others_three_times_at_most():
    """Given a success after each opening: the probe takes another lane."""
    history = History()
    for _ in range(20):
        history.runs(Ran(1 + number % 2, f"chat:{number % 2}", "poison") for number in range(40))
        history.runs(healthy(1))

    assert len(history.openings) == breaker.MOST_OUTAGES
    assert breaker.is_suspect(history.evidence, 1)
    assert breaker.is_suspect(history.evidence, 2)


def test_what_is_left_and_failed_while_others_succeeded_ends_instead_of_holding_the_queue():
    """Given poison of three chats, at later attempts, and nothing else to run."""
    poison = [Ran(job, f"chat:{job}", "500", attempt) for attempt in range(3, 7) for job in (1, 2, 3)]

    assert History().runs(healthy(50)).runs(poison).openings == []
    assert len(History().runs(healthy(50)).runs([*poison, Ran(9, "chat:9", "500")]).openings) == 1, (
        "a new one tells them apart"
    )


def test_an_outage_of_many_causes_is_none_until_one_of_them_prevails():
    mixed = [Ran(number, f"chat:{number}", f"cause {number}") for number in range(10)]

    assert History().runs(mixed).openings == []
    assert len(History().runs(mixed).runs(outage(12)).openings) == 1


def test_before_a_job_fails_for_good_two_failures_are_enough():
    history = History(max_attempts=2).runs([Ran(1, "chat:1", "500", 1), Ran(2, "chat:2", "500", 1)])

    assert history.run(Ran(2, "chat:2", "500", 2))


def test_what_is_older_than_an_hour_is_no_evidence():
    history = History().runs(outage(2))
    history.now += breaker.OLDEST_SECONDS + 1

    history.runs(outage(2, 2000))

    assert (history.openings, len(history.evidence.failures)) == ([], 2)


@given(st.integers(0, 1000))
def test_the_steps_double_from_two_seconds_to_a_minute(step: int):
    seconds = breaker.step_seconds(step)

    assert 2.0 <= seconds <= 60.0
    assert breaker.step_seconds(step + 1) == min(2 * seconds, 60.0)


@given(st.lists(st.booleans(), max_size=500))
def test_the_number_that_is_needed_stays_in_its_bounds_and_grows_with_failures(outcomes: list[bool]):
    window = RunWindow()
    for succeeded in outcomes:
        window.succeeded() if succeeded else window.failed()

    assert breaker.FEWEST_FAILURES <= window.needed <= MOST_FAILURES


def outcome(cause: str, status: int | None = None, kind: Kind = Kind.FAILED) -> Outcome:
    return Outcome(kind, cause, 1.0, http_status=status)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (outcome("HTTP status 500", 500), outcome("HTTP status 502", 502)),
        (outcome("PHP fatal error: no row 17 in x.php:3"), outcome("PHP fatal error: no row 9 in x.php:3")),
        (outcome("KeyError: 'anna'"), outcome("KeyError: 'budi'")),
        (outcome("exit code 1"), outcome("exit code 1\nwith output")),
    ],
)
def test_causes_that_differ_in_numbers_and_names_are_alike(one: Outcome, other: Outcome):
    assert breaker.fingerprint(one) == breaker.fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (outcome("exit code 1"), outcome("exit code 2")),
        (outcome("HTTP status 404", 404), outcome("HTTP status 500", 500)),
        (outcome("stopped", kind=Kind.TIMED_OUT), outcome("stopped")),
        (outcome("KeyError: 'anna'"), outcome("ValueError: 'anna'")),
    ],
)
def test_causes_of_another_kind_are_not(one: Outcome, other: Outcome):
    assert breaker.fingerprint(one) != breaker.fingerprint(other)


def poison(chats: int, sender: str = "777", attempt: int = 1) -> list[Ran]:
    """One update for each of so many chats, all of one sender."""
    return [Ran(5000 + chat, f"chat:-{chat}", "boom", attempt, sender) for chat in range(chats)]


@pytest.mark.parametrize("chats", [1, 2, 8, 20])
@pytest.mark.parametrize("before", [0, 50])
def test_one_sender_in_many_chats_never_opens_it(chats: int, before: int):
    """However often each is tried, and again."""
    history = History().runs(healthy(before))
    for attempt in (1, 2, 3, 4, 5, 6, 1, 2, 3, 6):
        history.runs(poison(chats, attempt=attempt))

    assert history.openings == []


def test_one_sender_and_an_outage_are_told_apart_by_the_second_sender():
    history = History().runs(healthy(50)).runs(poison(8))

    assert history.run(Ran(1, "chat:1", "boom", 1, "1"))


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from(["777", "", "888"])), max_size=80))
def test_whenever_it_opens_two_senders_failed(runs: list[tuple[int, str]]):
    history, seen = History(), set[str]()
    for number, (chat, sender) in enumerate(runs):
        opened = history.run(Ran(number, f"chat:{chat}", "boom", 1, sender))
        seen.add(sender or f"chat:{chat}")
        assert not opened or len(seen) >= 2
        seen = set() if opened else seen


def two_senders_fail_together(history: History, first_job: int) -> None:
    """Until they open it, which the first probe, of somebody else, ends; or some forty updates."""
    for number in range(40):
        if history.run(Ran(first_job + number, f"chat:{number}", "boom", 1, f"{number % 2}")):
            history.close_wrongly()
            break
    history.runs(healthy(1))


def test_two_senders_who_fail_together_open_it_three_times_and_not_again_with_new_updates():
    """Whoever fails beside them is evidence still."""
    history = History().runs(healthy(50))
    for turn in range(20):
        two_senders_fail_together(history, 10_000 * turn)

    assert len(history.openings) == breaker.MOST_OUTAGES
    history.runs(Ran(900_000 + number, f"chat:{9000 + number}", "boom", 1, f"other {number}") for number in range(60))
    assert len(history.openings) == breaker.MOST_OUTAGES + 1, "an outage is seen by the others"


def test_an_hour_later_they_are_evidence_again():
    history = History().runs(healthy(50))
    for turn in range(breaker.MOST_OUTAGES):
        two_senders_fail_together(history, 1000 * turn)
    history.now += breaker.OLDEST_SECONDS + 60

    two_senders_fail_together(history, 9000)

    assert len(history.openings) == breaker.MOST_OUTAGES + 1
