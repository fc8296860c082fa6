"""StopSignal in a real process whose starter ignores its children."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.support.places import REPOSITORY


def test_the_exit_codes_of_bots_arrive_although_the_starter_ignored_its_children():
    """Given a parent that does not want to hear of its children; a program inherits that (signal(7))."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from scalable.lib.runners.process import run_process\n"
        "from scalable.lib.stop_signal import StopSignal\n"
        "from pathlib import Path\n"
        "StopSignal().listen()\n"
        "print(run_process(['/bin/sh', '-c', 'exit 3'], b'', Path('/'), 30).returncode)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(REPOSITORY)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )

    assert (done.stdout, done.stderr) == ("3\n", "")
