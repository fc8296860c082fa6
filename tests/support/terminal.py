"""What a person's terminal gets of a command: the command runs on a pseudo-terminal of its own."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def seen_in_a_terminal(command: Sequence[str], environment: dict[str, str], folder: Path) -> str:
    """All that `command` writes until it ends, standard output and error, with the terminal's own `\\r\\n` as `\\n`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
    os.close(theirs)
    seen = b""
    with suppress(OSError):  # EIO: nobody has the other end any more
        while chunk := os.read(ours, 65536):
            seen += chunk
    os.close(ours)
    process.wait(60)
    return seen.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
