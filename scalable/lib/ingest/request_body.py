"""How long the body of a request is, and reading it: the same rule for every way in.

Imports nothing, and has no annotation that is evaluated: a CGI process may read this for each update.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional, Union

MAX_UPDATE_BYTES = 1024 * 1024
# Of the dashboard; nobody else takes a body.
MAX_FORM_BYTES = 10_000
# Python reads no number of more than 4300 digits; so many are more than any limit already.
MAX_LENGTH_DIGITS = 18
TOO_MANY_BYTES = 10**MAX_LENGTH_DIGITS
MOST_AT_ONCE_BYTES = 1024 * 1024


class RequestRefused(Exception):
    """The request is not taken: status, explanation and headers of the response, and the log's line, if any."""

    def __init__(
        self, status: int, why: str, headers: "Optional[dict[str, str]]" = None, log_line: "Optional[str]" = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers
        self.log_line = log_line


def content_length(value: "Union[str, bytes]") -> int:
    """The number of bytes that a Content-Length stands for; 0 for an empty one, TOO_MANY_BYTES for 19 digits and more.

    Raises ValueError for anything but ASCII digits (RFC 9110, 8.6).
    """
    if not value:
        return 0
    if not value.isascii() or not value.isdigit():
        raise ValueError("the Content-Length is not a number")
    return int(value) if len(value) <= MAX_LENGTH_DIGITS else TOO_MANY_BYTES


def read_up_to(read: "Callable[[int], bytes]", length: int) -> bytes:
    """The next `length` bytes, fewer when there are no more. `read` is given the most bytes it may return."""
    parts = []
    while length > 0:
        part = read(min(length, MOST_AT_ONCE_BYTES))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def read_body(environ: "dict[str, Any]", max_bytes: int) -> bytes:
    """The whole body of a WSGI request, of CONTENT_LENGTH bytes. Raises RequestRefused.

    A body without a length (`Transfer-Encoding: chunked`) is read where the server says that it ends by itself
    (`wsgi.input_terminated`); otherwise reading on could wait without end, or read beyond the body (RFC 3875, 4.2).
    """
    value = environ.get("CONTENT_LENGTH") or ""
    is_chunked = not value and bool(environ.get("HTTP_TRANSFER_ENCODING"))
    if is_chunked and not environ.get("wsgi.input_terminated"):
        raise RequestRefused(411, "send the body with a Content-Length: this server does not take it in chunks")
    try:
        length = max_bytes + 1 if is_chunked else content_length(value)
    except ValueError as error:
        raise RequestRefused(400, str(error)) from error
    too_large = f"the request body is larger than {max_bytes} bytes"
    if length > max_bytes and not is_chunked:  # not even read
        raise RequestRefused(413, too_large)
    body = read_up_to(environ["wsgi.input"].read, length)
    if len(body) > max_bytes:
        raise RequestRefused(413, too_large)
    if len(body) < length and not is_chunked:
        raise RequestRefused(400, f"the request body ended after {len(body)} of {value} bytes")
    return body
