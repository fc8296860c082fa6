"""The arithmetic of attempts and delays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.generators.fuzz_counts import fuzzed


def test_the_documented_delays():
    policy = RetryPolicy(max_attempts=6, base_seconds=5, max_seconds=300)

    assert [policy.delay_seconds(attempt) for attempt in (1, 2, 3, 4, 5, 6, 7, 8)] == [5, 10, 20, 40, 80, 160, 300, 300]


def test_a_base_above_the_longest_delay_is_cut_to_it():
    assert RetryPolicy(6, base_seconds=50, max_seconds=7).delay_seconds(1) == 7


@pytest.mark.parametrize("attempt", [0, -1, -(10**6)])
def test_an_attempt_before_the_first_counts_as_the_first(attempt: int):
    assert RetryPolicy().delay_seconds(attempt) == 5


def test_an_absurd_attempt_is_answered_at_once_with_the_longest_delay():
    assert RetryPolicy(max_attempts=10**9).delay_seconds(10**9) == 300


@pytest.mark.parametrize(("attempt", "used_up"), [(0, False), (5, False), (6, True), (7, True)])
def test_the_attempts_are_used_up_with_the_last_one(attempt: int, used_up: bool):
    assert RetryPolicy(max_attempts=6).used_up(attempt) is used_up


def test_one_attempt_means_no_retry():
    assert RetryPolicy(max_attempts=1).used_up(1)


@fuzzed(100)
@given(st.integers(1, 86400), st.integers(1, 86400), st.integers(1, 200))
def test_delays_never_shrink_and_stay_in_their_bounds(base: int, longest: int, attempt: int):
    policy = RetryPolicy(100, base, longest)

    delay = policy.delay_seconds(attempt)

    assert min(base, longest) <= delay <= longest
    assert delay <= policy.delay_seconds(attempt + 1)
    assert delay == min(base * 2 ** (attempt - 1), longest)
