"""Child processes that never outlive the tests, and the few things every server in the tests needs.

Knows nothing about what the children are: databases and web servers use it alike. Processes are ended by their id only.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.waiting import PATIENCE_SECONDS

POLL_SECONDS = 0.02
FREEZE_TIMEOUT_SECONDS = PATIENCE_SECONDS
PORTS = (10_000, 32_000)
# Not the chance of the tests, which each process of pytest may begin at the same number.
_CHANCE = random.SystemRandom()


class DidNotStart(RuntimeError):
    """A server ended, or did not answer in time; the message carries the last lines of its log."""


class DidNotStop(RuntimeError):
    """A process went on after SIGSTOP; the message carries the states of its threads."""


class Child:
    """One program that can be started, stopped and started again, always the leader of its own process group.

    `death_signal` is what it gets when this process dies, however it dies (prctl(2), PR_SET_PDEATHSIG). The kernel
    sends it when the *thread* that made the child ends, so all starts happen in one thread that lives as long as this
    object: a test may call `start` from a thread of its own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        death_signal: str = "KILL",
    ) -> None:
        self._command = ["setpriv", "--pdeathsig", death_signal, "--", *command]
        self._log = log
        self._environment = environment
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")
        self._process: subprocess.Popen[bytes] | None = None
        self._has_group = False  # false once all of the group got SIGKILL: its id may belong to somebody else by now

    @property
    def pid(self) -> int:
        """Process id of the running, or last running, program. Raises RuntimeError before the first start."""
        if self._process is None:
            raise RuntimeError(f"{self._command[4]}: not started yet")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the program that ended, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def is_running(self) -> bool:
        """True while the program has not ended; a stopped (SIGSTOP) one is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the program, its output appended to the log. Raises RuntimeError when it is running already."""
        if self.is_running():
            raise RuntimeError(f"{self._command[4]} pid={self.pid}: running already")
        self.kill()  # what an earlier start left in its group
        self._process = self._starter.submit(self._spawn).result()
        self._has_group = True

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program itself; nothing happens when it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop the program in its tracks (SIGSTOP); returns once none of its threads can answer one more question.

        Raises DidNotStop when one still runs after PATIENCE_SECONDS, FileNotFoundError when the program has ended.
        """
        self.send(signal.SIGSTOP)
        deadline = time.monotonic() + FREEZE_TIMEOUT_SECONDS
        while set(states := _thread_states(self.pid)) - set("TtZX"):
            if time.monotonic() > deadline:
                raise DidNotStop(f"{self._command[4]}: threads are {''.join(states)} after SIGSTOP, expected T")
            time.sleep(POLL_SECONDS / 10)

    def kill(self) -> None:
        """End the program and all of its group with SIGKILL and wait for it; safe to repeat."""
        if self._process is None or not self._has_group:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=PATIENCE_SECONDS)
        self._has_group = False

    def stop(self, timeout_seconds: float = 20.0) -> None:
        """End the program in order (SIGTERM), and what is left of its group by SIGKILL; safe to repeat."""
        if self._process is None:
            return
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)  # a stopped process only sees SIGTERM once it goes on
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=timeout_seconds)
        self.kill()

    def close(self) -> None:
        """Stop the program and give up the starter thread; the object cannot start again."""
        self.stop()
        self._starter.shutdown()


def command_of(pid: int) -> str:
    """The command line of a process, its words apart by spaces; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _thread_states(pid: int) -> list[str]:
    """One letter of proc(5) for each thread of a process that exists."""
    states = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states


def wait_until_ready(
    child: Child, is_ready: Callable[[], bool], *, what: str, log: Path, timeout_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once `is_ready()` is true. Raises DidNotStart when the child ends or the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not is_ready():
        if not child.is_running():
            raise DidNotStart(f"{what} ended during its start; end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"{what} did not answer within {timeout_seconds} seconds; end of {log}:\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def tail(log: Path, lines: int = 25) -> str:
    """The last `lines` lines of a log file, or a note that there is none."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on right now, and that the system gives to no outgoing connection.

    Linux takes the ports of those from 32768 on (`net.ipv4.ip_local_port_range`): one of them could have the port
    before the server that it was chosen for.
    """
    while True:
        port = _CHANCE.randint(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def accepts_connections(port: int) -> bool:
    """True when something listens on this TCP port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
