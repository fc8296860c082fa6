"""A drain as its starter sees it: a process on its own, which tells in a pipe how many updates it has run so far."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Optional

from scalable.lib.host_limits import within_limits

# From the end of its pipe to the end of the process.
END_SECONDS = 5.0


@dataclass(frozen=True)
class Drained:
    """What a drain has done: runs of the bot, and how many succeeded. `exit_code` is None while it goes on."""

    runs: int
    succeeded: int
    exit_code: Optional[int]


class StartedDrain:
    """Started with the first words of `command`; it inherits `lock` and the pipe, and no other descriptor of ours.

    Raises NoProcessLeft or OSError when it cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], lock: int, output: IO[bytes]) -> None:
        with within_limits():
            self._reports, theirs = os.pipe()
        try:
            with within_limits():
                self._process = subprocess.Popen(
                    [*command, "--flight", str(lock), "--report", str(theirs)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    env=environment,
                    start_new_session=True,
                    pass_fds=[lock, theirs],
                )
        except BaseException:
            os.close(self._reports)
            raise
        finally:
            os.close(theirs)

    def wait(self, seconds: float) -> Drained:
        """What it has done at its end, or after `seconds`."""
        ends = time.monotonic() + seconds
        said = b""
        while select.select([self._reports], [], [], max(0.0, ends - time.monotonic()))[0]:
            chunk = os.read(self._reports, 65536)
            if not chunk:
                return _drained(said, self._exit_code())
            said = (said + chunk)[-100:]
        return _drained(said, None)

    def _exit_code(self) -> Optional[int]:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_SECONDS)
        return None

    def let_go(self) -> None:
        """Nobody waits for it any more. In a server that goes on it is taken note of when it ends, or it would stay a
        zombie; where no thread can be started for that, until the next drain is started."""
        os.close(self._reports)
        if self._process.poll() is None:
            with contextlib.suppress(RuntimeError):
                threading.Thread(target=self._process.wait, name="drain", daemon=True).start()


def write_report(descriptor: int, runs: int, succeeded: int) -> None:
    """Tell the starter, if it still listens. Never waits: a report is replaced by the next one anyhow."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(descriptor, f"{runs} {succeeded}\n".encode("ascii"))


def _drained(said: bytes, exit_code: Optional[int]) -> Drained:
    """From the last whole line of the reports."""
    lines = said.split(b"\n")[:-1]
    runs, succeeded = map(int, lines[-1].split()) if lines else (0, 0)
    return Drained(runs, succeeded, exit_code)
