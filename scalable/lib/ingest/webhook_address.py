"""The webhook's own address, as a request of Telegram shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def address_of(environ: Mapping[str, Any]) -> str:
    """The address that Telegram called, which is always https; empty when a proxy on the way has put its own there."""
    host = environ.get("HTTP_HOST", "")
    name = host.partition(":")[0]
    if "." not in name or name.replace(".", "").isdigit():
        return ""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return f"https://{host}{path}"
