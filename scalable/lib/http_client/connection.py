"""One connection to the bot's web server, kept from update to update, on which no wait is longer than a tick.

Knows sockets, TLS and HTTP/1.1 (RFC 9112); what a response means for the job is not known here. Proxies named in the
environment are not used: they were named for other programs, and would get to see every message.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Mapping
from typing import Optional

from scalable.lib.captured_output import CHUNK_BYTES, CapturedOutput
from scalable.lib.deadline import Deadline
from scalable.lib.http_client.address import WebAddress
from scalable.lib.http_client.wire import Wire, connect
from scalable.lib.redaction import one_line
from scalable.lib.runners.response import Response

# A kept connection is used again only this soon. Servers close idle ones after 2 to 75 seconds, and a request that
# meets such a close on its way is lost without anybody knowing whether it was read: it could not be repeated.
KEPT_SECONDS = 1.0
# OpenSSL's X509_V_ERR_*: the name or the address is not in the certificate; not yet valid, expired.
_OTHER_NAME = (62, 64)
_DATES = (9, 10)


class NoAnswer(Exception):
    """There is no response, or only a part of one; the text says why, for a person."""


class WebConnection:
    """Connects when first needed. For one thread. `stage` says what it is, or was, busy with; `has_begun`, whether the
    other side may have something of the last request."""

    def __init__(self, address: WebAddress, context: Optional[ssl.SSLContext] = None) -> None:
        self.stage = ""
        self.has_begun = False
        self.received = CapturedOutput()
        self._address = address
        self._context = context
        self._wire: Optional[Wire] = None
        self._used_at = 0.0

    def post(self, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """POST `body` once, and never a second time. `received` is what came of the response's body so far.

        Raises NoAnswer, and what `patience` raises; the connection is closed then.
        """
        self.received = CapturedOutput()
        self.has_begun = False
        try:
            response = self._exchange(self._ready_wire(deadline), body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise NoAnswer(self._explained(error)) from error
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        self._used_at = time.monotonic()
        fields = {name.lower(): ", ".join(response.headers.get_all(name, [])) for name in response.headers}
        received = self.received
        return Response(response.status, fields, bytes(received.head), received.is_whole, received.text())

    def close(self) -> None:
        """Let go of the connection; the next `post` makes another one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _ready_wire(self, deadline: Deadline) -> Wire:
        if self._wire is not None:
            self._wire.deadline = deadline
            if time.monotonic() - self._used_at < KEPT_SECONDS and self._wire.is_quiet():
                return self._wire
            self.close()
        return self._connect(deadline)

    def _connect(self, deadline: Deadline) -> Wire:
        self.stage = f"connecting to {self._address.authority}"
        self._wire = connect(self._address.host, self._address.port, deadline)
        if self._address.is_encrypted:
            self._context = self._context or ssl.create_default_context()
            self.stage = f"agreeing on TLS with {self._address.authority}"
            self._wire.encrypt(self._context, self._address.host)
        return self._wire

    def _exchange(self, wire: Wire, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        client = http.client.HTTPConnection("unused")
        client.response_class = _Final
        client.sock, request = wire.as_socket()
        client.request("POST", self._address.target, body, {"Host": self._address.authority, **headers})
        self.stage = f"sending the update to {self._address.authority}"
        self.has_begun = True
        # What is said before everything was read is an answer all the same: 413, for one.
        with contextlib.suppress(ConnectionError):
            wire.send(bytes(request))
        self.stage = f"waiting for the answer of {self._address.authority}"
        response = client.getresponse()
        self.stage = f"reading the answer of {self._address.authority}"
        self._read(response)
        return response

    def _read(self, response: http.client.HTTPResponse) -> None:
        """All of the body, as it comes: `peek` waits for some of it, `read` for exactly as much as it is asked for."""
        while not response.isclosed() and response.length != 0:
            chunk = response.read(min(len(response.peek(1)), CHUNK_BYTES) or 1)
            self.received.add(chunk)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)

    def _explained(self, error: Exception) -> str:
        place = self._address.authority
        if isinstance(error, ssl.SSLCertVerificationError):
            return _about_certificate(place, error)
        if isinstance(error, ssl.SSLError):
            return f"no TLS with {place}: {error.reason or error}; is it http://, or another port?"
        if isinstance(error, (http.client.RemoteDisconnected, http.client.IncompleteRead)):
            return f"the connection was closed while {self.stage}"
        if isinstance(error, OSError):
            return f"{error.strerror or error} while {self.stage}"
        return one_line(f"what {place} answered is not HTTP: {type(error).__name__} {error}")


class _Final(http.client.HTTPResponse):
    """The response after all those that only announce one: 103 Early Hints, for one (RFC 9110, 15.2).

    http.client passes over 100 alone. It would take another one for the answer, and what follows for the next one's.
    """

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # known to no type checker
        return version, http.client.CONTINUE if 100 <= status < 200 else status, reason


def _about_certificate(place: str, error: ssl.SSLCertVerificationError) -> str:
    said = f"the certificate of {place} is not accepted ({error.verify_message})"
    if error.verify_code in _OTHER_NAME:
        return f"{said}: put the name that the certificate was made for into BOT_LEGACY_PATH"
    if error.verify_code in _DATES:
        return f"{said}: have it renewed, or set this machine's clock"
    return (
        f"{said}: let the site have one of a known authority, its intermediate certificates with it, or name the "
        "authority's file in the environment variable SSL_CERT_FILE"
    )
