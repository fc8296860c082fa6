"""One short HTTP request of an installation to its own public address.

The caller must not send secrets to an address that is not private.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional
from urllib.parse import urlsplit

from scalable.lib.deadline import Deadline
from scalable.lib.errors import NoProcessLeft, ScalableError
from scalable.lib.http_client.address import parse_web_address
from scalable.lib.http_client.client import HttpClient, HttpError, Reason, Request, Response

MAX_BODY_BYTES = 65_536
PROBE_SECONDS = 5.0


class NoAnswer(ScalableError):
    """The address could not be asked; the text says why."""


def probe(
    url: str,
    body: Optional[bytes] = None,
    headers: Optional[Mapping[str, str]] = None,
    timeout_seconds: float = PROBE_SECONDS,
) -> Response:
    """The answer to GET, or with a `body` to POST: MAX_BODY_BYTES of it at most, or the part that came in time.

    Raises NoAnswer, after `timeout_seconds` for connecting and as many for the answer.
    """
    host = urlsplit(url).hostname
    try:
        return _ask(url, body, {"User-Agent": "scalable-doctor", **(headers or {})}, timeout_seconds)
    except HttpError as error:
        if error.response is not None:  # a script that was cut off may have said why
            return error.response
        if error.reason is Reason.CERTIFICATE:
            raise NoAnswer(f"the certificate of {host} is not right ({error.detail})") from error
        if error.reason is Reason.DEADLINE or isinstance(error.cause, TimeoutError):
            raise NoAnswer(f"{host} did not answer within {timeout_seconds:g} s") from error
        raise NoAnswer(f"{host} could not be asked ({error.cause or type(error.cause).__name__})") from error
    except (ValueError, NoProcessLeft) as error:
        raise NoAnswer(f"{host} could not be asked ({error.__cause__ or error})") from error


def _ask(url: str, body: Optional[bytes], headers: Mapping[str, str], timeout_seconds: float) -> Response:
    address = parse_web_address(url)
    client = HttpClient(address, kept_seconds=timeout_seconds, connect_seconds=timeout_seconds / 2)
    try:
        client.connect(Deadline(timeout_seconds, lambda: None))
        request = Request("GET" if body is None else "POST", address.target, headers, body, MAX_BODY_BYTES)
        return client.send(request, Deadline(timeout_seconds, lambda: None))
    finally:
        client.close()
