"""A host that allows no more processes, for runners that start them."""

from __future__ import annotations

import errno
import gc
import subprocess
from pathlib import Path

import pytest

from scalable.lib.errors import NoProcessLeft
from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.resident_php import ResidentPhpCgi
from tests.support.generators.bots import outcome_of, shell_bot


def refuse(*_: object, **__: object) -> None:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def test_runners_that_start_a_process_pass_it_on_and_leave_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bot.php").write_text("<?php")
    resident = FastCgiRunner(tmp_path / "bot.php", 60, ResidentPhpCgi(tmp_path))
    assert outcome_of(resident).succeeded  # PHP was found, and every module is loaded
    resident.close()
    runners = [CliRunner(shell_bot(tmp_path, "exit 0"), 60), resident]
    gc.collect()  # what other tests left is closed now, and not in between
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(subprocess, "Popen", refuse)

    for runner in runners:
        with pytest.raises(NoProcessLeft):
            outcome_of(runner)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
