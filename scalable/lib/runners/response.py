"""An HTTP response of the bot, received over HTTP, FastCGI or CGI. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Response:
    """`headers` by lower-case name. `body` is its beginning, HEAD_BYTES of captured_output at most; `is_whole`: all.

    `body_end` is the end of the body and `errors` of what went to standard error, both as text for a person and at most
    captured_output.TAIL_BYTES of each. `logged` is what was kept of the latter, to be searched.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    is_whole: bool = True
    body_end: str = field(default="", repr=False)
    errors: str = field(default="", repr=False)
    logged: str = field(default="", repr=False)
