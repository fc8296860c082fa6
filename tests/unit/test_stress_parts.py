"""What a run of stress is made of: everything drawn by lot comes from the seed, and lanes are those the queue keeps."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from scalable.lib.telegram.update import read_update
from tests.stress.arrivals import MIX, arrivals
from tests.stress.plans import long_plan, short_plan
from tests.stress.play import SHARES


def test_the_same_seed_sends_the_same_updates_and_another_one_others() -> None:
    first, again, other = (list(arrivals(300, random.Random(seed), fails_one_in=50)) for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_update_ids_rise_one_by_one_and_every_type_comes_in_busy_and_quiet_lanes() -> None:
    sent = list(arrivals(3_000, random.Random(1), fails_one_in=500))

    assert [each.update for each in sent] == list(range(sent[0].update, sent[0].update + 3_000))
    assert {read_update(each.body).update_type for each in sent} == {kind.name for kind in MIX}
    lanes = Counter(each.lane for each in sent)
    assert max(lanes.values()) > 30
    assert sum(count == 1 for count in lanes.values()) > 500
    assert 0 < sum(each.always_fails for each in sent) < 30


def test_lanes_and_deadlines_stated_for_the_judge_are_those_the_queue_keeps() -> None:
    ours: dict[str, str | None] = {}
    for each in arrivals(1_000, random.Random(1), fails_one_in=500):
        update = read_update(each.body)
        ours.setdefault(each.lane, update.lane)
        assert ours[each.lane] == update.lane
        assert each.may_expire == (update.expires_seconds is not None)
    assert len(set(ours.values())) == len(ours)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_of_trouble_comes_at_least_once_before_the_last_update(seed: int) -> None:
    for plan in (short_plan(seed), long_plan(seed, 100_000)):
        strikes = plan.strikes()

        assert {strike.kind for strike in strikes} == set(SHARES)
        assert [strike.at for strike in strikes] == sorted(strike.at for strike in strikes)
        assert strikes[-1].at < plan.updates / plan.rate
        assert strikes == plan.strikes()
