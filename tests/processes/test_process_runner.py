"""One run of a program, with real programs: nothing that they do hangs the caller or fills its memory."""

from __future__ import annotations

import os
import signal
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest

from scalable.lib.captured_output import CHUNK_BYTES, HEAD_BYTES, TAIL_BYTES, CapturedOutput
from scalable.lib.runners import process
from scalable.lib.runners.process import ProcessEnd, run_process
from scalable.lib.runners.run_result import End, ran_too_long
from tests.support.generators.bots import STAYS, is_let_go, python_bot, shell_bot
from tests.support.waiting import SOON_SECONDS

# Far beyond what any of these programs needs; a run that took this long hung.
AMPLE_SECONDS = 60.0
FLOOD_BYTES = 100 * 1024 * 1024


def run(bot: Path, standard_input: bytes = b"", timeout_seconds: float = AMPLE_SECONDS, **rest) -> ProcessEnd:
    return run_process([str(bot)], standard_input, bot.parent, timeout_seconds, **rest)


@pytest.mark.parametrize("code", [0, 1, 2, 127, 255])
def test_the_exit_code_is_passed_on(tmp_path: Path, code: int):
    end = run(shell_bot(tmp_path, f"exit {code}"))

    assert (end.returncode, end.timed_out) == (code, False)


def test_the_end_of_a_program_is_noticed_at_once(tmp_path: Path):
    end = run(shell_bot(tmp_path, "exit 0"))

    assert end.seconds < AMPLE_SECONDS / 2


def test_standard_input_arrives_whole_and_ends(tmp_path: Path):
    update = bytes(range(256)) * 4096
    bot = python_bot(tmp_path, "import sys, zlib\nd = sys.stdin.buffer.read()\nprint(len(d), zlib.crc32(d))")

    end = run(bot, update)

    assert end.output == f"{len(update)} {zlib.crc32(update)}"


def test_input_and_output_larger_than_the_pipes_do_not_block_each_other(tmp_path: Path):
    """Given a program that answers each piece before it reads the next."""
    bot = python_bot(
        tmp_path,
        (
            "import sys\n"
            "while True:\n"
            "    piece = sys.stdin.buffer.read(4096)\n"
            "    if not piece: break\n"
            "    sys.stdout.buffer.write(piece * 2)\n"
            "    sys.stdout.flush()\n"
        ),
    )

    end = run(bot, b"x" * 1024 * 1024)

    assert (end.returncode, end.timed_out) == (0, False)
    assert end.output == "x" * TAIL_BYTES


def test_a_program_that_never_reads_its_input_ends_by_itself(tmp_path: Path):
    end = run(shell_bot(tmp_path, "echo handled; exit 0"), b"x" * 1024 * 1024)

    assert (end.returncode, end.output) == (0, "handled")


def test_a_program_that_closes_its_input_early_is_left_to_finish(tmp_path: Path):
    code = "import os, sys\nos.read(0, 10)\nos.close(0)\nsys.stdout.write('.' * 100000)\nprint('end')\n"

    end = run(python_bot(tmp_path, code), b"x" * 1024 * 1024)

    assert end.returncode == 0
    assert end.output.endswith("end")


def test_a_flood_on_both_outputs_is_read_to_the_end_and_only_its_tail_is_kept(tmp_path: Path):
    bot = python_bot(
        tmp_path,
        (
            "import sys\n"
            f"for _ in range({FLOOD_BYTES // 2 // 65536}):\n"
            "    sys.stdout.buffer.write(b'o' * 65536); sys.stderr.buffer.write(b'e' * 65536)\n"
            "print('last out'); sys.stdout.flush(); sys.stderr.write('last err')\n"
        ),
    )
    tracemalloc.start()
    try:
        end = run(bot)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (end.returncode, end.timed_out) == (0, False)
    out, err = end.output.split("\n")
    assert out.endswith("last out")
    assert err.endswith("last err")
    assert max(len(out), len(err)) <= TAIL_BYTES
    assert peak_bytes < 2 * 1024 * 1024


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_a_standard_input_that_is_a_file_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
):
    """Also where the system has no files in memory, and one without a name is made on the disk."""
    if not has_memory_files:
        monkeypatch.setattr(process, "_open_memory", lambda: None)
    text = b"x" * 300_000 + b"the end"
    code = "import os\nfor _ in '12':\n os.lseek(0, 0, 0)\n total = 0\n" + (
        " while chunk := os.read(0, 65536): total += len(chunk)\n print(total, flush=True)\n"
    )

    end = run(python_bot(tmp_path, code), text, input_is_file=True)

    assert end.stdout.text().split() == [str(len(text))] * 2


def test_a_flood_does_not_keep_the_deadline_from_coming(tmp_path: Path):
    end = run(shell_bot(tmp_path, "exec yes"), timeout_seconds=0.3)

    assert end.timed_out
    assert end.seconds < SOON_SECONDS


def test_a_program_that_waits_for_ever_is_ended_at_its_deadline_by_term(tmp_path: Path):
    end = run(shell_bot(tmp_path, "exec sleep 600"), timeout_seconds=0.2)

    assert (end.returncode, end.timed_out) == (-signal.SIGTERM, True)
    assert 0.2 <= end.seconds < SOON_SECONDS


def test_a_program_that_ignores_term_is_killed_soon_after(tmp_path: Path):
    bot = shell_bot(tmp_path, "trap '' TERM; echo ignoring; while :; do sleep 0.05; done")

    end = run(bot, timeout_seconds=2.0)

    assert end.output == "ignoring"
    assert (end.returncode, end.timed_out) == (-signal.SIGKILL, True)
    assert end.seconds < SOON_SECONDS


def test_a_program_may_clean_up_when_its_time_is_over(tmp_path: Path):
    bot = shell_bot(tmp_path, "trap 'echo cleaned up; exit 3' TERM; while :; do sleep 0.05; done")

    end = run(bot, timeout_seconds=2.0)

    assert (end.returncode, end.timed_out) == (3, True)
    assert end.output.startswith("cleaned up")


def test_the_deadline_ends_the_children_of_the_program_too(tmp_path: Path):
    lock = tmp_path / "lock"
    bot = python_bot(
        tmp_path,
        (
            "import subprocess, sys, time\n"
            f"child = subprocess.Popen([sys.executable, '-IS', '-c', {STAYS!r}, {str(lock)!r}],\n"
            "                         stdout=subprocess.PIPE)\n"
            "child.stdout.readline()\n"
            "print('child holds'); sys.stdout.flush()\n"
            "time.sleep(600)\n"
        ),
    )

    end = run(bot, timeout_seconds=5.0)

    assert (end.timed_out, end.output) == (True, "child holds")
    assert is_let_go(lock)


def test_a_child_that_ignores_term_goes_with_a_program_that_does_not(tmp_path: Path):
    lock = tmp_path / "lock"
    stays = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
    bot = python_bot(
        tmp_path,
        (
            "import subprocess, sys, time\n"
            f"child = subprocess.Popen([sys.executable, '-IS', '-c', {stays!r}, {str(lock)!r}],\n"
            "                         stdout=subprocess.PIPE)\n"
            "child.stdout.readline()\n"
            "print('child holds'); sys.stdout.flush()\n"
            "time.sleep(600)\n"
        ),
    )

    end = run(bot, timeout_seconds=5.0)

    assert (end.returncode, end.output) == (-signal.SIGTERM, "child holds")
    assert is_let_go(lock)


def test_a_child_that_keeps_the_pipes_does_not_keep_the_caller(tmp_path: Path):
    end = run(shell_bot(tmp_path, "sleep 120 & echo done; exit 0"))

    assert (end.returncode, end.timed_out, end.output) == (0, False, "done")
    assert end.seconds < SOON_SECONDS


def test_children_that_flood_the_pipes_after_the_program_ended_do_not_keep_the_caller(tmp_path: Path):
    end = run(shell_bot(tmp_path, "yes & yes & yes & yes >&2 & echo done; exit 0"))

    assert (end.returncode, end.timed_out) == (0, False)
    assert end.seconds < AMPLE_SECONDS


def test_children_that_write_faster_than_anyone_reads_do_not_keep_the_caller(tmp_path: Path, monkeypatch):
    """Given a pipe that always has more, which two processors rarely show and sixteen often would."""
    read, ends = os.read, time.monotonic() + SOON_SECONDS

    def endless(descriptor: int, size: int) -> bytes:
        if size != CHUNK_BYTES:
            return read(descriptor, size)
        assert time.monotonic() < ends, "it reads on and on"
        return b"y" * size

    monkeypatch.setattr(os, "read", endless)

    end = run(shell_bot(tmp_path, "echo done; exit 0"))

    assert end.returncode == 0


def test_what_was_printed_last_is_kept_although_the_program_is_gone(tmp_path: Path):
    end = run(python_bot(tmp_path, "import os\nos.write(1, b'a' * 60000 + b'the end')"))

    assert end.output.endswith("the end")


def test_output_that_is_no_text_is_kept_as_far_as_it_is(tmp_path: Path):
    code = "import os\nos.write(1, b'\\xff\\xfe ok \\x00\\xc3')\nos.write(2, bytes(range(128, 256)))"

    end = run(python_bot(tmp_path, code))

    assert end.output.startswith("\ufffd\ufffd ok \x00\ufffd\n")
    end.output.encode("utf-8")  # it can be stored


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_program_that_dies_of_a_signal_says_so_and_did_not_time_out(tmp_path: Path, number: int):
    end = run(python_bot(tmp_path, f"import os\nos.kill(os.getpid(), {int(number)})"))

    assert (end.returncode, end.timed_out) == (-number, False)


def test_a_program_that_cannot_be_started_raises(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "nothing")


class Enough(Exception):
    pass


def test_what_the_tick_raises_ends_the_program_and_is_passed_on(tmp_path: Path):
    lock = tmp_path / "lock"

    def tick() -> None:
        if (tmp_path / "ready").exists():
            raise Enough

    bot = python_bot(
        tmp_path,
        f"import sys\nsys.argv[1:] = [{str(lock)!r}]\n"
        + STAYS.replace(
            "time.sleep(600)",
            f"open({str(tmp_path / 'ready')!r}, 'w').close()\ntime.sleep(600)",
        ),
    )

    with pytest.raises(Enough):
        run(bot, tick=tick)

    assert is_let_go(lock)


def test_the_tick_comes_often_enough_for_a_heartbeat_and_not_all_the_time(tmp_path: Path):
    ticks: list[float] = []

    run(shell_bot(tmp_path, "exec sleep 600"), timeout_seconds=1.2, tick=lambda: ticks.append(time.monotonic()))

    assert 1 <= len(ticks) <= 6


def test_the_program_runs_in_the_folder_it_is_given(tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    end = run_process([sys.executable, "-IS", "-c", "import os; print(os.getcwd())"], b"", folder, AMPLE_SECONDS)

    assert end.output == str(folder)


def test_many_runs_leave_no_descriptor_open(tmp_path: Path):
    bot = shell_bot(tmp_path, "exit 0")
    run(bot)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        run(bot, b"x" * 100_000)

    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # fewer when another test's garbage went meanwhile


def test_the_output_is_not_shown_in_the_repr(tmp_path: Path):
    assert "private words" not in repr(run(shell_bot(tmp_path, "echo private words")))


def ended(returncode: int = 0, stdout: bytes = b"", stderr: bytes = b"", timed_out: bool = False) -> ProcessEnd:
    outputs = CapturedOutput(), CapturedOutput()
    for output, content in zip(outputs, (stdout, stderr)):
        output.add(content)
    return ProcessEnd(returncode, timed_out, 1.5, *outputs)


def test_the_result_of_a_run_has_the_exit_code_and_what_was_printed():
    result = ended(1, b"said\n", b"logged\n").result(60)

    assert (result.end, result.exit_code, result.seconds) == (End.EXITED, 1, 1.5)
    assert result.output == "said\nlogged"
    assert result.answer == b"said\n"


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (35, "signal 35")])
def test_the_result_of_a_killed_program_names_the_signal(number: int, name: str):
    result = ended(-number).result(60)

    assert (result.end, result.cause, result.exit_code) == (End.DIED, f"killed by {name}", -number)


def test_the_result_of_a_program_that_was_ended_is_its_time():
    assert ended(-15, b"half", timed_out=True).result(60) == ran_too_long(60, 1.5, "half", exit_code=-15)


def test_output_that_was_cut_is_no_answer():
    assert ended(0, b"x" * (HEAD_BYTES + 1)).result(60).answer == b""
