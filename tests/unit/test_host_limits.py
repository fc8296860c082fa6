"""A host's limits on processes and threads: told apart from a bot that cannot be started."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from scalable.lib.errors import ExitCode, NoProcessLeft
from scalable.lib.host_limits import within_limits
from scalable.lib.runners.python.runner import PythonRunner
from tests.support.generators.bots import outcome_of


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_a_limit_of_the_host_is_told_with_what_to_do(number: int):
    with pytest.raises(NoProcessLeft, match="lower BOT_WORKER_POOL_SIZE") as caught, within_limits():
        raise OSError(number, "no more")

    assert caught.value.exit_code is ExitCode.NO_PROCESS_LEFT


def test_a_thread_that_may_not_be_started_is_the_same():
    with pytest.raises(NoProcessLeft), within_limits():
        raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("error", [OSError(errno.ENOEXEC, "no program"), RuntimeError("something else"), ValueError()])
def test_every_other_error_passes(error: Exception):
    with pytest.raises(type(error)) as caught, within_limits():
        raise error

    assert caught.value is error


def test_a_python_bot_without_its_thread_passes_it_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bot.py").write_text("def handle(update): pass")
    runner = PythonRunner(tmp_path / "bot.py", "handle", 60)

    def refuse_thread(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse_thread)

    with pytest.raises(NoProcessLeft):
        outcome_of(runner)
