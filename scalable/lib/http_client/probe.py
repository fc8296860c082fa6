"""One short HTTP request of an installation to itself, to see what the world sees. Follows no redirect.

Secrets are for the caller to keep in: `is_private_way` says where one may be sent.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import urlsplit

from scalable.lib.errors import ScalableError

MAX_BODY_BYTES = 65_536
PROBE_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class NoAnswer(ScalableError):
    """The address could not be asked; the text says why."""


@dataclass(frozen=True)
class Seen:
    """What was answered. `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def is_private_way(url: str) -> bool:
    """Whether nobody on the way can read what is sent."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def probe(
    url: str,
    body: Optional[bytes] = None,
    headers: Optional[Mapping[str, str]] = None,
    timeout_seconds: float = PROBE_SECONDS,
) -> Seen:
    """The answer to GET, or with a `body` to POST. Raises NoAnswer, after `timeout_seconds` at most for each step."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    connection = _connection(parts.scheme, host, parts.port, timeout_seconds)
    try:
        connection.request(
            "GET" if body is None else "POST", path, body, {"User-Agent": "scalable-doctor", **(headers or {})}
        )
        answer = connection.getresponse()
        return Seen(answer.status, dict(answer.getheaders()), _read(answer, timeout_seconds))
    except ssl.SSLCertVerificationError as error:
        raise NoAnswer(f"the certificate of {host} is not right ({error.verify_message})") from error
    except TimeoutError as error:
        raise NoAnswer(f"{host} did not answer within {timeout_seconds:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"{host} could not be asked ({error or type(error).__name__})") from error
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: Optional[int], seconds: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=seconds)
    return http.client.HTTPConnection(host, port, timeout=seconds)


def _read(answer: http.client.HTTPResponse, seconds: float) -> bytes:
    """The beginning of the body; a server that sends it drop by drop is not waited for."""
    ends, body = time.monotonic() + seconds, b""
    while len(body) < MAX_BODY_BYTES and time.monotonic() < ends:
        try:
            part = answer.read1(MAX_BODY_BYTES - len(body))
        except http.client.IncompleteRead as error:  # the script was cut off; what it said may be the reason
            return body + error.partial
        if not part:
            break
        body += part
    return body
