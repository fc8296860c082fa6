"""A worker on a real SQLite queue whose bot fails on what a few people send: how long all others wait for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalable.lib.telegram.update import Update
from scalable.lib.worker.outage_gate import SLOW_SECONDS, OutageGate
from tests.support.fakes.worker_bench import DONE, FAILED
from tests.support.servers.databases import let_pass
from tests.unit.test_outage_gate import POLICY, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def hostile(number: int) -> Update:
    """An update of person 777, in a chat of its own."""
    text = {"update_id": number, "message": {"chat": {"id": -number}, "from": {"id": 777}, "text": "boom"}}
    return Update(json.dumps(text), number, "message", f"chat:-{number}")


def innocent(number: int) -> Update:
    text = {"update_id": number, "message": {"chat": {"id": number}, "from": {"id": number}, "text": "hello"}}
    return Update(json.dumps(text), number, "message", f"chat:{number}")


@pytest.mark.parametrize("chats", [8, 20])
def test_one_sender_in_many_chats_holds_up_nobody_and_each_of_the_updates_fails_after_its_attempts(
    scene: Scene, chats: int
):
    scene.result_of = lambda payload: FAILED if "boom" in payload else DONE
    for number in range(chats):
        scene.queue.enqueue(hostile(1 + number))
    scene.queue.enqueue(innocent(500))

    scene.loop(max_seconds=200, sleep_seconds=1000.0)

    assert [job.status for job in scene.jobs()] == ["failed"] * chats + ["done"]
    assert {job.attempts for job in scene.jobs()} == {POLICY.max_attempts, 1}
    assert scene.outage is None


def opened_by_poison(scene: Scene, chats: int = 20) -> None:
    """Open it wrongly: by one sender in many chats, and another one who failed alike; some have not been run yet."""
    scene.result_of = lambda payload: FAILED if "boom" in payload else DONE
    scene.queue.enqueue(Update("boom", None, "message", "another"))
    for number in range(chats):
        scene.queue.enqueue(hostile(1 + number))
    scene.loop(max_jobs=5)
    assert scene.outage is not None


def test_the_first_probe_is_of_somebody_else_and_ends_a_wrong_outage_at_once(scene: Scene):
    opened_by_poison(scene)
    began, runs = scene.clock.now, len(scene.runner.payloads)
    scene.queue.enqueue(innocent(500))

    scene.fresh_loop(max_jobs=1)

    assert "hello" in scene.runner.payloads[runs]
    assert scene.clock.now - began < 4
    assert scene.outage is None


def test_whoever_comes_later_waits_no_longer_for_it_however_many_probes_failed(scene: Scene):
    """Given minutes in which there was nothing but poison to probe."""
    opened_by_poison(scene)
    scene.fresh_loop(max_seconds=300)
    outage = scene.outage
    assert outage is not None
    assert outage.step >= 5
    began, runs = scene.clock.now, len(scene.runner.payloads)
    scene.queue.enqueue(innocent(500))

    scene.fresh_loop(max_jobs=1)

    assert "hello" in scene.runner.payloads[runs]
    assert scene.clock.now - began < 6


def test_a_poison_that_hangs_is_waited_for_by_no_turn(scene: Scene):
    """Given a worker that probes with it; the other one finds the next update, which shows that there is no outage."""
    opened_by_poison(scene)
    scene.make_worker()
    scene.worker.gate.claimed_nothing()
    let_pass(scene.queue, 3)
    scene.clock.advance(3)
    assert ["boom" in job.payload for job in scene.worker.gate.claim_probe(45)] == [True]
    scene.queue.enqueue(innocent(500))
    let_pass(scene.queue, 5)
    other = OutageGate(scene.queue, "other", scene.clock, lambda: 0.0)
    other.claimed_nothing()

    [job] = other.claim_probe(45)

    assert "hello" in job.payload


def test_an_innocent_looking_poison_that_hangs_keeps_its_turn_for_some_seconds(scene: Scene):
    """Given that its sender was not known."""
    opened_by_poison(scene)
    scene.queue.enqueue(innocent(400))
    scene.make_worker()
    scene.worker.gate.claimed_nothing()
    let_pass(scene.queue, 3)
    scene.clock.advance(3)
    [hanging] = scene.worker.gate.claim_probe(45)
    scene.queue.enqueue(innocent(500))
    other = OutageGate(scene.queue, "other", scene.clock, lambda: 0.0)
    other.claimed_nothing()
    early = other.claim_probe(45)

    scene.clock.advance(SLOW_SECONDS)
    let_pass(scene.queue, SLOW_SECONDS)
    scene.worker.gate.keep()
    scene.clock.advance(4)
    let_pass(scene.queue, 4)
    other.lets_claim()
    late = other.claim_probe(45)

    assert (hanging.update_id, early, [job.update_id for job in late]) == (400, [], [500])
