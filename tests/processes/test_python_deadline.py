"""Bots that do not stop, called inside this process: none of them hangs the worker, and none is believed to be gone."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import indent

import pytest

from scalable.lib.errors import LeaseLost
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.python import bot_loop, bot_thread
from scalable.lib.runners.python.runner import STUCK, PythonRunner
from tests.support.generators.bots import outcome_of
from tests.support.generators.python_bots import AMPLE_SECONDS, PythonBots
from tests.support.places import REPOSITORY
from tests.support.waiting import SOON_SECONDS

# Bots that go on for ever end when this file appears, so that they do not disturb the tests after them. The loop is in
# a function of its own: Python 3.11 and 3.12 raise on the jump back to its head, which they leave out of a `try`.
OVER = (
    "import asyncio, os, sys, time\nOVER = os.path.join(os.path.dirname(__file__), 'over')\n"
    "def spin():\n    while not os.path.exists(OVER): pass\n"
)
SECONDS = 0.8
GRACE_SECONDS = 0.6


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bot_thread, bot_loop):
        monkeypatch.setattr(module, "GRACE_SECONDS", GRACE_SECONDS)


@pytest.fixture(autouse=True)
def _over(bots: PythonBots):
    yield
    (bots.folder / "over").write_text("")


def bot(bots: PythonBots, body: str, head: str = "def handle(update):", timeout_seconds: float = SECONDS):
    """A runner for a bot that does this with an update that has an `update_id`, and nothing with `{}`."""
    code = f"{OVER}{head}\n    if update:\n{indent(body, ' ' * 8)}\n    print('went well')\n"
    return bots.runner(code, timeout_seconds=timeout_seconds)


def run(runner: PythonRunner, **rest) -> Outcome:
    started = time.monotonic()
    outcome = outcome_of(runner, '{"update_id": 1}', **rest)
    assert time.monotonic() - started < SECONDS + bot_thread.GRACE_SECONDS + SOON_SECONDS
    return outcome


SPINS = "spin()"
SLEEPS = "print('asleep')\nwhile not os.path.exists(OVER): time.sleep(3)"
SWALLOWS = "while not os.path.exists(OVER):\n    try: spin()\n    except BaseException: continue"
SWALLOWS_CANCEL = (
    "while not os.path.exists(OVER):\n    try: await asyncio.sleep(0.05)\n    except BaseException: continue"
)
ASYNC = "async def handle(update):"
SYNC = "def handle(update):"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (SYNC, SPINS),
        (SYNC, "while not os.path.exists(OVER): time.sleep(0.01)"),
        (SYNC, "try: spin()\nexcept Exception: pass"),
        (SYNC, "try: spin()\nexcept BaseException: print('caught')"),
        (SYNC, "try: spin()\nfinally: print('cleaned up')"),
        (ASYNC, "await asyncio.sleep(600)"),
        (ASYNC, "await asyncio.Event().wait()"),
        (ASYNC, "try: await asyncio.sleep(600)\nfinally: print('cleaned up')"),
        (ASYNC, "try: await asyncio.sleep(600)\nexcept BaseException: print('caught')"),
        (ASYNC, SPINS),
        (ASYNC, "while not os.path.exists(OVER): time.sleep(0.01)"),
        (ASYNC, "await asyncio.get_running_loop().run_in_executor(None, time.sleep, 2)"),
    ],
)
def test_a_bot_over_its_time_is_stopped_and_the_next_update_goes_well(bots: PythonBots, head: str, body: str):
    runner = bot(bots, body, head)

    for _ in range(2):
        outcome = run(runner)
        assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 0.8 s (BOT_LEGACY_TIMEOUT)")
        assert outcome.output == "\n".join(w for w in ("cleaned up", "caught") if w in body) + "\nwent well" * (
            "caught" in body
        )
        assert not runner.is_stuck
        assert outcome_of(runner).output == "went well"


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (SYNC, SLEEPS),
        (SYNC, SWALLOWS),
        (ASYNC, SLEEPS),
        (ASYNC, SWALLOWS),
        (ASYNC, SWALLOWS_CANCEL),
    ],
)
def test_a_bot_that_cannot_be_stopped_is_given_up_and_its_worker_says_so(
    bots: PythonBots, caplog: pytest.LogCaptureFixture, head: str, body: str
):
    runner = bot(bots, body, head)

    outcome = run(runner)

    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, f"stopped after 0.8 s (BOT_LEGACY_TIMEOUT); {STUCK}")
    assert outcome.output == ("asleep" if "asleep" in body else "")
    assert runner.is_stuck
    assert f"bot did not stop file={bots.folder}/bot.py function=handle" in caplog.text


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("head", [SYNC, ASYNC])
def test_a_stuck_runner_runs_nothing_more_and_does_not_hang(bots: PythonBots, head: str):
    runner = bot(bots, SLEEPS, head)
    run(runner)
    started = time.monotonic()

    outcome = outcome_of(runner)
    runner.close()

    assert (outcome.kind, outcome.cause, outcome.output) == (Kind.FAILED, STUCK, "")
    assert time.monotonic() - started < SOON_SECONDS
    assert runner.is_stuck


def test_a_bot_that_comes_back_only_after_its_time_has_not_succeeded(bots: PythonBots):
    assert run(bot(bots, f"time.sleep({SECONDS + 0.2})")).kind is Kind.TIMED_OUT


@pytest.mark.usefixtures("short_grace")
def test_a_stuck_bot_of_one_runner_leaves_the_threads_of_others_alone(bots: PythonBots):
    stuck = bot(bots, SLEEPS)
    fine = bot(bots, SLEEPS)
    outcome_of(fine)
    run(stuck)

    assert (stuck.is_stuck, fine.is_stuck) == (True, False)
    assert outcome_of(fine).succeeded


@pytest.mark.usefixtures("short_grace")
def test_a_stuck_event_loop_makes_every_runner_of_it_stuck(bots: PythonBots):
    stuck, other = (bot(bots, SWALLOWS_CANCEL, ASYNC, timeout_seconds=2.0) for _ in range(2))  # importing it is in it
    outcome_of(other)
    run(stuck)

    assert (stuck.is_stuck, other.is_stuck) == (True, True)
    assert outcome_of(other).cause == STUCK


def test_only_the_update_whose_time_is_over_is_stopped(bots: PythonBots):
    """Given two updates side by side in one loop, of which one has a shorter time."""
    code = f"{OVER}async def handle(update):\n    await asyncio.sleep(update['seconds'])\n    print('went well')"
    impatient, patient = bots.runner(code, timeout_seconds=SECONDS), bots.runner(code)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(patient, '{"seconds": 1.6}')))
    thread.start()

    assert outcome_of(impatient, '{"seconds": 600}').kind is Kind.TIMED_OUT
    thread.join(AMPLE_SECONDS)
    assert outcomes[0].output == "went well"


def test_an_update_that_waits_for_another_one_to_let_go_of_the_loop_is_dropped_and_never_begun(bots: PythonBots):
    code = (
        f"{OVER}async def handle(update):\n    if 'seconds' in update:\n        print(update)\n"
        "        open('begun', 'w').close()\n        time.sleep(update['seconds'])\n"
        "    else: open('never', 'w').close()"
    )
    impatient, blocking = bots.runner(code, timeout_seconds=SECONDS), bots.runner(code)
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(outcome_of(blocking, '{"seconds": 2.5}')))
    thread.start()
    bots.wait_until((bots.folder / "begun").exists)

    outcome = outcome_of(impatient)
    thread.join(AMPLE_SECONDS)

    assert (outcome.kind, impatient.is_stuck) == (Kind.TIMED_OUT, False)
    assert outcomes[0].succeeded
    assert outcome_of(blocking, '{"seconds": 0}').succeeded
    assert not (bots.folder / "never").exists()


# The tick


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize(("head", "body"), [(SYNC, SPINS), (ASYNC, "await asyncio.sleep(600)"), (SYNC, SLEEPS)])
def test_the_tick_comes_often_enough_for_a_heartbeat_and_not_all_the_time(bots: PythonBots, head: str, body: str):
    ticks: list[float] = []

    outcome_of(bot(bots, body, head, timeout_seconds=1.2), '{"update_id": 1}', lambda: ticks.append(time.monotonic()))

    assert 1 <= len(ticks) <= 3


@pytest.mark.parametrize("head", [SYNC, ASYNC])
def test_a_bot_that_ended_in_time_has_succeeded_although_the_tick_outlasted_its_time(bots: PythonBots, head: str):
    runner = bot(bots, "time.sleep(0.6)", head, timeout_seconds=2.0)

    outcome = outcome_of(runner, '{"update_id": 1}', lambda: time.sleep(1.8))

    assert outcome.output == "went well"
    assert outcome.succeeded


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize(
    ("head", "body", "is_stuck"),
    [
        (SYNC, SPINS, False),
        (ASYNC, "await asyncio.sleep(600)", False),
        (SYNC, SLEEPS, True),
        (ASYNC, SWALLOWS_CANCEL, True),
    ],
)
def test_what_the_tick_raises_stops_the_bot_and_is_passed_on(bots: PythonBots, head: str, body: str, is_stuck: bool):
    cause = ConnectionError("the database")
    error = LeaseLost("gone")

    def tick() -> None:
        raise error from cause

    runner = bot(bots, body, head, timeout_seconds=AMPLE_SECONDS)
    with pytest.raises(LeaseLost) as caught:
        outcome_of(runner, '{"update_id": 1}', tick)

    assert (caught.value, caught.value.__cause__, runner.is_stuck) == (error, cause, is_stuck)
    assert is_stuck or outcome_of(runner).succeeded


# The end


def test_closing_cancels_what_the_bot_left_running(bots: PythonBots):
    runner = bots.runner(
        "import asyncio\nfrom pathlib import Path\nasync def numbers():\n    try:\n        yield 1\n        yield 2\n"
        "    finally: Path('generator').write_text('closed')\n"
        "async def runs_on():\n    try: await asyncio.sleep(600)\n    finally: Path('task').write_text('cancelled')\n"
        "async def handle(update):\n    global task, generator\n    task = asyncio.create_task(runs_on())\n"
        "    generator = numbers()\n    await generator.__anext__()\n    await asyncio.sleep(0)\n"
    )
    assert outcome_of(runner).succeeded

    runner.close()

    assert (bots.folder / "generator").read_text() == "closed"
    assert (bots.folder / "task").read_text() == "cancelled"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_last_runner_that_closes_lets_the_bot_clean_up(bots: PythonBots, kind: str):
    code = (
        f"import threading\n{kind} handle(update): pass\n"
        f"{kind} on_worker_stop():\n    with open('stops', 'a') as file: file.write('x')\n"
    )
    first, second, unused = (bots.runner(code) for _ in range(3))
    outcome_of(first)
    outcome_of(second)
    first.close()
    before = (bots.folder / "stops").exists()

    for runner in (second, second, first, unused):
        runner.close()

    assert (before, (bots.folder / "stops").read_text()) == (False, "x")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def on_worker_stop(): raise ValueError('no')", 'on_worker_stop failed cause="ValueError: no (bot.py:2 in'),
        ("def on_worker_stop(): raise SystemExit", 'on_worker_stop failed cause="SystemExit (bot.py:2 in'),
        ("on_worker_stop = 5", ""),
    ],
)
def test_a_bot_that_cleans_up_badly_does_not_keep_the_worker_from_its_end(
    bots: PythonBots, caplog: pytest.LogCaptureFixture, code: str, said: str
):
    runner = bots.runner(f"def handle(update): pass\n{code}\n")
    outcome_of(runner)

    runner.close()

    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_bot_that_never_ends_cleaning_up_is_left(bots: PythonBots, monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr("scalable.lib.runners.python.runner.STOP_HOOK_SECONDS", 0.2)
    monkeypatch.setattr(bot_loop, "CANCEL_SECONDS", 0.2)
    runner = bots.runner(f"{OVER}{kind} handle(update): pass\n{kind} on_worker_stop():\n    {SPINS}\n")
    outcome_of(runner)
    started = time.monotonic()

    runner.close()

    assert time.monotonic() - started < SOON_SECONDS


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_closed_runner_may_run_again(bots: PythonBots, kind: str):
    runner = bots.runner(
        f"{kind} handle(update): print(len(calls))\ncalls = []\n{kind} on_worker_stop(): calls.append(1)"
    )

    outputs = []
    for _ in range(3):
        outputs.append(outcome_of(runner).output)
        runner.close()
        runner.close()

    assert outputs == ["0", "1", "2"]


def test_a_runner_that_was_never_used_closes_without_a_word(bots: PythonBots, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        bots.runner("def handle(update): pass").close()

    assert caplog.records == []


PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from textwrap import indent
from scalable.lib.worker.process_end import end_within
from scalable.lib.runners.python import bot_thread
from scalable.lib.runners.python.runner import PythonRunner
bot_thread.GRACE_SECONDS = 0.2
runner = PythonRunner(Path(sys.argv[2]), "handle", 2.0)
print(runner.run('{"update_id": 1}').end.name, runner.is_stuck, flush=True)
runner.close()
end_within(3.0, 7)
"""


@pytest.mark.parametrize(
    ("body", "said", "exit_code"),
    [
        ("pass", "RETURNED False", 0),
        (SWALLOWS, "TIMED_OUT True", 0),
        ("time.sleep(600)", "TIMED_OUT True", 0),
        ("import threading\nthreading.Thread(target=time.sleep, args=(600,)).start()", "RETURNED False", 0),
        (
            "import threading\nthreading.Thread(target=time.sleep, args=(600,), daemon=False).start()",
            "RETURNED False",
            7,
        ),
        ("import concurrent.futures as f\nf.ThreadPoolExecutor().submit(time.sleep, 600)", "RETURNED False", 7),
        ("import atexit\natexit.register(time.sleep, 600)", "RETURNED False", 7),
    ],
)
def test_a_process_ends_whatever_the_bot_left_running_in_it(tmp_path: Path, body: str, said: str, exit_code: int):
    (tmp_path / "bot.py").write_text(f"{OVER}def handle(update):\n{indent(body, ' ' * 4)}\n")

    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(REPOSITORY), str(tmp_path / "bot.py")],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.returncode) == (said + "\n", exit_code)
    assert done.stderr.startswith("bot did not stop") == said.endswith("True")
    assert "Traceback" not in done.stderr
