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
from urllib.parse import urlsplit

COOKIE_SECONDS = 30 * 86_400
_COOKIE = re.compile(r"(owner|reader)\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)
_DEVICE = re.compile(r"(owner|reader)\.([0-9a-f]{16})\.([0-9a-f]{64})", re.ASCII)
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
# The session of who gives the password with each request, and keeps no cookie.
PROGRAM = "program"


@dataclass(frozen=True)
class Session:
    """One login of one browser: its random `name`, and when it `expires`, in seconds since 1970."""

    role: Role
    expires: int
    name: str = field(repr=False)


@dataclass(frozen=True)
class Device:
    """A browser that gave the password of `role` once, under a random `name`."""

    role: Role
    name: str


@dataclass(frozen=True)
class Keys:
    """The passwords of one installation, and its secret. Without `token` nobody is its owner, wherever they are."""

    secret: bytes = field(repr=False)
    token: str = field(repr=False)
    read_token: str = field(repr=False, default="")

    def role_of_token(self, given: str) -> Optional[Role]:
        """What this password opens; None for a wrong one. Both are compared in constant time, each time."""
        owner, reader = _same(given, self.token), _same(given, self.read_token)
        return Role.OWNER if owner else Role.READER if reader else None

    def session(self, cookie: str, clock: Callable[[], float] = time.time) -> Optional[Session]:
        """The login that a browser's `cookie` is of; None for one that is not of these passwords, or is too old."""
        found = _COOKIE.fullmatch(cookie)
        if not found:
            return None
        session = Session(Role(found.group(1)), int(found.group(2)), found.group(3))
        if not self._token_of(session.role) or not hmac.compare_digest(found.group(4), self._seal(session)):
            return None
        return session if clock() < session.expires else None

    def cookie(self, role: Role, clock: Callable[[], float] = time.time) -> str:
        """What a browser that gave the password of `role` keeps: no password, and no good after COOKIE_SECONDS.

        Each login has another one, so that the end of one does not end others.
        """
        session = Session(role, int(clock()) + COOKIE_SECONDS, secrets.token_hex(16))
        return f"{role.value}.{session.expires}.{session.name}.{self._seal(session)}"

    def _seal(self, session: Session) -> str:
        role = session.role
        return self._mac("session", role.value, str(session.expires), session.name, self._token_of(role)).hex()

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

    def device_cookie(self, role: Role, known: Optional[Device] = None) -> str:
        """A cookie for a browser that has just given the password of `role`: its wrong passwords count separately.

        A browser that is `known` keeps its name, and one of the owner's stays that. With the password it ends.
        """
        if known is not None and known.role in (role, Role.OWNER):
            role = known.role
        name = known.name if known is not None and known.role is role else secrets.token_hex(8)
        return f"{role.value}.{name}.{self._device_seal(role, name)}"

    def device(self, cookie: str) -> Optional[Device]:
        """Which browser it is; None for a cookie that is not of these passwords."""
        found = _DEVICE.fullmatch(cookie)
        if not found:
            return None
        device = Device(Role(found.group(1)), found.group(2))
        same = hmac.compare_digest(found.group(3), self._device_seal(device.role, device.name))
        return device if same and self._token_of(device.role) else None

    def _device_seal(self, role: Role, name: str) -> str:
        return self._mac("device", role.value, name, self._token_of(role)).hex()

    def _mac(self, *parts: str) -> bytes:
        message = "\0".join(parts).encode("utf-8", "surrogateescape")
        return hmac.new(self.secret, message, hashlib.sha256).digest()


def _same(given: str, expected: str) -> bool:
    same = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
    return same and bool(expected)  # an empty password is none at all


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other))


def asked_from_elsewhere(environ: dict[str, Any]) -> bool:
    """Whether another site made the browser send this.

    Browsers say so over https (Fetch Metadata). Where they do not, the host of Origin or Referer is compared with the
    names that this was asked by; our own pages send neither, or `null`, and so may others.
    """
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        return site not in ("same-origin", "none")
    from_page = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER") or "null"
    asked_by = f"{environ.get('HTTP_HOST', '')},{environ.get('HTTP_X_FORWARDED_HOST', '')}"
    return from_page != "null" and _host(from_page) not in {_host(f"//{name.strip()}") for name in asked_by.split(",")}


def _host(address: str) -> str:
    """The name in it, without the port, which proxies change; one that cannot be read is like no other."""
    try:
        return urlsplit(address).hostname or address
    except ValueError:
        return address


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


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
