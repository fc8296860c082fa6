"""A worker as its pool sees it: ended only when its bot is, too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.pool.worker_process import WorkerProcess
from scalable.lib.worker.wakeup import WakeupPipe
from tests.support.generators.bots import is_let_go
from tests.support.generators.reaped_bots import family_bot
from tests.support.places import REPOSITORY
from tests.support.waiting import eventually

# Takes the options the pool gives, runs one bot under a process reaper, and says when the bot is there.
SCRIPT = """
import argparse, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.process_reaper import ProcessReaper
parser = argparse.ArgumentParser()
for name in ("--name", "--pool-pid", "--lifeline", "--bell"):
    parser.add_argument(name)
options = parser.parse_args()
CliRunner(Path({bot!r}), 600, reaper=ProcessReaper(int(options.lifeline))).run("{{}}")
"""


@pytest.fixture
def wakeup_pipe() -> Iterator[WakeupPipe]:
    wakeup_pipe = WakeupPipe(1)
    yield wakeup_pipe
    wakeup_pipe.close()


def worker_script(folder: Path, text: str) -> str:
    script = folder / "worker.py"
    script.write_text(text)
    return str(script)


def test_a_killed_worker_has_ended_only_when_its_bot_and_the_children_of_that_have(
    tmp_path: Path, wakeup_pipe: WakeupPipe
):
    bot, locks = family_bot(tmp_path)
    script = SCRIPT.format(root=str(REPOSITORY), bot=str(bot))
    worker = WorkerProcess(worker_script(tmp_path, script), "worker-1", wakeup_pipe.reader)
    eventually(lambda: all(lock.exists() for lock in locks))
    eventually(lambda: not any(is_let_go(lock, 0) for lock in locks))

    worker.send_signal(signal.SIGKILL)
    eventually(lambda: worker.poll() is not None)

    assert worker.poll() == -signal.SIGKILL
    assert all(is_let_go(lock, 0) for lock in locks)


@pytest.mark.parametrize("code", [0, 2])
def test_one_that_ends_by_itself_tells_its_exit_code(tmp_path: Path, wakeup_pipe: WakeupPipe, code: int):
    worker = WorkerProcess(worker_script(tmp_path, f"import sys; sys.exit({code})"), "worker-1", wakeup_pipe.reader)

    eventually(lambda: worker.poll() is not None)

    assert worker.poll() == code


def test_it_inherits_wakeup_pipe_and_lifeline_and_nothing_else(tmp_path: Path, wakeup_pipe: WakeupPipe):
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    text = f"import os\nopen({str(tmp_path / 'open')!r}, 'w').write(' '.join(os.listdir('/proc/self/fd')))"
    worker = WorkerProcess(worker_script(tmp_path, text), "worker-1", wakeup_pipe.reader)
    eventually(lambda: worker.poll() is not None)
    os.close(secret)

    descriptors = {int(name) for name in (tmp_path / "open").read_text().split()}

    assert wakeup_pipe.reader in descriptors
    assert secret not in descriptors
    assert len(descriptors) <= 3 + 2 + 2  # the standard ones, those two, the file and the listing itself


def test_workers_that_come_and_go_leave_no_descriptor_open(tmp_path: Path, wakeup_pipe: WakeupPipe):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        worker = WorkerProcess(worker_script(tmp_path, ""), "worker-1", wakeup_pipe.reader)
        eventually(lambda worker=worker: worker.poll() is not None)

    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_cannot_be_started_leaves_no_descriptor_open(wakeup_pipe: WakeupPipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python3")
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(OSError, match="nowhere"):
        WorkerProcess("worker.py", "worker-1", wakeup_pipe.reader)

    assert len(os.listdir("/proc/self/fd")) == before
