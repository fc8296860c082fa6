"""What a process is called where others see it: in the registry of workers, and as the leader."""

from __future__ import annotations

import os
import secrets
import socket


def process_name() -> str:
    """`host:pid-abcd`: where it runs, which one it is, and something that no other process there ever had."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}-{secrets.token_hex(2)}"
