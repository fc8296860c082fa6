"""The guard, with real processes: what a killed worker leaves behind dies, and nothing else does."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.process import run_process
from scalable.lib.runners.process_reaper import SCRIPT, ProcessReaper
from tests.support.generators.bots import is_held, is_let_go, outcome_of, shell_bot
from tests.support.generators.reaped_bots import (
    GuardedWorker,
    family_bot,
    guard_of,
    guards_of,
    ignores,
    is_guard,
    state,
)
from tests.support.need import need
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Well before a lease is over and others run the jobs; a guard that does nothing is never done.
SOON_SECONDS = 30.0


@pytest.fixture
def reaper() -> Iterator[ProcessReaper]:
    reaper = ProcessReaper()
    yield reaper
    reaper.close()


@pytest.fixture
def groups() -> Iterator[list[subprocess.Popen]]:
    """Three processes that stay, each the leader of a group."""
    groups = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
    yield groups
    for process in groups:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)


def is_killed(process: subprocess.Popen) -> bool:
    return process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGKILL


def my_guard() -> int:
    return guard_of(os.getpid())


# --- a worker that is killed ---


def test_everything_of_a_bot_dies_soon_after_its_worker_and_the_lifeline_ends_after_that(tmp_path: Path):
    bot, locks = family_bot(tmp_path)
    with GuardedWorker(tmp_path, [bot]) as worker:
        assert all(is_held(lock) for lock in locks)
        worker.find_guard()
        assert not worker.lifeline_ended(within_seconds=0)

        worker.kill()

        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        assert [is_let_go(lock, within_seconds=0) for lock in locks] == [True, True, True]


def test_the_bots_of_four_threads_die_with_their_worker_by_one_guard(tmp_path: Path):
    families = [family_bot(tmp_path, f"bot-{number}") for number in range(4)]
    with GuardedWorker(tmp_path, [bot for bot, _ in families]) as worker:
        locks = [lock for _, locks in families for lock in locks]
        assert all(is_held(lock) for lock in locks)
        worker.find_guard()  # exactly one

        worker.kill()

        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        assert all(is_let_go(lock, within_seconds=0) for lock in locks)


def test_the_lifeline_holds_until_a_guard_that_is_late_has_done_its_work(tmp_path: Path):
    bot, locks = family_bot(tmp_path)
    with GuardedWorker(tmp_path, [bot]) as worker:
        assert all(is_held(lock) for lock in locks)
        reaper = worker.find_guard()
        os.kill(reaper, signal.SIGSTOP)
        eventually(lambda: state(reaper) == "T")

        worker.kill()
        assert not worker.lifeline_ended(within_seconds=0)
        assert is_held(locks[0])
        os.kill(reaper, signal.SIGCONT)

        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        assert all(is_let_go(lock, within_seconds=0) for lock in locks)


def test_the_lifeline_holds_when_only_the_guard_is_killed(tmp_path: Path):
    bot, locks = family_bot(tmp_path)
    with GuardedWorker(tmp_path, [bot]) as worker:
        assert is_held(locks[0])
        reaper = worker.find_guard()

        os.kill(reaper, signal.SIGKILL)
        eventually(lambda: state(reaper) in "Z-")

        assert not worker.lifeline_ended(within_seconds=0)
        assert is_held(locks[0])


def test_when_both_are_killed_the_lifeline_ends_although_the_bot_lives(tmp_path: Path):
    """Nobody is left to end the bot; the pool at least does not wait for ever."""
    bot, locks = family_bot(tmp_path)
    with GuardedWorker(tmp_path, [bot]) as worker:
        assert is_held(locks[0])

        os.kill(worker.find_guard(), signal.SIGKILL)
        worker.kill()

        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        assert is_held(locks[0])


def test_ctrl_c_in_the_terminal_reaches_the_worker_and_not_its_guard(tmp_path: Path):
    bot, locks = family_bot(tmp_path)
    controller, terminal = pty.openpty()
    with GuardedWorker(tmp_path, [bot], os.ttyname(terminal)) as worker:
        assert all(is_held(lock) for lock in locks)
        reaper = worker.find_guard()

        os.write(controller, b"\x03")
        eventually(worker.interrupted.exists)

        assert is_guard(reaper)
        assert os.getsid(reaper) == reaper
        worker.kill()
        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        assert all(is_let_go(lock, within_seconds=0) for lock in locks)
    os.close(controller)
    os.close(terminal)


def test_a_worker_that_ends_by_itself_leaves_no_guard_behind(tmp_path: Path):
    """Although it did not close it."""
    with GuardedWorker(tmp_path, [shell_bot(tmp_path, "until [ -e go ]; do sleep 0.01; done")]) as worker:
        reaper = worker.find_guard()
        (tmp_path / "go").touch()

        assert worker.process.wait(timeout=60) == 0

        assert worker.lifeline_ended(within_seconds=SOON_SECONDS)
        eventually(lambda: not is_guard(reaper))


# --- the guard itself ---


def test_closing_ends_what_is_watched_and_leaves_what_was_forgotten(
    reaper: ProcessReaper, groups: list[subprocess.Popen]
):
    first, second, third = groups
    for process in groups:
        reaper.add(process.pid)
    reaper.remove(second.pid)

    reaper.close()

    assert is_killed(first)
    assert is_killed(third)
    assert second.poll() is None
    assert guards_of(os.getpid()) == []


def test_there_is_no_guard_before_there_is_something_to_watch(reaper: ProcessReaper, groups: list[subprocess.Popen]):
    assert guards_of(os.getpid()) == []
    reaper.add(groups[0].pid)
    reaper.add(groups[1].pid)
    assert my_guard()


def test_a_guard_that_was_closed_starts_anew(reaper: ProcessReaper, groups: list[subprocess.Popen]):
    reaper.add(groups[0].pid)
    reaper.close()
    reaper.close()
    reaper.add(groups[1].pid)
    reaper.close()

    assert is_killed(groups[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_wish_to_end_is_not_for_the_guard(
    reaper: ProcessReaper, groups: list[subprocess.Popen], number: signal.Signals
):
    reaper.add(groups[0].pid)
    pid = my_guard()
    eventually(lambda: ignores(pid, number))

    os.kill(pid, number)

    reaper.add(groups[1].pid)
    assert my_guard() == pid
    reaper.close()
    assert is_killed(groups[0])
    assert is_killed(groups[1])


def test_a_guard_that_was_killed_is_replaced_and_told_of_all_groups(
    reaper: ProcessReaper, groups: list[subprocess.Popen], caplog: pytest.LogCaptureFixture
):
    reaper.add(groups[0].pid)
    killed = my_guard()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: state(killed) == "Z")

    reaper.add(groups[1].pid)

    eventually(lambda: guards_of(os.getpid()) not in ([], [killed]))
    assert 'guard replaced cause="Broken pipe"' in caplog.text
    reaper.close()
    assert is_killed(groups[0])
    assert is_killed(groups[1])


def test_a_guard_that_does_not_listen_is_replaced_and_kills_nobody(
    reaper: ProcessReaper, groups: list[subprocess.Popen]
):
    """Given a guard that is stopped: no call waits for it, and when it goes it must not take the bots with it."""
    reaper.add(groups[0].pid)
    stopped = my_guard()
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: state(stopped) == "T")
    longest = calls = 0.0

    while guards_of(os.getpid()) == [stopped]:
        for _ in range(1000):
            began = time.monotonic()
            reaper.add(groups[1].pid)
            reaper.remove(groups[1].pid)
            longest = max(longest, time.monotonic() - began)
        calls += 1000
        assert calls < 100_000, "it was never replaced"

    assert longest < SOON_SECONDS
    assert [process.poll() for process in groups] == [None, None, None]
    reaper.close()
    assert is_killed(groups[0])
    assert groups[1].poll() is None


def test_without_a_shell_bots_run_all_the_same_and_one_line_tells(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    reaper = ProcessReaper(shell="/no/such/shell")
    bot = shell_bot(tmp_path, "exit 7")

    ends = [run_process([str(bot)], b"", tmp_path, 30, reaper=reaper) for _ in range(2)]

    assert [end.returncode for end in ends] == [7, 7]
    assert caplog.text.count("guard not started: bots outlive a worker that is killed") == 1


@pytest.mark.parametrize("group", [1, 0, -1, -5])
def test_a_number_that_means_everybody_is_no_group(reaper: ProcessReaper, group: int):
    with pytest.raises(ValueError, match=f"process group {group}: expected the id of a child's group"):
        reaper.add(group)


def test_a_lifeline_that_is_not_open_is_told_at_once():
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)

    with pytest.raises(OSError, match="Bad file descriptor"):
        ProcessReaper(write_end)


def test_the_guard_holds_nothing_but_its_pipe_and_the_lifeline(groups: list[subprocess.Popen]):
    """Neither another open file, nor the passwords in the worker's environment."""
    lifeline, inherited = os.pipe()
    reaper = ProcessReaper(inherited)
    reaper.add(groups[0].pid)

    folder = Path(f"/proc/{my_guard()}")
    eventually(lambda: len(list((folder / "fd").iterdir())) <= 4 and folder.joinpath("environ").read_bytes())
    held = {os.readlink(entry) for entry in (folder / "fd").iterdir()} - {"/dev/null"}
    assert os.readlink(f"/proc/self/fd/{inherited}") in held
    assert len(held) == 2
    assert folder.joinpath("environ").read_bytes() == b"PATH=/usr/bin:/bin\0"
    reaper.close()
    os.close(lifeline)
    os.close(inherited)


# --- runs ---


class WatchedGuard(ProcessReaper):
    """Writes down how the leader of a group was when the group was forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[str] = []

    def remove(self, group: int) -> None:
        self.states.append(state(group))
        super().remove(group)


class Enough(Exception):
    pass


def test_a_group_is_forgotten_while_its_dead_leader_still_keeps_the_id(tmp_path: Path):
    reaper = WatchedGuard()
    stays = shell_bot(tmp_path, "exec sleep 600", "stays")

    def enough() -> None:
        raise Enough

    run_process([str(shell_bot(tmp_path, "exit 0"))], b"", tmp_path, 30, reaper=reaper)
    run_process([str(stays)], b"", tmp_path, 0.2, reaper=reaper)
    with pytest.raises(Enough):
        run_process([str(stays)], b"", tmp_path, 30, enough, reaper=reaper)

    assert reaper.states == ["Z", "Z", "Z"]
    reaper.close()


def test_a_bot_holds_neither_the_guards_pipe_nor_the_lifeline(tmp_path: Path):
    lifeline, inherited = os.pipe()
    os.set_inheritable(inherited, True)  # as the pool left it
    reaper = ProcessReaper(inherited)

    end = run_process([str(shell_bot(tmp_path, "ls -l /proc/$$/fd"))], b"", tmp_path, 30, reaper=reaper)

    pipes = [line for line in end.output.splitlines() if "pipe:" in line]
    assert len(pipes) == 3, end.output  # its own input and outputs
    reaper.close()
    os.close(lifeline)
    os.close(inherited)


def test_four_threads_share_one_guard(tmp_path: Path, groups: list[subprocess.Popen]):
    reaper = ProcessReaper()
    reaper.add(groups[0].pid)
    bot = shell_bot(tmp_path, "read -r update; echo $update")
    outputs: list[str] = []

    def work(number: int) -> None:
        for _ in range(50):
            outputs.append(run_process([str(bot)], f"{number}\n".encode(), tmp_path, 60, reaper=reaper).output)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert sorted(outputs) == sorted("0123" * 50)
    assert my_guard()
    reaper.close()
    assert is_killed(groups[0])


def test_many_guarded_runs_leave_no_descriptor_open(tmp_path: Path, reaper: ProcessReaper):
    runner = CliRunner(shell_bot(tmp_path, "exit 0"), 30, reaper=reaper)
    assert outcome_of(runner).succeeded
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        outcome_of(runner)

    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # fewer when another test's garbage went meanwhile


# --- the script, in every shell that may be somebody's /bin/sh ---

SHELLS = (
    ["dash"],
    ["bash"],
    ["bash", "--posix"],
    ["busybox", "sh"],
    ["mksh"],
    ["yash"],
    ["ksh93"],
    ["zsh", "--emulate", "sh"],
)
USUAL = ("dash", "bash", "busybox")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_script_kills_what_is_listed_at_the_end_in_any_shell(shell: list[str]):
    """Numbers that begin or end alike are different groups, and half a line is no line."""
    _need_shell(shell[0])
    told = "+12\n+123\n+3\n+23\n+1234\n-123\n-3\n+4\n+99"

    done = subprocess.run(
        [*shell, "-c", 'kill() { echo "$*"; [ "$1" != -0 ]; }\n' + SCRIPT],
        input=told,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    groups = ("12", "23", "1234", "4")
    assert done.stdout.split("\n")[:-1] == [f"-KILL -{id}" for id in groups] + [f"-0 -{id}" for id in groups]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_script_kills_a_real_group_in_any_shell(shell: list[str], groups: list[subprocess.Popen]):
    _need_shell(shell[0])
    first, second, third = (process.pid for process in groups)

    subprocess.run(
        [*shell, "-c", SCRIPT],
        input=f"+{first}\n+{second}\n+{third}\n-{second}\n",
        text=True,
        timeout=60,
        check=True,
        capture_output=True,
    )

    assert is_killed(groups[0])
    assert is_killed(groups[2])
    assert groups[1].poll() is None


def _need_shell(name: str) -> None:
    missing = f"{name} is not installed" if shutil.which(name) is None else None
    if name in USUAL:
        need(missing)
    elif missing:
        pytest.skip(missing)
