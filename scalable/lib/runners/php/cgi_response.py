"""Reads what a CGI or FastCGI program answered: a block of header lines, an empty line, the body (RFC 3875, 6).

Does not transport the answer, and does not decide whether the run succeeded.
"""

from __future__ import annotations

import re
from typing import Optional

from scalable.lib.captured_output import TAIL_BYTES, CapturedOutput
from scalable.lib.runners.php.script_report import ReportedOutput
from scalable.lib.runners.run_result import End, RunResult, joined

# Line ends as they come: PHP writes \r\n, other programs a bare \n.
_END_OF_HEADERS = re.compile(rb"(?:\A|\r?\n)\r?\n")
_STATUS_LINE = re.compile(r"HTTP/[0-9.]+ ")
_STATUS = re.compile(r"[1-5][0-9]{2}(?![0-9])")


class NotACgiResponse(ValueError):
    """The answer does not begin with header lines as CGI requires them; a web server would answer 500 for it."""


def read_response(
    output: CapturedOutput, errors: ReportedOutput, seconds: float, printed: str = "", exit_code: Optional[int] = None
) -> RunResult:
    """The result of a run that answered with `output`, and logged and reported `errors`.

    `printed` by any other process of the run is shown, and does not count. Raises NotACgiResponse with the reason.
    """
    if errors.has_answered and not output.size:  # PHP sends the headers of an answer without a body when it ends
        status, headers, body = (errors.report and errors.report.status) or 200, dict[str, str](), b""
    else:
        status, headers, body = parse_response(bytes(output.head))
    body_end = body[-TAIL_BYTES:].decode("utf-8", "replace").strip() if output.is_whole else output.text()
    return RunResult(
        End.RESPONDED,
        seconds,
        exit_code=exit_code,
        http_status=status,
        retry_after=headers.get("retry-after", ""),
        output=joined((body_end, errors.text(), printed, errors.report.logged if errors.report else "")),
        warnings=errors.text(),
        report=errors.report,
        answer=body if output.is_whole else b"",
        answer_type=headers.get("content-type", ""),
    )


def parse_response(head: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, and body of a response that begins with `head`, as far as that goes.

    The status is that of the `Status:` line (or of an HTTP status line, which PHP writes when cgi.nph is on), otherwise
    302 with a Location and 200 without. Raises NotACgiResponse with the reason.
    """
    found = _END_OF_HEADERS.search(head)
    if found is None:
        raise NotACgiResponse(f"no empty line ends its headers, in {len(head)} bytes" if head else "it is empty")
    status, headers = _parse_headers(head[: found.start()].decode("latin-1"))
    return status, headers, head[found.end() :]


def has_answered(output: CapturedOutput, errors: ReportedOutput) -> bool:
    """Whether the script has given its whole answer, and that is a success; it may work on."""
    if not errors.has_answered:
        return is_whole_success(output)
    return not output.size or _END_OF_HEADERS.search(output.head) is not None


def is_whole_success(output: CapturedOutput) -> bool:
    """Whether it is a success of which nothing is missing, as its Content-Length says; False when it has none."""
    head = bytes(output.head)
    try:
        status, headers, body = parse_response(head)
    except NotACgiResponse:
        return False
    length = headers.get("content-length", "")
    is_known = length.isascii() and length.isdigit() and 200 <= status < 300
    return is_known and output.size - (len(head) - len(body)) >= int(length[:18])


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
