"""Who asks the dashboard, what they may do, and proof that a change was asked for on the dashboard's own page.

Only tokens, cookies and addresses. app.py asks here before each change, views.py before each page.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

COOKIE_SECONDS = 30 * 86_400
_PROXY_HEADERS = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
_COOKIE = re.compile(r"(owner|reader)\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)
_PAD_BYTES = 16


class Role(Enum):
    """A stranger sees counts, a reader all jobs, an owner also updates as they came, and may change things."""

    STRANGER = "stranger"
    READER = "reader"
    OWNER = "owner"


@dataclass(frozen=True)
class Visitor:
    """The visitor who sent a request. The form token of this visitor's pages is bound to `session`."""

    role: Role
    session: str = field(default="", repr=False)

    @property
    def is_owner(self) -> bool:
        """Whether everything is shown."""
        return self.role is Role.OWNER

    @property
    def may_change(self) -> bool:
        """Whether jobs, workers and the webhook may be changed; a reader may not."""
        return self.role is Role.OWNER

    @property
    def is_stranger(self) -> bool:
        """Whether they have given no valid password."""
        return self.role is Role.STRANGER


STRANGER = Visitor(Role.STRANGER)


@dataclass(frozen=True)
class Keys:
    """The passwords of one installation, and its secret. Without `token` only this machine itself may change things."""

    secret: bytes = field(repr=False)
    token: str = field(repr=False)
    read_token: str = field(repr=False, default="")

    def role_of_token(self, given: str) -> Optional[Role]:
        """What this password opens; None for a wrong one. Both are compared in constant time, each time."""
        owner, reader = _same(given, self.token), _same(given, self.read_token)
        return Role.OWNER if owner else Role.READER if reader else None

    def visitor(self, environ: dict[str, Any], cookie: str, clock: Callable[[], float] = time.time) -> Visitor:
        """Who a request without a password comes from."""
        role = self._role_of_cookie(cookie, clock())
        if role is not None:
            return Visitor(role, cookie)
        return Visitor(Role.OWNER, "this machine") if not self.token and from_this_machine(environ) else STRANGER

    def cookie(self, role: Role, clock: Callable[[], float] = time.time) -> str:
        """What a browser that gave the password of `role` keeps: no password, and no good after COOKIE_SECONDS."""
        expires = int(clock()) + COOKIE_SECONDS
        return f"{role.value}.{expires}.{self._seal(role, expires)}"

    def _role_of_cookie(self, cookie: str, now: float) -> Optional[Role]:
        found = _COOKIE.fullmatch(cookie)
        if not found:
            return None
        role, expires = Role(found.group(1)), int(found.group(2))
        if not self._token_of(role) or not hmac.compare_digest(found.group(3), self._seal(role, expires)):
            return None
        return role if now < expires else None

    def _seal(self, role: Role, expires: int) -> str:
        return self._mac("session", role.value, str(expires), self._token_of(role)).hex()

    def _token_of(self, role: Role) -> str:
        return self.token if role is Role.OWNER else self.read_token

    def form_token(self, visitor: Visitor) -> str:
        """The hidden field that only this visitor's own pages contain; different on each of them.

        It is covered by random bits, so that the sizes of compressed pages tell nothing about it (BREACH).
        """
        pad = secrets.token_bytes(_PAD_BYTES)
        return pad.hex() + _xor(pad, self._proof(visitor)).hex()

    def form_token_matches(self, given: str, visitor: Visitor) -> bool:
        """Whether it came from a page of this visitor; compared in constant time."""
        if not re.fullmatch(f"[0-9a-f]{{{4 * _PAD_BYTES}}}", given):
            return False
        both = bytes.fromhex(given)
        return hmac.compare_digest(_xor(both[:_PAD_BYTES], both[_PAD_BYTES:]), self._proof(visitor))

    def _proof(self, visitor: Visitor) -> bytes:
        return self._mac("form", visitor.role.value, visitor.session)[:_PAD_BYTES]

    def device(self, name: str = "") -> str:
        """A cookie for a browser that gave a right password once; its wrong passwords are counted separately."""
        name = name or secrets.token_hex(8)
        return f"{name}.{self._mac('device', name).hex()}"

    def device_name(self, cookie: str) -> Optional[str]:
        """Which browser it is; None for a cookie that is not of this installation."""
        name = cookie.partition(".")[0]
        known = re.fullmatch(r"[0-9a-f]{16}", name) and _same(cookie, self.device(name))
        return name if known else None

    def _mac(self, *parts: str) -> bytes:
        message = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).digest()


def _same(given: str, expected: str) -> bool:
    same = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
    return same and bool(expected)  # an empty password is none at all


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other))


def from_this_machine(environ: dict[str, Any]) -> bool:
    """Whether it is loopback without a proxy, and not of a page of another site whose name was made to point here.

    A proxy that adds no header is known by its HTTP/1.0 (nginx's default towards an upstream); browsers send 1.1.
    """
    if any(environ.get(name) for name in _PROXY_HEADERS) or environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return False
    return _is_loopback(environ.get("REMOTE_ADDR", "")) and _is_loopback(_host_name(environ.get("HTTP_HOST", "")))


def asked_from_elsewhere(environ: dict[str, Any]) -> bool:
    """Whether the browser says that another site made it send this (Fetch Metadata; old browsers say nothing)."""
    return environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("same-origin", "none")


def address_of(environ: dict[str, Any]) -> str:
    """Where a request comes from: what a proxy on this machine saw, else who connected.

    The last entry of X-Forwarded-For is the proxy's own; those before it are whatever the visitor wrote there. Of an
    IPv6 address it is the network, because its owner has all addresses in it.
    """
    address = str(environ.get("REMOTE_ADDR", ""))
    if _is_loopback(address):
        address = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rpartition(",")[2].strip() or address
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)


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
