"""The process reaper: a tiny shell process that ends the bots of a worker that was killed.

A bot runs in a session of its own, so it would outlive its worker, while the queue gives its job to another one. The
shell holds the read end of a pipe whose only write end is in the worker; the kernel closes that end when the worker
dies, however it dies.

Not covered: a process that left its group (setsid), and a worker and its shell that are killed at the same moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from typing import Optional

from scalable.lib.logs import OncePer, event

log = logging.getLogger(__name__)
# For every POSIX shell; tried with dash, bash, busybox, ksh, mksh, yash and zsh. Only a whole line counts, so that one
# cut off by the worker's death cannot name another group. After KILL nothing of a group runs on, but a system call may
# have to end and locks to be released, so the last loop waits until all are gone; a quarter of a second at most in all,
# because dead orphans stay zombies where the first process of the system does not care for them.
SCRIPT = """
trap '' INT TERM HUP QUIT
groups=' '
while read -r line; do
    id=${line#?}
    case $line in
        +*) groups="$groups$id " ;;
        -*) groups="${groups%%" $id "*} ${groups#*" $id "}" ;;
    esac
done
for id in $groups; do
    kill -KILL "-$id"
done
tries=0
for id in $groups; do
    while [ $tries -lt 10 ] && kill -0 "-$id"; do
        sleep 0.02
        tries=$((tries + 1))
    done
done
"""
# A shell that is to end, and does not, is killed after so long.
END_SECONDS = 5.0


class ProcessReaper:
    """Ends the process groups added to it when this process dies, however it dies. All threads of a process share one.

    `lifeline` is an inherited descriptor, the write end of a pipe. Only this process and its shell have it, so its
    other end reads end of file when the worker is gone and the shell has done its work: not before, and not later.
    The shell starts with the first `add`. When there is no `shell` the worker goes on without, and logs that once.
    Raises OSError when the lifeline is not open.
    """

    def __init__(self, lifeline: Optional[int] = None, shell: str = "/bin/sh") -> None:
        if lifeline is not None:
            os.set_inheritable(lifeline, False)
        self._lifeline = lifeline
        self._shell = shell
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._sh: Optional[_Sh] = None
        self._is_missing = False
        self._may_log = OncePer(60)

    def add(self, group: int) -> None:
        """From now on the process group `group` dies with this process. Raises ValueError when it is no group's id."""
        if group < 2:  # kill(2) takes -1 for every process and -0 for the own group
            raise ValueError(f"process group {group}: expected the id of a child's group")
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group no longer dies with this process. Call it before its leader is reaped, which frees the id."""
        with self._lock:
            if group in self._groups:
                self._groups.remove(group)
                self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the shell and the groups that were not removed. Groups may be added again."""
        with self._lock:
            self._groups.clear()
            if self._sh is not None:
                self._sh.leave()
                self._sh = None

    def _tell(self, line: str) -> None:
        """Write one line to the shell; a new shell gets all groups, this one among them."""
        if self._sh is not None:
            try:
                self._sh.write(line)
                return
            except OSError as error:
                if self._may_log():
                    log.warning(event("guard replaced", cause=error.strerror))
                self._sh.kill()
                self._sh = None
        if self._groups:
            self._start()

    def _start(self) -> None:
        try:
            self._sh = _Sh(self._shell, self._lifeline)
        except OSError as error:
            if not self._is_missing:
                log.error(event("guard not started: bots outlive a worker that is killed", cause=error))
            self._is_missing = True
            return
        self._is_missing = False
        with contextlib.suppress(OSError):  # it died at once: the next line finds that out
            self._sh.write("".join(f"+{group}\n" for group in sorted(self._groups)))


class _Sh:
    """The process and the pipe to it. Raises OSError when it cannot be started."""

    def __init__(self, shell: str, lifeline: Optional[int]) -> None:
        read_end, self._write_end = os.pipe()  # both close-on-exec: no bot inherits them
        try:
            # An empty environment: the worker's holds passwords, which a shell does not need.
            self._process = subprocess.Popen(
                [shell, "-c", SCRIPT, "scalable-guard"],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
                pass_fds=() if lifeline is None else (lifeline,),
            )
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)
        os.set_blocking(self._write_end, False)

    def write(self, lines: str) -> None:
        """Whole or not at all, as a pipe takes up to PIPE_BUF bytes. Raises OSError when it is dead or stopped."""
        os.write(self._write_end, lines.encode("ascii"))

    def leave(self) -> None:
        """Close the pipe, and wait until the shell has ended."""
        os.close(self._write_end)
        if not self._is_gone():
            self._process.kill()
            self._is_gone()

    def kill(self) -> None:
        """Kill it before it can read the end of the pipe, which would make it kill groups that are in use."""
        self._process.kill()
        self._is_gone()
        os.close(self._write_end)

    def _is_gone(self) -> bool:
        try:
            self._process.wait(END_SECONDS)
            return True
        except subprocess.TimeoutExpired:
            return False
