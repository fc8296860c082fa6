"""Whether a process of ours knows by now of the signals that a test sent it."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

PIDFD_GETFD = 438  # pidfd_getfd(2), on every machine


def is_told(pid: int, times: int = 1) -> bool:
    """Whether its handler has run so often: each time it puts a byte into a socket that nobody empties (StopSignal).

    That the kernel has delivered the signal is not enough: Python calls the handler a little later, in the main thread.
    """
    process = os.pidfd_open(pid)
    try:
        links = Path(f"/proc/{pid}/fd").iterdir()
        return any(_waiting_in(process, link) == b"!" * times for link in links)
    except PermissionError:  # it has ended
        return False
    finally:
        os.close(process)


def _waiting_in(process: int, link: Path) -> bytes:
    """What can be read from this socket of the process, which is left in it; nothing of anything else."""
    try:
        if not os.readlink(link).startswith("socket:"):
            return b""
        descriptor = ctypes.CDLL(None).syscall(PIDFD_GETFD, process, int(link.name), 0)
        with socket.socket(fileno=descriptor) as copy:
            return copy.recv(9, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:  # closed meanwhile, or empty
        return b""
