"""One run of a program: its own process group, both pipes drained together, a deadline, a capped tail of its output.

Nothing the program does may hang the caller: flooding, never reading, ignoring TERM, leaving children with the pipes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from scalable.lib.worker.runners.guard import Guard

TAIL_BYTES = 4096
# More than any method call a bot may answer with: Telegram takes a text of 4096 characters, a keyboard of 10 kB.
HEAD_BYTES = 256 * 1024
CHUNK_BYTES = 65536
# More than a pipe holds: what is still there after so many comes from children the program left, not from itself.
LAST_CHUNKS = 16
# Between TERM and KILL. Short: the bot has had its whole time already.
TERM_SECONDS = 2.0
# How often the caller is asked whether to go on.
TICK_SECONDS = 0.5


@dataclass(frozen=True)
class ProcessEnd:
    """`returncode` as subprocess has it: negative for a signal.

    `head` is how its standard output begins, `is_whole` whether that is all of it; `stdout` and `stderr` are the ends
    of the two as text, for a person.
    """

    returncode: int
    timed_out: bool
    seconds: float
    head: bytes = field(repr=False)
    is_whole: bool
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)

    @property
    def output(self) -> str:
        """Both outputs, one after the other."""
        return "\n".join(part for part in (self.stdout, self.stderr) if part)


def run_process(
    command: Sequence[str], standard_input: bytes, folder: Path, timeout_seconds: float,
    tick: Callable[[], None] = lambda: None, environment: Optional[Mapping[str, str]] = None,
    guard: Optional[Guard] = None,
) -> ProcessEnd:
    """Run `command` in `folder` with `standard_input` for at most `timeout_seconds`, or end its whole group then.

    `environment` None: this process's own. `tick` is called about twice a second; what it raises ends the program and
    is passed on. `guard` ends the group when this process is killed meanwhile. Raises OSError when the program cannot
    be started.
    """
    with _Run(command, standard_input, folder, timeout_seconds, environment, guard) as run:
        return run.watch(tick)


class Captured:
    """The beginning and the end of a stream, however long it is: HEAD_BYTES and TAIL_BYTES at most."""

    def __init__(self) -> None:
        self.head = bytearray()
        self.tail = bytearray()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """The next piece of the stream."""
        self.size += len(chunk)
        self.head += chunk[:HEAD_BYTES - len(self.head)]
        self.tail += chunk
        del self.tail[:-TAIL_BYTES]

    @property
    def is_whole(self) -> bool:
        """Whether `head` is all of the stream."""
        return self.size == len(self.head)

    def text(self) -> str:
        """The end of the stream, for a person."""
        return bytes(self.tail).decode("utf-8", "replace").strip()


class _Run:
    def __init__(
        self, command: Sequence[str], standard_input: bytes, folder: Path, timeout_seconds: float,
        environment: Optional[Mapping[str, str]], guard: Optional[Guard],
    ) -> None:
        self._started = time.monotonic()
        self._deadline = self._started + timeout_seconds
        self._unsent = memoryview(standard_input)
        self._captured: dict[Any, Captured] = {}
        self._selector = selectors.DefaultSelector()
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, env=environment,
        )
        self._guard = guard
        self._has_ended = False
        if guard is not None:  # a program nobody guards yet has not got its input yet: it only sees the end of that
            guard.watch(self._process.pid)

    def __enter__(self) -> _Run:
        for stream, interest in (
            (self._process.stdin, selectors.EVENT_WRITE),
            (self._process.stdout, selectors.EVENT_READ),
            (self._process.stderr, selectors.EVENT_READ),
        ):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, interest)
            self._captured[stream] = Captured()
        self._exit_watch = _watch_exit(self._process.pid)
        if self._exit_watch is not None:
            self._selector.register(self._exit_watch, selectors.EVENT_READ)
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._end_group()
        self._bury()
        self._selector.close()
        if self._exit_watch is not None:
            os.close(self._exit_watch)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with contextlib.suppress(OSError):  # closing stdin flushes nothing: it is unbuffered data the bot refused
                stream.close()

    def watch(self, tick: Callable[[], None]) -> ProcessEnd:
        timed_out = False
        while not self._is_over():
            if time.monotonic() >= self._deadline:
                timed_out = True
                break
            self._serve_pipes(min(self._deadline - time.monotonic(), self._longest_wait()))
            tick()
        self._end_group()
        self._serve_pipes(0)
        self._bury()
        out, err = (self._captured[stream] for stream in (self._process.stdout, self._process.stderr))
        return ProcessEnd(
            self._process.returncode, timed_out, time.monotonic() - self._started,
            head=bytes(out.head), is_whole=out.is_whole, stdout=out.text(), stderr=err.text(),
        )

    def _longest_wait(self) -> float:
        return TICK_SECONDS if self._exit_watch is not None else 0.02

    def _serve_pipes(self, wait_seconds: float) -> None:
        """Move what can be moved; returns when something happened or the wait is over."""
        for key, _ in self._selector.select(max(wait_seconds, 0)):
            if key.fileobj is self._process.stdin:
                self._send(key.fileobj)
            elif key.fileobj is not self._exit_watch:
                self._receive(key.fileobj)

    def _send(self, stdin: Any) -> None:
        try:
            self._unsent = self._unsent[os.write(stdin.fileno(), self._unsent[:CHUNK_BYTES]):]
        except BlockingIOError:
            return
        except OSError:  # the bot closed its standard input: it wants no more
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._selector.unregister(stdin)
            with contextlib.suppress(OSError):
                stdin.close()

    def _receive(self, stream: Any) -> None:
        # One chunk at a time while it lives, so that a flood cannot keep us from the deadline.
        for _ in range(LAST_CHUNKS if self._is_over() else 1):
            try:
                chunk = os.read(stream.fileno(), CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self._selector.unregister(stream)
                return
            self._captured[stream].add(chunk)

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
        """Whether the program has ended. Until `_bury` it stays a zombie, so that its group's id is nobody else's."""
        if not self._has_ended:
            self._has_ended = has_ended(self._process)
        return self._has_ended

    def _bury(self) -> None:
        """Reap it, after the guard forgot it; safe to repeat."""
        if self._guard is not None:
            self._guard.forget(self._process.pid)
            self._guard = None
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of the group is left, or only zombies
            os.killpg(self._process.pid, number)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, without reaping it where Python can do that (on macOS from 3.13 on).

    Where it cannot, the id is free for the moment until the guard forgets it; it is used again only after all others.
    """
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # reaped already
        return True


def _watch_exit(pid: int) -> Optional[int]:
    """A descriptor that becomes readable when the process ends, where the kernel has that (Linux 5.3)."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
