"""The pool's lock: one holder, known by its pid, and free again the moment that process is dead."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from scalable.lib.errors import AlreadyRunning, ConfigurationError
from scalable.lib.pool.pool_lock import Holder, PoolLock

ROOT = Path(__file__).resolve().parents[2]
# Takes the lock, optionally starts a child that would inherit every inheritable descriptor, and tells both pids.
HOLD = """
import os, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scalable.lib.pool.pool_lock import PoolLock
lock = PoolLock(Path(sys.argv[2]))
lock.take()
child = None
if sys.argv[3] == "with child":
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=0, close_fds=False)
print(os.getpid(), child.pid if child else 0, flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path, kind: str = "alone") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock, and the pid of its child; both end with the block, by their closed input."""
    command = [sys.executable, "-c", HOLD, str(ROOT), str(path), kind]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        pid, child = process.stdout.readline().split()
        assert int(pid) == process.pid
        yield process, int(child)


def test_the_second_taker_learns_the_pid_of_the_first(tmp_path: Path):
    with holder(tmp_path / "lock") as (process, _):
        with pytest.raises(AlreadyRunning, match=rf"running already \(pid {process.pid}\)") as caught:
            PoolLock(tmp_path / "lock").take()

        assert caught.value.pid == process.pid


def test_the_second_taker_does_not_disturb_the_first(tmp_path: Path):
    with holder(tmp_path / "lock") as (process, _):
        for _ in range(2):
            with pytest.raises(AlreadyRunning) as caught:
                PoolLock(tmp_path / "lock").take()
            assert caught.value.pid == process.pid


def test_two_locks_of_one_process_exclude_each_other_too(tmp_path: Path):
    first = PoolLock(tmp_path / "lock")
    first.take()

    with pytest.raises(AlreadyRunning) as caught:
        PoolLock(tmp_path / "lock").take()

    assert caught.value.pid == os.getpid()


def test_the_lock_is_free_when_its_holder_was_killed(tmp_path: Path):
    with holder(tmp_path / "lock") as (process, _):
        process.kill()
        process.wait(timeout=60)

        PoolLock(tmp_path / "lock").take()

    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"


def test_a_child_of_the_holder_does_not_keep_the_lock(tmp_path: Path):
    with holder(tmp_path / "lock", "with child") as (process, child):
        process.kill()
        process.wait(timeout=60)
        os.kill(child, 0)  # it still lives: raises when it does not

        PoolLock(tmp_path / "lock").take()


@pytest.mark.parametrize("content", ["", "999999999999\n", "not a pid\n", "7\n" * 100])
def test_what_an_earlier_holder_left_in_the_file_does_not_matter(tmp_path: Path, content: str):
    (tmp_path / "lock").write_text(content)

    lock = PoolLock(tmp_path / "lock")
    lock.take()

    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"


def test_a_holder_that_has_not_written_its_pid_yet_is_unknown_but_holds(tmp_path: Path):
    first = PoolLock(tmp_path / "lock")
    first.take()
    (tmp_path / "lock").write_text("")

    with pytest.raises(AlreadyRunning, match="pid unknown") as caught:
        PoolLock(tmp_path / "lock").take()

    assert caught.value.pid is None


@pytest.mark.parametrize("name", [".", "missing/lock"])
def test_a_lock_that_cannot_be_opened_is_a_readable_problem(tmp_path: Path, name: str):
    with pytest.raises(ConfigurationError, match="the pool's lock cannot be opened"):
        PoolLock(tmp_path / name).take()


def test_the_lock_file_is_private(tmp_path: Path):
    lock = PoolLock(tmp_path / "lock")
    lock.take()

    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0


def test_asking_gives_the_holder_or_says_that_the_lock_is_free(tmp_path: Path):
    path = tmp_path / "lock"
    assert PoolLock(path).holder() is None
    with holder(path) as (process, _):
        assert PoolLock(path).holder() == Holder(process.pid, socket.gethostname())
        assert PoolLock(path).holder().is_here

    assert PoolLock(path).holder() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4711\n", Holder(4711, None)),
        ("", Holder(None, None)),
        ("4711 elsewhere\n", Holder(4711, "elsewhere")),
        ("rubbish \xff", Holder(None, "\xff")),
    ],
)
def test_a_note_that_names_no_process_of_this_machine_is_not_taken_for_one(tmp_path: Path, text: str, expected: Holder):
    path = tmp_path / "lock"
    with holder(path):
        path.write_text(text)

        found = PoolLock(path).holder()

    assert found == expected
    assert not expected.is_here


def test_asking_for_the_holder_keeps_no_pool_from_starting(tmp_path: Path):
    """Given a process that asks for the holder, and so shares the lock, when a pool starts."""
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert PoolLock(tmp_path / "lock").holder() is None  # one more that asks
    ends = threading.Timer(0.02, os.close, [descriptor])
    ends.start()

    PoolLock(tmp_path / "lock").take()

    ends.join(60)
    assert PoolLock(tmp_path / "lock").holder() is not None
