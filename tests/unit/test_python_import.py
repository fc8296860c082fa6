"""The bot a PythonRunner calls: imported once, from its own folder, and every way in which that can go wrong."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

import scalable
from scalable.lib.errors import BotMissing
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.python.runner import PythonRunner
from tests.support.generators.bots import outcome_of
from tests.support.generators.python_bots import AMPLE_SECONDS, PythonBots

GOOD = "def handle(update): pass"
UNDER_MAIN = 'under `if __name__ == "__main__":`'


# What it is given


def test_check_imports_the_bot_and_says_how_it_is_called(bots: PythonBots, tmp_path: Path):
    runner = bots.runner("open('imported', 'w').close()\ndef handle(update): pass")

    assert runner.check() == f"calls handle(update) of {tmp_path}/bot.py in the worker's own process"
    assert (tmp_path / "imported").exists()


def test_several_runners_in_several_threads_import_the_bot_once(bots: PythonBots, tmp_path: Path):
    code = (
        "import time\nwith open('imports', 'a') as file: file.write('x')\ntime.sleep(0.2)\ndef handle(update): pass\n"
    )
    runners = [bots.runner(code) for _ in range(6)]
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda each=each: outcomes.append(outcome_of(each))) for each in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AMPLE_SECONDS)

    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED] * 6
    assert (tmp_path / "imports").read_text() == "x"


def test_modules_beside_it_are_found_while_it_is_imported_and_later(bots: PythonBots):
    bots.write("value = 'early'", "helper_at_import.py")
    bots.write("value = 'late'", "helper_in_a_run.py")
    runner = bots.runner(
        "import helper_at_import\ndef handle(update):\n"
        "    import helper_in_a_run\n    print(helper_at_import.value, helper_in_a_run.value)\n"
    )

    assert outcome_of(runner).output == "early late"


def test_a_helper_that_imports_the_bot_back_gets_the_same_module(bots: PythonBots):
    bots.write("def count():\n    import my_own_bot\n    return my_own_bot.calls", "helper_that_looks_back.py")
    runner = bots.runner(
        "import helper_that_looks_back\ncalls = []\n"
        "def handle(update):\n    calls.append(1)\n    print(len(helper_that_looks_back.count()))\n",
        file="my_own_bot.py",
    )

    assert [outcome_of(runner).output for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("file", ["scalable.py", "json.py", "queue.py", "pytest.py", "my-bot.py", "my.bot.py", "bot"])
def test_a_bot_may_have_any_name_and_takes_nobody_elses(bots: PythonBots, file: str):
    before = {name: sys.modules.get(name) for name in ("scalable", "json", "queue", "pytest")}
    runner = bots.runner("import json, queue\ndef handle(update): print(json.dumps(update), queue.__name__)", file=file)

    assert outcome_of(runner).output == "{} queue"
    assert {name: sys.modules.get(name) for name in before} == before


def test_a_folder_beside_the_bot_does_not_shadow_this_package(bots: PythonBots, tmp_path: Path):
    """Given another copy of the plugin, or of something else, under our name."""
    (tmp_path / "scalable" / "lib").mkdir(parents=True)
    for folder in ("scalable", "scalable/lib"):
        (tmp_path / folder / "__init__.py").write_text("raise RuntimeError('the wrong one')")
    runner = bots.runner(
        "def handle(update):\n    import scalable, scalable.lib.telegram.update\n    print(scalable.__file__)"
    )

    assert outcome_of(runner).output == scalable.__file__


def test_an_import_may_use_the_event_loop_that_will_run_the_bot(bots: PythonBots):
    runner = bots.runner(
        "import asyncio\nloop = asyncio.get_event_loop()\nready = []\nasync def get_ready(): ready.append(1)\n"
        "loop.run_until_complete(get_ready())\nasync def handle(update):\n"
        "    print(ready, loop is asyncio.get_running_loop())\n"
    )

    assert [outcome_of(runner).output for _ in range(2)] == ["[1] True"] * 2


def test_the_block_for_programs_is_not_run(bots: PythonBots):
    assert outcome_of(bots.runner(GOOD + "\nif __name__ == '__main__': raise RuntimeError")).succeeded


# What can be wrong


def refusal(runner: PythonRunner) -> str:
    with pytest.raises(BotMissing) as caught:
        runner.check()
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import telebott\n" + GOOD,
            "cannot be imported: ModuleNotFoundError: No module named 'telebott' (bot.py:1); "
            f"is it installed for {sys.executable}, which runs the worker?",
        ),
        ("x = 1\ndef handle(update):\nreturn", "cannot be imported: IndentationError: expected an indented block"),
        ("def handle(update: pass", "(bot.py:1)"),
        (
            "def start():\n    raise ValueError('no token')\nstart()\n" + GOOD,
            "cannot be imported: ValueError: no token (bot.py:2 in start)",
        ),
        (
            GOOD + "\nimport sys\nsys.exit(3)",
            f"cannot be imported: SystemExit: 3 (bot.py:3); put what starts it as a program {UNDER_MAIN}",
        ),
        (
            GOOD + "\nraise KeyboardInterrupt",
            f"KeyboardInterrupt (bot.py:2); put what starts it as a program {UNDER_MAIN}",
        ),
        ("", "has no handle; expected `def handle(update)` or `async def handle(update)` in it"),
        ("handle = None", "has no handle; expected"),
        ("handle = 5", "handle in PATH is a int; expected `def handle(update)`"),
        ("def handle(): pass", "handle() in PATH cannot be called with an update; expected"),
        (
            "def handle(event, context): pass",
            "handle(event, context) in PATH cannot be called with an update; expected",
        ),
        ("def handle(*, update): pass", "handle(*, update) in PATH cannot be called with an update; expected"),
        ("\0", "cannot be imported: "),
    ],
)
def test_a_bot_that_cannot_be_called_is_told_with_the_place_and_what_to_do(
    bots: PythonBots, tmp_path: Path, code: str, message: str
):
    runner = bots.runner(code)

    text = refusal(runner)

    assert text.startswith("BOT_LEGACY_PATH: ")
    assert str(tmp_path / "bot.py") in text
    assert message.replace("PATH", str(tmp_path / "bot.py")) in text
    assert "\n" not in text


def test_a_broken_helper_is_told_by_its_own_name(bots: PythonBots):
    bots.write("x = 1\nprice = 1 / 0", "helper_that_is_broken.py")

    text = refusal(bots.runner("import helper_that_is_broken\n" + GOOD))

    assert text.endswith("cannot be imported: ZeroDivisionError: division by zero (helper_that_is_broken.py:2)")


@pytest.mark.parametrize("name", ["nothing.py", ".", "bot.py/below", "x" * 300])
def test_a_missing_file_is_told_with_its_path_and_the_setting(tmp_path: Path, name: str):
    (tmp_path / "bot.py").write_text(GOOD)
    runner = PythonRunner(tmp_path / name, "handle", AMPLE_SECONDS)

    assert refusal(runner).startswith("BOT_LEGACY_PATH: there is no bot at ")
    assert outcome_of(runner).kind is Kind.FAILED
    runner.close()


def test_a_failed_import_is_a_failed_attempt_with_the_traceback_and_is_tried_anew(bots: PythonBots):
    """Given an owner who uploads a broken version, and then a good one."""
    runner = bots.runner("print('half')\nimport helper_not_uploaded_yet\n" + GOOD)
    outcome = outcome_of(runner)
    bots.write("", "helper_not_uploaded_yet.py")

    assert outcome.kind is Kind.FAILED
    assert "No module named 'helper_not_uploaded_yet' (bot.py:2)" in outcome.cause
    assert outcome.output.startswith("half\nTraceback (most recent call last):")
    assert [outcome_of(runner).kind for _ in range(2)] == [Kind.SUCCEEDED] * 2


def test_a_failed_import_leaves_no_module_behind(bots: PythonBots):
    runner = bots.runner("raise ValueError", file="bot_that_fails.py")

    assert outcome_of(runner).kind is Kind.FAILED
    assert "bot_that_fails" not in sys.modules


def test_the_import_is_part_of_the_first_runs_time(bots: PythonBots):
    """Given a bot that asks for updates itself as soon as it is imported."""
    runner = bots.runner("print('polling')\nwhile True: pass", timeout_seconds=1.0)

    outcome = outcome_of(runner)

    assert (outcome.kind, outcome.output) == (Kind.TIMED_OUT, "polling")
    assert not runner.is_stuck
    assert refusal(runner).endswith(
        f"took more than 1 s (BOT_LEGACY_TIMEOUT); put what makes it ask for updates {UNDER_MAIN}"
    )


def test_an_import_that_was_stopped_is_tried_anew(bots: PythonBots, tmp_path: Path):
    runner = bots.runner("import os\nwhile not os.path.exists('go'): pass\n" + GOOD, timeout_seconds=1.0)

    assert outcome_of(runner).kind is Kind.TIMED_OUT
    (tmp_path / "go").write_text("")
    assert outcome_of(runner).succeeded


# A new version


def test_a_changed_file_makes_the_runner_stale_and_the_old_version_runs_on(bots: PythonBots, tmp_path: Path):
    runner = bots.runner("def handle(update): print('old')")
    before = runner.is_stale
    outcome_of(runner)
    imported = runner.is_stale
    bots.write("def handle(update): print('new')")

    assert (before, imported, runner.is_stale) == (False, False, True)
    assert outcome_of(runner).output == "old"


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_age_is_another_one(bots: PythonBots, tmp_path: Path):
    runner = bots.runner("def handle(update): print('old')")
    outcome_of(runner)
    upload = bots.write("def handle(update): print('new')", "upload.py")
    shutil.copystat(tmp_path / "bot.py", upload)
    upload.rename(tmp_path / "bot.py")

    assert runner.is_stale


def test_a_file_that_may_be_half_of_an_upload_is_no_new_version_yet(bots: PythonBots, tmp_path: Path):
    runner = bots.runner(GOOD)
    outcome_of(runner)
    (tmp_path / "bot.py").write_text("def handle(up")
    fresh = runner.is_stale
    os.utime(tmp_path / "bot.py", (time.time() - 3, time.time() - 3))

    assert (fresh, runner.is_stale) == (False, True)


def test_a_file_from_the_future_is_a_new_version(bots: PythonBots, tmp_path: Path):
    """Given a clock of another machine, or an upload that keeps times."""
    runner = bots.runner(GOOD)
    outcome_of(runner)
    os.utime(tmp_path / "bot.py", (time.time() + 3600, time.time() + 3600))

    assert runner.is_stale


def test_a_bot_that_removes_its_own_file_runs_on(bots: PythonBots, tmp_path: Path):
    runner = bots.runner("import os\ndef handle(update):\n    os.path.exists(__file__) and os.remove(__file__)")

    assert [outcome_of(runner).kind for _ in range(3)] == [Kind.SUCCEEDED] * 3
    assert not (tmp_path / "bot.py").exists()
    assert not runner.is_stale


def test_a_runner_made_after_the_change_is_stale_like_the_others(bots: PythonBots):
    first = bots.runner(GOOD)
    outcome_of(first)
    second = bots.runner(GOOD + "  # changed")
    outcome_of(second)

    assert (first.is_stale, second.is_stale) == (True, True)
