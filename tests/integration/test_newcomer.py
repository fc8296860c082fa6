"""What a newcomer does first: `make run`, the command it prints, a look at the dashboard, Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.generators.newcomer import LEFT_BEHIND
from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, free_port, tail
from tests.support.servers.site import wait_until


@pytest.mark.timeout(300)
def test_make_run_takes_the_printed_command_and_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    project, log, port = tmp_path / "project", tmp_path / "log", free_port()
    shutil.copytree(REPOSITORY, project, ignore=LEFT_BEHIND)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    pip_settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    make = Child(
        ["make", "-C", str(project), "run", f"LISTEN=127.0.0.1:{port}"],
        log=log,
        environment={**environment, **pip_settings},
    )
    make.start()
    try:
        wait_until(lambda: "Ctrl-C ends it." in log.read_text(), lambda: tail(log), timeout_seconds=240)
        printed = re.search(r"  Send an update:\n((?:  .*\\\n)*  .*\n)", log.read_text())
        assert printed is not None, tail(log)

        sent = subprocess.run(["bash", "-c", printed.group(1)], capture_output=True, text=True, timeout=30, check=True)

        assert '"queued_job_id": 1' in sent.stdout
        token = (project / ".cache" / "run" / ".ht-monitor-token").read_text().strip()
        owner = Visitor(f"http://127.0.0.1:{port}/scalable/dashboard.py").log_in(token)
        wait_until(lambda: '<span class="state done">' in owner.page(), lambda: tail(log))
        os.killpg(make.pid, signal.SIGINT)  # what a terminal does with Ctrl-C
        wait_until(lambda: not make.is_running(), lambda: tail(log))
        assert "pool stopped exit_code=0" in log.read_text()
        assert "Error" not in log.read_text()
    finally:
        make.close()


def test_make_help_lists_what_can_be_made() -> None:
    printed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=True)

    for target in ("run", "test", "lint", "help"):
        assert re.search(rf"^  make {target} +\S", printed.stdout, re.MULTILINE), printed.stdout
