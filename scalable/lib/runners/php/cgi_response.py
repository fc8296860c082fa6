"""Reads what a CGI or FastCGI program answered: a block of header lines, an empty line, the body (RFC 3875, 6).

Knows nothing of how the answer came, and does not judge it.
"""

from __future__ import annotations

import re

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.runners.response import Response

# Line ends as they come: PHP writes \r\n, other programs a bare \n.
_END_OF_HEADERS = re.compile(rb"(?:\A|\r?\n)\r?\n")
_STATUS_LINE = re.compile(r"HTTP/[0-9.]+ ")
_STATUS = re.compile(r"[1-5][0-9]{2}(?![0-9])")


class NotACgiResponse(ValueError):
    """The answer does not begin with header lines as CGI wants them; a web server would answer 500 for it."""


def parse_response(head: bytes, is_whole: bool, end: str, errors: str, logged: str) -> Response:
    """The Response in the output of a program: how it begins, whether that is all of it, and how it ends.

    The status is that of the `Status:` line (or of an HTTP status line, which PHP writes when cgi.nph is on), otherwise
    302 with a Location and 200 without. `errors` and `logged` are passed on. Raises NotACgiResponse, saying what is
    wrong.
    """
    found = _END_OF_HEADERS.search(head)
    if found is None:
        raise NotACgiResponse(f"no empty line ends its headers, in {len(head)} bytes" if head else "it is empty")
    status, headers = _parse_headers(head[: found.start()].decode("latin-1"))
    body = head[found.end() :]
    body_end = body[-TAIL_BYTES:].decode("utf-8", "replace").strip() if is_whole else end
    return Response(status, headers, body, is_whole, body_end, errors, logged)


def _parse_headers(block: str) -> tuple[int, dict[str, str]]:
    headers: dict[str, str] = {}
    for line in block.replace("\r\n", "\n").split("\n") if block else ():  # not splitlines: a value may hold any byte
        name, colon, value = line.partition(":")
        if _STATUS_LINE.match(line) and not headers:
            headers["status"] = line.partition(" ")[2]
        elif colon and name.strip():
            headers[name.strip().lower()] = value.strip()
        else:
            raise NotACgiResponse("a line before its first empty line is no header")
    status = headers.pop("status", "302" if "location" in headers else "200")
    if not _STATUS.match(status):
        raise NotACgiResponse("its Status is no number from 100 to 599")
    return int(status[:3]), headers
