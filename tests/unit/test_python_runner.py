"""PythonRunner: a function of the bot is called inside this process, and what becomes of it is one Outcome."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest

from scalable.lib.captured_output import HEAD_BYTES, TAIL_BYTES
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.python.runner import PythonRunner
from tests.support.generators.bots import outcome_of
from tests.support.generators.python_bots import AMPLE_SECONDS, PythonBots, in_threads, run

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


either_kind = pytest.mark.parametrize("head", ["def handle(update):", "async def handle(update):"])


# The call


@either_kind
def test_the_function_gets_the_update_as_a_dict(bots: PythonBots, head: str):
    update = {"update_id": 7, "message": {"text": "привіт 👩‍🌾", "date": 1, "chat": {"id": -100}}}

    outcome = run(bots, "print(ascii(update))", json.dumps(update), head)

    assert (outcome.kind, outcome.cause, outcome.answer) == (Kind.SUCCEEDED, "handle() returned", b"")
    assert outcome.output == ascii(update)


@pytest.mark.parametrize(
    "code",
    [
        "async def work(update): print('worked')\ndef handle(update): return work(update)",
        "import functools\nasync def work(kind, update): print('worked')\nhandle = functools.partial(work, 'x')",
        "class Bot:\n    async def __call__(self, update): print('worked')\nhandle = Bot()",
        "class Bot:\n    async def handle(self, update): print('worked')\nhandle = Bot().handle",
        "def handle(update, context=None): print('worked')",
        "import asyncio\nasync def work(): print('worked')\ndef handle(update): asyncio.run(work())",
    ],
)
def test_whatever_can_be_called_with_an_update_is_called_and_awaited_to_its_end(bots: PythonBots, code: str):
    runner = bots.runner(code)

    for _ in range(3):
        outcome = outcome_of(runner)
        assert (outcome.kind, outcome.output) == (Kind.SUCCEEDED, "worked"), outcome


@pytest.mark.parametrize("payload", ["", "{", "[]", "null", '"text"', "[" * 100_000])
def test_a_job_that_holds_no_update_is_failed_for_good_with_the_reason(bots: PythonBots, payload: str):
    outcome = run(bots, "print('called')", payload)

    assert (outcome.kind, outcome.output) == (Kind.FAILED_FOR_GOOD, "")
    assert outcome.cause.startswith("the job holds no update: ")


def test_a_bot_runs_in_its_own_folder_and_the_process_goes_back_when_it_is_closed(bots: PythonBots, tmp_path: Path):
    before = os.getcwd()
    runner = bots.runner("import os\ndef handle(update): print(os.getcwd())")

    assert outcome_of(runner).output == str(tmp_path)
    runner.close()
    assert os.getcwd() == before


def test_the_runner_is_used_from_any_thread(bots: PythonBots):
    """Given signals and event loops, which belong to the main thread unless one takes care."""
    runner = bots.runner("import asyncio\nasync def handle(update): await asyncio.sleep(0)")
    outcomes: list[Outcome] = []

    def work() -> None:
        outcomes.append(outcome_of(runner))

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(AMPLE_SECONDS)

    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED] * 2


# What it returns


@either_kind
@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("{'method': 'sendMessage', 'text': 'привіт'}", '{"method": "sendMessage", "text": "привіт"}'.encode()),
        ('\'{"method": "sendMessage"}\'', b'{"method": "sendMessage"}'),
        ("b'bytes'", b"bytes"),
        ("'half \\ud83d'", b"half ?"),
        ("{'no': 'method', 'but': object()}", b""),
        ("[1, object()]", b""),
        ("True", b""),
        (f"'x' * {HEAD_BYTES + 1}", b""),
    ],
)
def test_what_it_returns_may_be_a_method_call_for_telegram(bots: PythonBots, head: str, value: str, answer: bytes):
    outcome = run(bots, f"return {value}", head=head)

    assert (outcome.kind, outcome.answer) == (Kind.SUCCEEDED, answer)
    assert outcome.answer_type == ("application/json" if value.startswith("{") else None)


@either_kind
def test_a_generator_is_a_failed_attempt_because_nothing_in_it_was_run(bots: PythonBots, head: str):
    outcome = run(bots, "print('never')\nyield {'method': 'sendMessage'}", head=head)

    assert (outcome.kind, outcome.output) == (Kind.FAILED, "")
    assert outcome.cause == "handle() is a generator, so nothing in it was run: it must `return`, not `yield`"


@pytest.mark.parametrize(
    "value",
    [
        "{'method': 'sendMessage', 'chat': object()}",
        "{'method': 'x', 'text': '\\ud83d'}",
        "{'method': float('nan')}",
        "(lambda d: d.update(d=d) or d)({'method': 'x'})",
    ],
)
def test_a_method_call_that_is_no_json_is_a_failed_attempt_because_nobody_could_make_it(bots: PythonBots, value: str):
    outcome = run(bots, f"return {value}")

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("handle() returned a method call that is no JSON: ")


def test_an_object_that_is_returned_is_ignored_with_one_warning(bots: PythonBots, caplog: pytest.LogCaptureFixture):
    """Given what some libraries return: an object that describes a call, which nobody makes."""
    runner = bots.runner("class SendMessage: pass\ndef handle(update): return SendMessage()")

    assert [outcome_of(runner).kind for _ in range(3)] == [Kind.SUCCEEDED] * 3
    assert [record.getMessage() for record in caplog.records] == [
        'return value ignored function=handle type=SendMessage expected="None, or a dict with a method call"'
    ]


# What it raises


@either_kind
def test_an_exception_is_a_failed_attempt_that_names_the_place_in_the_bot(bots: PythonBots, head: str):
    outcome = run(bots, "print('before')\nraise ValueError('no such chat')", head=head)

    assert (outcome.kind, outcome.cause) == (Kind.FAILED, "ValueError: no such chat (bot.py:4 in handle)")
    before, first, *_, last = outcome.output.splitlines()
    assert (before, first, last) == ("before", "Traceback (most recent call last):", "ValueError: no such chat")
    assert "scalable" not in outcome.output


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("raise KeyError('message')", "KeyError: 'message' (bot.py:3 in handle)"),
        ("raise ValueError", "ValueError (bot.py:3 in handle)"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines (bot.py:3 in handle)"),
        ("raise ValueError('half \\ud83d')", "ValueError: half ? (bot.py:3 in handle)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (bot.py:3 in handle)"),
        ("raise GeneratorExit", "GeneratorExit (bot.py:3 in handle)"),
        ("raise asyncio.CancelledError", "CancelledError (bot.py:3 in handle)"),
        (
            "import json\njson.loads('')",
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (bot.py:4 in handle)",
        ),
        (
            "class Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd",
            "Odd: <its text cannot be had: RuntimeError> (bot.py:5 in handle)",
        ),
        (
            "class Odd(Exception):\n    def __str__(self): return 5\nraise Odd",
            "Odd: <its text cannot be had: TypeError> (bot.py:5 in handle)",
        ),
    ],
)
@either_kind
def test_every_exception_becomes_a_readable_cause(bots: PythonBots, head: str, body: str, cause: str):
    outcome = run(bots, body, head=head)

    assert (outcome.kind, outcome.cause) == (Kind.FAILED, cause)
    outcome.explanation().encode("utf-8")  # it can be stored


@either_kind
def test_a_recursion_without_end_is_an_exception_like_others(bots: PythonBots, head: str):
    runner = bots.runner(f"def again(): again()\n{head}\n    again()")

    for _ in range(2):
        outcome = outcome_of(runner)
        assert outcome.kind is Kind.FAILED
        assert outcome.cause.startswith("RecursionError: maximum recursion depth exceeded")
        assert outcome.cause.endswith("(bot.py:1 in again)")
        assert len(outcome.output) <= TAIL_BYTES


@either_kind
def test_memory_that_cannot_be_had_is_an_exception_like_others(bots: PythonBots, head: str):
    outcome = run(bots, "return [0] * 10 ** 15", head=head)

    assert (outcome.kind, outcome.cause) == (Kind.FAILED, "MemoryError (bot.py:3 in handle)")


def test_the_place_is_in_the_bot_although_a_library_beneath_it_raised(bots: PythonBots, tmp_path: Path):
    library = tmp_path / "venv" / "lib" / "site-packages" / "a_library.py"
    library.parent.mkdir(parents=True)
    library.write_text("def fetch(): raise OSError('no network')")

    outcome = outcome_of(
        bots.runner(
            f"import sys\nsys.path.append({str(library.parent)!r})\nimport a_library\n"
            "def handle(update):\n    a_library.fetch()"
        ),
        "{}",
    )

    assert outcome.cause == "OSError: no network (bot.py:5 in handle)"
    assert "a_library.py" in outcome.output


def test_a_token_is_in_no_cause_and_no_output(bots: PythonBots):
    outcome = run(bots, f"url = 'https://api.telegram.org/bot{TOKEN}/sendMessage'\nprint(url)\nraise OSError(url)")

    assert TOKEN not in outcome.explanation() + outcome.cause
    assert outcome.cause == "OSError: https://api.telegram.org/bot<token>/sendMessage (bot.py:5 in handle)"


@either_kind
@pytest.mark.parametrize(
    ("code", "kind", "cause", "exit_code", "output"),
    [
        ("", Kind.SUCCEEDED, "exit code 0", 0, "printed"),
        ("None", Kind.SUCCEEDED, "exit code 0", 0, "printed"),
        ("0", Kind.SUCCEEDED, "exit code 0", 0, "printed"),
        ("1", Kind.FAILED, "exit code 1", 1, "printed"),
        ("65", Kind.FAILED_FOR_GOOD, "exit code 65: the bot refuses this update", 65, "printed"),
        ("'no database'", Kind.FAILED, "exit code 1", 1, "printed\nno database"),
        ("(1, 2)", Kind.FAILED, "exit code 1", 1, "printed\n(1, 2)"),
        ("True", Kind.FAILED, "exit code 1", 1, "printed"),
        ("-1", Kind.FAILED, "exit code 255", 255, "printed"),
    ],
)
def test_sys_exit_means_what_it_means_for_a_program(
    bots: PythonBots, head: str, code: str, kind: Kind, cause: str, exit_code: int, output: str
):
    outcome = run(bots, f"print('printed')\nsys.exit({code})", head=head)

    assert (outcome.kind, outcome.cause) == (kind, cause)
    assert (outcome.exit_code, outcome.output) == (exit_code, output)


# The event loop


def test_an_async_bot_has_one_loop_for_all_updates_and_all_runners(bots: PythonBots):
    """Given what libraries keep from the first update to the next: a lock, a session, a queue of that loop."""
    code = (
        "import asyncio\nlock = asyncio.Lock()\nat_import = asyncio.get_event_loop()\nasync def handle(update):\n"
        "    assert asyncio.get_running_loop() is at_import\n    async with lock: await asyncio.sleep(0.01)\n"
    )
    runners = [bots.runner(code) for _ in range(4)]
    outcomes: list[Outcome] = []

    in_threads([lambda runner=runner: outcomes.extend(outcome_of(runner) for _ in range(5)) for runner in runners])

    assert [outcome.cause for outcome in outcomes] == ["handle() returned"] * 20


def test_the_loop_goes_on_between_updates(bots: PythonBots, tmp_path: Path):
    runner = bots.runner(
        "import asyncio\nfrom pathlib import Path\nasync def later():\n    await asyncio.sleep(0.05)\n"
        "    Path('later').write_text('')\nasync def handle(update):\n    global task\n"
        "    task = asyncio.create_task(later())\n"
    )

    assert outcome_of(runner).succeeded
    bots.wait_until((tmp_path / "later").exists)


def test_a_task_that_ends_the_program_ends_neither_worker_nor_loop(bots: PythonBots):
    runner = bots.runner(
        "import asyncio, sys\nasync def ends(): sys.exit(3)\nasync def handle(update):\n    global task\n"
        "    if update: task = asyncio.create_task(ends())\n    await asyncio.sleep(0.01)\n"
    )

    assert [outcome_of(runner, payload).kind for payload in ('{"update_id": 1}', "{}", "{}")] == [Kind.SUCCEEDED] * 3


def test_nothing_of_the_bot_is_shown_in_a_repr(bots: PythonBots):
    assert "private" not in repr(run(bots, "print('private words')\nreturn 'private'"))


def test_this_process_has_no_event_loop_of_the_bot(bots: PythonBots):
    before = asyncio._get_running_loop()  # a browser's, when its tests ran in this process

    run(bots, "pass", head="async def handle(update):")

    assert asyncio._get_running_loop() is before


def test_two_functions_of_one_bot_are_told_apart(bots: PythonBots):
    code = "def one(update): print(1)\ndef two(update): print(2)"

    assert [outcome_of(bots.runner(code, name)).output for name in ("one", "two")] == ["1", "2"]


def test_many_runs_leave_no_thread_and_no_descriptor_behind(bots: PythonBots):
    def count() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    for kind in ("def", "async def"):
        before = count()
        runner: PythonRunner = bots.runner(f"{kind} handle(update): pass", file=f"bot_{kind[:5].strip()}.py")
        for _ in range(100):
            outcome_of(runner)
        runner.close()

        assert all(now <= then for now, then in zip(count(), before)), (before, count())
