"""PythonRunner: what the bot prints is kept with its run, and the streams stay the worker's."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.runners.outcome import Kind
from tests.support.generators.bots import outcome_of
from tests.support.generators.python_bots import PythonBots, in_threads, run

either_kind = pytest.mark.parametrize("head", ["def handle(update):", "async def handle(update):"])


@either_kind
def test_what_it_prints_is_kept_with_the_run_and_not_shown(
    bots: PythonBots, capfd: pytest.CaptureFixture[str], head: str
):
    outcome = run(
        bots,
        (
            "print('out', 'привіт')\nprint('err', file=sys.stderr)\nsys.stdout.buffer.write(b'bytes \\xff\\n')\n"
            "sys.stdout.writelines(['a', 'b'])\nsys.stdout.flush()"
        ),
        head=head,
    )

    assert outcome.output == "out привіт\nerr\nbytes \ufffd\nab"
    assert capfd.readouterr() == ("", "")


def test_of_much_output_the_end_is_kept(bots: PythonBots):
    outcome = run(bots, "for _ in range(100): print('x' * 10_000)\nprint('the end')")

    assert len(outcome.output) <= TAIL_BYTES
    assert outcome.output.endswith("x\nthe end")


def test_what_is_written_to_the_descriptor_itself_disturbs_nothing(bots: PythonBots, capfd: pytest.CaptureFixture[str]):
    outcome = run(bots, "os.write(1, b'past everything\\n')\nprint('kept')")

    assert (outcome.kind, outcome.output) == (Kind.SUCCEEDED, "kept")
    assert capfd.readouterr().out == "past everything\n"


def test_what_the_import_prints_is_kept_too(bots: PythonBots, capfd: pytest.CaptureFixture[str]):
    runner = bots.runner("print('imported')\ndef handle(update): print('called')")

    assert [outcome_of(runner).output for _ in range(2)] == ["imported\ncalled", "called"]
    assert capfd.readouterr() == ("", "")


def test_a_task_that_goes_on_after_its_run_prints_where_everybody_does(
    bots: PythonBots, capfd: pytest.CaptureFixture[str]
):
    runner = bots.runner(
        "import asyncio\nover = None\nasync def later():\n    await over.wait()\n    print('later')\n    over.clear()\n"
        "async def handle(update):\n    global over, task\n"
        "    if over is None:\n        over = asyncio.Event()\n        task = asyncio.create_task(later())\n"
        "    else:\n        over.set()\n        await task\n"
    )

    assert [outcome_of(runner).output for _ in range(2)] == ["", ""]
    assert capfd.readouterr().out == "later\n"


def test_the_streams_are_given_back(bots: PythonBots):
    before = (sys.stdout, sys.stderr)
    runner = bots.runner("def handle(update): pass")
    outcome_of(runner)
    inside = (sys.stdout, sys.stderr)
    runner.close()

    assert (sys.stdout, sys.stderr) == before
    assert inside != before
    assert (inside[0].encoding, inside[0].fileno) == (before[0].encoding, before[0].fileno)


@pytest.mark.parametrize(
    "code",
    [
        "sys.stdout.close()\nprint('said')",
        "sys.stdout.buffer.close()\nprint('said')",
        "import io\nprint('said', file=io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8'))",
        "import codecs\ncodecs.getwriter('utf-8')(sys.stdout.detach()).write('said')",
    ],
)
def test_a_bot_that_closes_a_stream_closes_nothing_of_the_worker(
    bots: PythonBots, capfd: pytest.CaptureFixture[str], code: str
):
    """Given ways that people have to print UTF-8 everywhere, and the plain one."""
    outcomes = [run(bots, code) for _ in range(2)]
    bots.clean_up()
    print("the worker is heard")

    assert [(outcome.cause, outcome.output) for outcome in outcomes] == [("handle() returned", "said")] * 2
    assert capfd.readouterr() == ("the worker is heard\n", "")


def test_its_log_lines_go_where_log_lines_go_and_warnings_to_the_job_as_well(
    bots: PythonBots, caplog: pytest.LogCaptureFixture
):
    code = "import logging\nlog = logging.getLogger('my.bot')\nlog.info('begun')\nlog.warning('disk nearly full')"
    caplog.set_level(logging.INFO)

    outcome = run(bots, code)

    assert outcome.output == outcome.warnings == "WARNING:my.bot:disk nearly full"
    assert [text for *_, text in caplog.record_tuples] == ["begun", "disk nearly full"]


@either_kind
def test_runs_side_by_side_keep_their_outputs_apart(bots: PythonBots, head: str):
    """Given eight runners of one bot, each in a thread, and a barrier inside the bot that all of them pass together."""
    waits = "await asyncio.sleep(0.01)" if "async" in head else "time.sleep(0.01)"
    code = (
        f"import asyncio, time\ncount = 0\n{head}\n    global count\n    count += 1\n    while count < 8: {waits}\n"
        f"    for _ in range(50):\n        print(update['update_id'])\n        {waits.replace('0.01', '0')}\n"
    )
    runners = [bots.runner(code) for _ in range(8)]
    outputs: dict[int, str] = {}

    def work(number: int) -> None:
        outputs[number] = outcome_of(runners[number], json.dumps({"update_id": number})).output

    in_threads([lambda number=number: work(number) for number in range(8)])

    assert outputs == {number: "\n".join([str(number)] * 50) for number in range(8)}
