"""The short form of `make stress`, in every `make test`; with LONG_TESTS=1 the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path
from shutil import which

import pytest

from tests.stress.hosts import cannot_run
from tests.stress.outage import SECONDS, outage
from tests.stress.plans import calm_plan, long_plan, short_plan
from tests.stress.play import SERVER, SHARES, play
from tests.stress.report import report
from tests.support.generators.long_tests import LONG, sized
from tests.support.need import need
from tests.support.servers.database_servers import available


@pytest.mark.timeout(sized(300, 1200))
def test_nothing_is_lost_reordered_or_run_beside_itself_while_everything_is_killed_filled_and_turned(
    tmp_path: Path,
) -> None:
    need(cannot_run())
    need(available(SERVER))
    seed = int(os.environ.get("SEED") or random.randrange(10**6))

    outcome = play(long_plan(seed, 100_000) if LONG else short_plan(seed), tmp_path)

    print(report(outcome))
    assert outcome.wrongs == [], report(outcome)
    assert len(outcome.accepted) == outcome.sent, report(outcome)
    assert {kind for kind, times in outcome.faults.items() if times} == set(SHARES), report(outcome)


@pytest.mark.timeout(sized(300, 400))
def test_an_outage_of_three_minutes_fails_nothing_and_is_probed_once_in_a_step(tmp_path: Path) -> None:
    """F7: for real, with the product's own delays."""
    need(None if which("php") else "php is not installed")

    assert outage(tmp_path, sized(30, SECONDS)) == []


def test_the_whole_of_it_notices_when_lanes_are_not_kept(tmp_path: Path) -> None:
    # Without lanes the same updates, hosts and bots break the order of busy chats; nothing has to be killed. Which
    # of the two is seen depends on the speed of the machine; tests/unit/test_judge.py has each of them.
    need(cannot_run())
    need(available(SERVER))

    outcome = play(calm_plan(1), tmp_path, BOT_QUEUE_ORDER="none")

    kinds = ("two live runs of a lane", "was over")
    assert any(kind in wrong for wrong in outcome.wrongs for kind in kinds), report(outcome)
    assert not any("lost" in wrong for wrong in outcome.wrongs), report(outcome)
