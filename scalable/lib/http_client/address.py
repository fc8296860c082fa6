"""The address of an HTTP server: parsed, checked, and shown without what is secret in it."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from scalable.lib.redaction import without_token

PORTS = {"http": 80, "https": 443}
EXPECTED = "expected https://host/path or http://host:port/path, without spaces"
# What may stand in a path and query as it is (RFC 3986, 3.3 and 3.4), with the mark of what is encoded already.
_KEPT = "/?:@!$&'()*+,;=~-._%"
_UNUSABLE = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True)
class WebAddress:
    """`host` without brackets, as a resolver takes it; `target` is path and query, as they stand in a request line.

    `authorization` is the value of an Authorization header, empty for an address without user and password.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    authorization: str = field(default="", repr=False)

    @property
    def is_encrypted(self) -> bool:
        """Whether it is https."""
        return self.scheme == "https"

    @property
    def is_private(self) -> bool:
        """Whether no other machine can read what is sent there: it is encrypted, or stays on this machine."""
        try:
            return self.is_encrypted or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them (RFC 9110, 7.2): the port only when it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For logs: no user, no password, and nothing of the query, where many keep a password too."""
        path, mark, _ = self.target.partition("?")
        return without_token(f"{self.scheme}://{self.authority}{path}") + ("?…" if mark else "")


def parse_web_address(url: str) -> WebAddress:
    """The address in `url`; user and password in it become Basic authorization (RFC 7617).

    Raises ValueError for everything else, with a text that may quote what is secret.
    """
    parts = urlsplit(url)
    # "idna" raises ValueError for a name that cannot exist, such as `a..b`, and `port` for one that is no number.
    host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    if _UNUSABLE.search(url) or parts.scheme not in PORTS or not host or port == 0:
        raise ValueError(EXPECTED)
    target = quote(parts.path or "/", safe=_KEPT) + ("?" + quote(parts.query, safe=_KEPT) if parts.query else "")
    return WebAddress(parts.scheme, host, port or PORTS[parts.scheme], target, _authorization(parts))


def hide_password(url: str) -> str:
    """`url` for a message although it could not be parsed: whatever stands before an @ may be a password."""
    return without_token(re.sub(r"(?s)^(\w+:/*)?.*@", r"\1***@", url).partition("?")[0])


def _authorization(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")
