"""One run of a program: its own process group, both pipes drained together, a deadline, a capped tail of its output.

Nothing the program does may hang the caller: flooding, never reading, ignoring TERM, leaving children with the pipes.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Optional

from scalable.lib.captured_output import CHUNK_BYTES, CapturedOutput
from scalable.lib.deadline import TICK_SECONDS
from scalable.lib.host_limits import within_limits
from scalable.lib.inherited_umask import inherited_umask
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.run_result import End, RunResult, ScriptEnd, joined, ran_too_long
from scalable.lib.runners.working_on import WHOLE_SECONDS, WorkingOn

# More than a pipe holds: what is still there after so many comes from children the program left, not from itself.
LAST_CHUNKS = 16
# Between TERM and KILL. Short: the bot has had its whole time already.
TERM_SECONDS = 2.0
CLOSED = -1


@dataclass(frozen=True)
class MayWorkOn:
    """A program may go on until `background_seconds` after its start, once it `has_answered` by what it printed.

    `warnings`: see WorkingOn.
    """

    background_seconds: float
    has_answered: Callable[[CapturedOutput], bool]
    warnings: Callable[[], str]


@dataclass(frozen=True)
class ProcessEnd:
    """`returncode` as subprocess has it: negative for a signal, and 0 while the program `works_on`."""

    returncode: int
    timed_out: bool
    seconds: float
    stdout: CapturedOutput = field(repr=False)
    stderr: CapturedOutput = field(repr=False)
    works_on: Optional[WorkingOn] = field(default=None, repr=False)

    @property
    def output(self) -> str:
        """The ends of both outputs as text, one after the other."""
        return joined((self.stdout.text(), self.stderr.text()))

    def result(self, timeout_seconds: float, report: Optional[ScriptEnd] = None) -> RunResult:
        """What it says of a run of the bot, of which the exit code tells how it went, and the `report` of PHP."""
        output = joined((self.output, report.logged if report else ""))
        if self.timed_out:
            return ran_too_long(timeout_seconds, self.seconds, output, exit_code=self.returncode)
        was_killed = self.returncode < 0
        return RunResult(
            End.DIED if was_killed else End.EXITED,
            self.seconds,
            f"killed by {signal_name(-self.returncode)}" if was_killed else "",
            exit_code=self.returncode,
            output=output,
            warnings=self.stderr.text(),
            report=report,
            works_on=self.works_on,
            answer=bytes(self.stdout.head) if self.stdout.is_whole else b"",
        )


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; `signal 35` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_process(
    command: Sequence[str],
    standard_input: bytes,
    folder: Path,
    timeout_seconds: float,
    tick: Callable[[], None] = lambda: None,
    environment: Optional[Mapping[str, str]] = None,
    reaper: Optional[ProcessReaper] = None,
    errors: Optional[CapturedOutput] = None,
    input_is_file: bool = False,
    may_work_on: Optional[MayWorkOn] = None,
) -> ProcessEnd:
    """Run `command` in `folder` with `standard_input` for at most `timeout_seconds`, or end its whole group then.

    `environment` None: this process's own. `tick` is called about twice a second; what it raises ends the program and
    is passed on. `reaper` ends the group when this process is killed meanwhile. `errors` takes what the program writes
    to standard error. `input_is_file`: its standard input can be read more than once. `may_work_on`: whether this may
    return before it ends. Raises OSError when the program cannot be started.
    """
    captured = CapturedOutput(), errors or CapturedOutput()
    run = _Run(command, standard_input, folder, timeout_seconds, environment, reaper, captured, input_is_file)
    works_on: Optional[WorkingOn] = None
    try:
        end = run.to_its_end(tick, may_work_on)
        works_on = end.works_on
        return end
    finally:
        if works_on is None:
            run.close()


class _Run:
    """Plain descriptors and poll(2): file objects and a selector cost as much as starting the program does."""

    def __init__(
        self,
        command: Sequence[str],
        standard_input: bytes,
        folder: Path,
        timeout_seconds: float,
        environment: Optional[Mapping[str, str]],
        reaper: Optional[ProcessReaper],
        captured: tuple[CapturedOutput, CapturedOutput],
        input_is_file: bool,
    ) -> None:
        self._started = time.monotonic()
        self._deadline = self._started + timeout_seconds
        self._unsent = memoryview(b"" if input_is_file else standard_input)
        self._has_ended = False
        self._pidfd: Optional[int] = None
        self._reaper = reaper
        with _as_file(standard_input) if input_is_file else contextlib.nullcontext() as file:
            self._process, self._stdin, *outputs = _start(command, folder, environment, file)
        self._outputs = captured
        self._captured = dict(zip(outputs, captured))
        self._open = [self._stdin, *outputs]
        self._poll = select.poll()

    def to_its_end(self, tick: Callable[[], None], may_work_on: Optional[MayWorkOn] = None) -> ProcessEnd:
        self._begin()
        if self._goes_on(self._deadline, tick, may_work_on) and may_work_on is not None:
            seconds = time.monotonic() - self._started
            timeout_seconds = self._deadline - self._started
            background_seconds, warnings = may_work_on.background_seconds, may_work_on.warnings
            works_on = _ProcessWorkingOn(self._started, timeout_seconds, background_seconds, warnings, self)
            return ProcessEnd(0, False, seconds, *self._outputs, works_on)
        timed_out = not self._is_over()
        self._end_group()
        self._serve_pipes(0)
        self._wait()
        seconds = time.monotonic() - self._started
        return ProcessEnd(self._process.returncode, timed_out, seconds, *self._outputs)

    def wait(self, deadline: float, tick: Callable[[], None]) -> bool:
        """Serve it until it ends, or until `deadline`; whether it has ended."""
        self._goes_on(deadline, tick)
        return self._is_over()

    def _goes_on(self, deadline: float, tick: Callable[[], None], may_work_on: Optional[MayWorkOn] = None) -> bool:
        """Serve it until it ends, until `deadline`, or until it has answered for a moment and goes on: then True."""
        longest_wait = TICK_SECONDS if self._pidfd is not None else 0.02
        tell_at = math.inf
        while not self._is_over():
            now = time.monotonic()
            if now >= min(deadline, tell_at):
                return now < deadline
            self._serve_pipes(min(deadline, tell_at, now + longest_wait) - now)
            tick()
            if may_work_on is not None and tell_at == math.inf and may_work_on.has_answered(self._outputs[0]):
                tell_at = time.monotonic() + WHOLE_SECONDS
        return False

    def close(self) -> None:
        self._end_group()
        self._wait()
        for descriptor in self._open:
            os.close(descriptor)

    def _begin(self) -> None:
        if self._reaper is not None:  # before it gets its input: when the worker dies now, it reads only the end of it
            self._reaper.add(self._process.pid)
        self._send()
        if self._unsent:
            self._poll.register(self._stdin, select.POLLOUT)
        for descriptor in self._captured:
            self._poll.register(descriptor, select.POLLIN)
        self._pidfd = _open_pidfd(self._process.pid)
        if self._pidfd is not None:
            self._open.append(self._pidfd)
            self._poll.register(self._pidfd, select.POLLIN)

    def _serve_pipes(self, wait_seconds: float) -> None:
        """Read and write what is possible; returns when something happened or the wait is over."""
        for descriptor, _ in self._poll.poll(wait_seconds * 1000):
            if descriptor == self._stdin:
                self._send()
                if not self._unsent:
                    self._poll.unregister(descriptor)
            elif descriptor == self._pidfd:
                self._has_ended = True
            else:
                self._receive(descriptor)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._stdin, self._unsent[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # the bot closed its standard input
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._open.remove(self._stdin)
            os.close(self._stdin)
            self._stdin = CLOSED  # the number may be that of the next descriptor, the pidfd

    def _receive(self, descriptor: int) -> None:
        # One chunk at a time while it runs, so that a flood of output cannot delay the deadline.
        for _ in range(LAST_CHUNKS if self._is_over() else 1):
            try:
                chunk = os.read(descriptor, CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self._poll.unregister(descriptor)
                return
            self._captured[descriptor].add(chunk)

    def _end_group(self) -> None:
        """TERM to the group, then KILL to what is left; nothing when the program ended by itself."""
        if self._is_over():
            return
        self._signal_group(signal.SIGTERM)
        give_up = time.monotonic() + TERM_SECONDS
        while not self._is_over() and time.monotonic() < give_up:
            self._serve_pipes(0.02)
        self._signal_group(signal.SIGKILL)

    def _is_over(self) -> bool:
        """Whether the program has ended. It stays a zombie until `_wait`, so that its group's id is not used again."""
        if self._pidfd is None and not self._has_ended:
            self._has_ended = has_ended(self._process)
        return self._has_ended

    def _wait(self) -> None:
        """Reap it, after its group was removed from the process reaper; safe to repeat."""
        if self._reaper is not None:
            self._reaper.remove(self._process.pid)
            self._reaper = None
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty, or has only zombies
            os.killpg(self._process.pid, number)


@dataclass
class _ProcessWorkingOn(WorkingOn):
    """`run` goes on."""

    run: _Run

    def _follow(self, deadline: float, tick: Callable[[], None]) -> Optional[str]:
        if not self.run.wait(deadline, tick):
            return None
        self.run.close()
        return ""

    def _end(self) -> str:
        self.run.close()
        return ""


def _as_file(content: bytes) -> IO[bytes]:
    """A file that has no name, at its beginning: in memory where the system can do that, such as Linux from 3.17 on."""
    with within_limits():
        file = _open_memory() or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        unwritten = memoryview(content)
        while unwritten:
            unwritten = unwritten[os.write(file.fileno(), unwritten) :]
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _open_memory() -> Optional[IO[bytes]]:
    if not hasattr(os, "memfd_create"):
        return None
    try:
        return open(os.memfd_create("update"), "r+b", buffering=0)
    except OSError:
        return None


def _start(
    command: Sequence[str], folder: Path, environment: Optional[Mapping[str, str]], file: Optional[IO[bytes]]
) -> tuple[subprocess.Popen[bytes], int, int, int]:
    """The program, and our ends of its three pipes, which never block. With a `file` that is its standard input.

    Raises NoProcessLeft or OSError, and leaves nothing open then.
    """
    with within_limits():
        pipes = [os.pipe() for _ in range(3)]
    (stdin, our_stdin), (our_stdout, stdout), (our_stderr, stderr) = pipes
    try:
        with within_limits():
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=stdin if file is None else file.fileno(),
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=environment,
                umask=inherited_umask(),
            )
    except BaseException:
        for descriptor in (our_stdin, our_stdout, our_stderr):
            os.close(descriptor)
        raise
    finally:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
    for descriptor in (our_stdin, our_stdout, our_stderr):
        os.set_blocking(descriptor, False)
    return process, our_stdin, our_stdout, our_stderr


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it where Python can do that (on macOS from 3.13 on).

    Where it cannot, the id is free before the group is removed from the process reaper; the system reuses it last.
    """
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # reaped already
        return True


def _open_pidfd(pid: int) -> Optional[int]:
    """A descriptor that becomes readable when the process ends, where the kernel has that (Linux 5.3)."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
