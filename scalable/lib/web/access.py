"""Who may open the dashboard, and proof that a change was asked for on the dashboard's own page."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Any, Optional

_PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
NO_TOKEN = (
    "BOT_MONITOR_TOKEN is empty, so only a browser on this machine itself may open the dashboard: "
    "set BOT_MONITOR_TOKEN in the settings file and add ?token=… to the address"
)
WRONG_TOKEN = "add ?token=… with the value of BOT_MONITOR_TOKEN to the address"


def refused(environ: dict[str, Any], given: str, token: str) -> Optional[str]:
    """None when this request may see and change everything, else one sentence on how to get in."""
    if token:
        same = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
        return None if same else WRONG_TOKEN
    return None if _from_this_machine(environ) else NO_TOKEN


def _from_this_machine(environ: dict[str, Any]) -> bool:
    """Loopback all the way: no proxy in between, and not a page elsewhere whose name was made to point here.

    A proxy that adds no header is known by its HTTP/1.0 (nginx's default towards an upstream); browsers send 1.1.
    """
    if any(environ.get(name) for name in _PROXY_HEADERS) or environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return False
    return _is_loopback(environ.get("REMOTE_ADDR", "")) and _is_loopback(_host_name(environ.get("HTTP_HOST", "")))


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def csrf_token(secret: bytes, token: str) -> str:
    """The hidden form field that only our own page can contain; it changes when the password does."""
    return hmac.new(secret, b"csrf\0" + token.encode(), hashlib.sha256).hexdigest()


def csrf_matches(given: str, secret: bytes, token: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), csrf_token(secret, token).encode())
