"""The name of a process in the registry of workers, and as the leader."""

from __future__ import annotations

import os
import secrets
import socket


def process_name() -> str:
    """`host:pid-abcd`: machine, process id, and random digits, because process ids are used again."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}-{secrets.token_hex(2)}"
