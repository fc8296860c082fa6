"""The judge of chaos would be worth nothing if it never found anything: here it finds each kind of wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.judges.judge import KILLED, Kill, Note, Run, Story, find_wrongs, read_runs

LANE = "chat:1"
KILL = Kill(worker=11, bots=(5,), at=2.5, gone=2.6)
KILL_OF_A_BOT = Kill(worker=0, bots=(7,), at=3.0, gone=3.0)


def run(update: int, start: float, end: float, result: str = "succeeded", worker: int = 10, bot: int = 1) -> Run:
    return Run(update, LANE, worker, start, end, result, bot)


def story(*runs: Run, lane_of_two: str = LANE, **more: object) -> Story:
    """Two updates of a lane, all done, and how they came to that."""
    kept = {"accepted": {1: LANE, 2: lane_of_two}, "states": {1: "done", 2: "done"}, "kills": (KILL, KILL_OF_A_BOT)}
    return replace(Story({}, {}, runs, (), delay_seconds=1.0, lease_seconds=45.0), **{**kept, **more})


# By the worker that KILL is of.
IN_A_ROW = (run(1, 2.0, 2.2, worker=11), run(2, 2.3, 2.4, worker=11))


def note(event: str, update: int, at: float, pid: int = 5) -> Note:
    return Note(event, update, LANE, pid, 10, at)


class TestTheRuns:
    @pytest.mark.parametrize(
        "told",
        [
            story(run(1, 1.0, 2.0), run(2, 2.0, 2.5)),
            story(run(1, 2.0, 2.6, KILLED, worker=11), run(1, 4.0, 4.2), run(2, 5.0, 6.0)),
            story(run(1, 2.55, 2.6, KILLED, worker=11, bot=5), run(1, 4.0, 4.2), run(2, 5.0, 6.0)),
            story(run(1, 1.0, 2.4, worker=11), run(1, 4.0, 4.2), run(2, 5.0, 6.0)),
            story(run(1, 2.0, 3.0, KILLED, bot=7), run(1, 4.0, 4.2), run(2, 5.0, 6.0)),
            story(run(1, 2.0, 2.9, bot=7), run(1, 4.0, 4.2), run(2, 5.0, 6.0)),
            story(run(1, 1.0, 2.0, "failed"), run(1, 3.0, 3.5), run(2, 3.5, 4.0)),
            story(run(1, 1.0, 2.0, "away"), run(1, 2.1, 2.5, "away"), run(1, 2.5, 3.5), run(2, 3.5, 4.0)),
            story(
                run(2, 1.0, 2.0, "away"),
                run(1, 2.5, 3.0, "failed"),
                run(1, 3.1, 3.5),
                run(2, 4.0, 4.5),
                lane_of_two="chat:2",
            ),
            story(
                run(2, 1.0, 2.0, "away"),
                run(1, 2.0, 3.0, KILLED, bot=7),
                run(1, 3.1, 3.5),
                run(2, 4.0, 4.5),
                lane_of_two="chat:2",
            ),
            story(run(1, 1.0, 2.0), run(1, 44.5, 45.0), run(2, 45.0, 46.0)),
            story(run(1, 1.0, 2.0), run(2, 1.5, 2.5), lane_of_two="chat:2"),
            story(run(2, 1.0, 2.0), states={1: "expired", 2: "done"}, may_expire=frozenset({1})),
            story(
                run(1, 0.0, 0.5, "failed"),
                run(2, 1.0, 2.0),
                states={1: "failed", 2: "done"},
                always_fail=frozenset({1}),
            ),
            story(*IN_A_ROW, run(1, 4.0, 4.1), run(2, 4.2, 4.3)),
        ],
        ids=[
            "one after the other",
            "again after the death of its worker",
            "again: it began while its worker was being killed",
            "again although it succeeded: the worker died",
            "again after the death of its bot",
            "again: the bot died before it could answer",
            "again after its delay",
            "again at once after an outage of the bot's side",
            "again at once: it failed by itself while the bot's side was down",
            "again at once: its bot was killed while the bot's side was down",
            "again after its lease",
            "two lanes at once",
            "too late",
            "failed for good",
            "both again, in order, after the death of the worker that ran one after the other",
        ],
    )
    def test_are_accepted(self, told: Story) -> None:
        assert find_wrongs(told) == []

    @pytest.mark.parametrize(
        ("told", "wrong"),
        [
            (story(run(1, 1.0, 2.0), states={1: "done"}), "accepted, and is lost"),
            (story(run(1, 1.0, 2.0), states={1: "done", 2: "pending"}), "update 2 is pending"),
            (story(run(1, 1.0, 2.0), states={1: "done", 2: "processing"}), "update 2 is processing"),
            (story(run(1, 1.0, 2.0)), "update 2 is done, and no run of it succeeded"),
            (story(run(1, 1.0, 2.0), run(2, 2.0, 3.0, "failed")), "update 2 is done, and no run of it succeeded"),
            (story(run(1, 1.0, 2.0), states={1: "done", 2: "failed"}), "failed, and was never run"),
            (
                story(run(1, 1.0, 2.0, "away"), run(2, 2.0, 3.0), states={1: "failed", 2: "done"}),
                "in an outage of its bot",
            ),
            (story(run(1, 1.0, 2.0), states={1: "done", 2: "expired"}), "expired, and has no deadline"),
            (story(run(1, 1.0, 2.0), run(2, 2.0, 3.0), always_fail=frozenset({2})), "its bot never succeeds"),
            (story(run(1, 1.0, 2.0), run(2, 2.0, 3.0), run(3, 3.0, 4.0)), "the queue does not have it"),
            (story(run(1, 1.0, 2.0), run(2, 1.5, 3.0)), "update 2 started before 1 was over"),
            (story(run(2, 1.0, 2.0), run(1, 3.0, 4.0)), "update 2 started before 1 was over"),
            (story(run(1, 1.0, 2.0), run(2, 3.0, 4.0), run(1, 50.0, 51.0)), "update 2 started before 1 was over"),
            (story(*IN_A_ROW, run(1, 4.0, 4.1)), "update 2 started before 1 was over"),
            (story(*IN_A_ROW, run(2, 4.0, 4.1), run(1, 4.2, 4.3)), "update 2 started before 1 was over"),
            (
                story(IN_A_ROW[0], run(2, 2.3, 2.4), run(1, 4.0, 4.1), run(2, 4.2, 4.3)),
                "update 2 started before 1 was over",
            ),
            (story(run(1, 1.0, 2.0), run(1, 5.0, 6.0), run(2, 7.0, 8.0)), "run again before its lease"),
            (
                story(run(1, 1.0, 2.0), run(1, 50.0, 51.0), run(2, 51.0, 52.0), lease_seconds=float("inf")),
                "run again although it succeeded",
            ),
            (story(run(1, 1.0, 2.0, "failed"), run(1, 2.5, 3.0), run(2, 3.0, 4.0)), "run again before its lease"),
            (
                story(
                    run(2, 1.0, 2.0, "away"),
                    run(2, 3.0, 4.0),
                    run(1, 30.0, 31.0, "failed"),
                    run(1, 31.5, 32.0),
                    lane_of_two="chat:2",
                ),
                "run again before its lease",
            ),
            (
                story(run(1, 2.0, 2.6, KILLED, worker=11), run(1, 3.0, 3.2), run(2, 5.0, 6.0)),
                "run again before its lease",
            ),
            (
                story(run(1, 2.0, 3.0, KILLED, bot=7), run(1, 3.1, 3.5), run(2, 4.0, 4.5)),
                "run again before its lease",
            ),
            (story(run(1, 2.7, 2.8, worker=11), run(1, 4.0, 4.2), run(2, 5.0, 6.0)), "run again before its lease"),
        ],
        ids=[
            "a lost update",
            "an update left waiting",
            "an update left running",
            "done without a run",
            "done without a success",
            "failed without a run",
            "failed because of an outage of the bot's side",
            "expired without a deadline",
            "a success that cannot be",
            "a run of nothing",
            "two at once",
            "an inversion",
            "an inversion by a late rerun",
            "the second of a row not run again",
            "a row run again in another order",
            "a row of two workers",
            "a rerun before the lease ended",
            "a rerun without a reason",
            "a rerun without its delay",
            "a rerun without its delay long after an outage",
            "a rerun before the delay after a death",
            "a rerun without its delay after the death of its bot",
            "a rerun after a death before the run",
        ],
    )
    def test_are_found_wrong(self, told: Story, wrong: str) -> None:
        assert any(wrong in found for found in find_wrongs(told)), find_wrongs(told)


class TestTheJournal:
    def test_a_run_has_two_lines_and_a_process_may_make_many_runs(self) -> None:
        runs, wrong = read_runs(
            [note("start", 1, 1.0), note("failed", 1, 1.5), note("start", 1, 3.0), note("succeeded", 1, 3.5)], []
        )

        assert wrong == []
        assert [(each.start, each.end, each.result) for each in runs] == [(1.0, 1.5, "failed"), (3.0, 3.5, "succeeded")]

    def test_a_run_without_an_end_ended_with_the_kill_of_its_process(self) -> None:
        runs, wrong = read_runs([note("start", 1, 2.0), note("start", 2, 4.0), note("succeeded", 2, 4.5)], [KILL])

        assert wrong == []
        assert [(each.update, each.end, each.result) for each in runs] == [(1, 2.6, KILLED), (2, 4.5, "succeeded")]

    def test_the_worker_is_the_one_at_the_start_because_an_orphan_has_another_parent(self) -> None:
        runs, _ = read_runs([note("start", 1, 1.0), replace(note("succeeded", 1, 2.0), worker=1)], [])

        assert [each.worker for each in runs] == [10]

    @pytest.mark.parametrize(
        ("notes", "expected"),
        [
            ([note("start", 1, 3.0)], "nobody killed it"),
            ([note("start", 1, 1.0, pid=6)], "nobody killed it"),
            ([note("succeeded", 1, 1.0)], "an end without a run"),
            ([note("start", 1, 1.0), note("succeeded", 2, 2.0)], "an end without a run"),
            (
                [note("start", 1, 1.0), note("beside another", 2, 1.1, pid=6), note("succeeded", 1, 2.0)],
                "two live runs",
            ),
        ],
        ids=["an end that was not kept", "of another process", "no start", "of another update", "two live runs"],
    )
    def test_is_found_wrong(self, notes: list[Note], expected: str) -> None:
        _, wrong = read_runs(notes, [KILL])

        assert any(expected in found for found in wrong), wrong
