"""Reads what the bot answered to the webhook: is it the call of a Bot API method? Does not perform it.

Source of the form: Bot API, "Making requests when getting updates"; and of the rules the open server, WebhookActor.cpp
and td's HttpReader.cpp: the first `method` counts, in any case; methods that read something or change the webhook are
not performed from here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import NoReturn, Optional

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
METHOD_NAME = re.compile(r"[A-Za-z]{1,64}")
MAX_HEAD_BYTES = 4096  # of a part of a multipart body
_BOM = b"\xef\xbb\xbf"
_NOT_FROM_HERE = frozenset({"setwebhook", "deletewebhook", "close", "logout"})
# Two fields at least, nothing that must be escaped in a form and is usual in HTML or a line of a log.
_LOOKS_LIKE_A_FORM = re.compile(rb"[A-Za-z_][\w.%\[\]-]*=[^\s<>{}\"&]*(?:&[A-Za-z_][\w.%\[\]-]*=[^\s<>{}\"&]*)+")
_LOOKS_LIKE_PARTS = re.compile(rb"--([\w'()+,./:=?-]{1,70})\r\nContent-Disposition: *form-data;", re.IGNORECASE)
_BOUNDARY = re.compile(r"boundary *= *\"?([\w'()+,./:=?-]{1,70})\"? *(?:;|$)", re.ASCII | re.IGNORECASE)
# What PHP says of a script that goes on (php_error_cb in main/main.c). Its command line shows that by default, and does
# not read the settings that hide it on a site: in the web server's answer it was not.
_REMARK = re.compile(rb"(?:Warning|Notice|Deprecated|Strict Standards): .* on line [0-9]+|", re.ASCII)
_PART_NAMED_METHOD = re.compile(rb"form-data;(?:[^\r\n]*;)? *name=\"?method\"? *(?:[;\r]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class MethodCall:
    """A method and its parameters, as they are posted: `body` in the form that `content_type` names."""

    method: str
    content_type: str
    body: bytes = field(repr=False)


def read_reply(body: bytes, content_type: Optional[str] = None) -> Optional[MethodCall]:
    """The call as read_call; None also for a method that Telegram does not perform from an answer."""
    call = read_call(body, content_type)
    name = "" if call is None else call.method.lower()
    return None if name in _NOT_FROM_HERE or name.startswith("get") else call


def read_call(body: bytes, content_type: Optional[str] = None) -> Optional[MethodCall]:
    """The method call that the whole of `body` is, its parameters byte for byte; None for everything else.

    `content_type` is the header the bot gave, and decides as it does for Telegram. None: it printed on the command line
    and had no way to give one. Then only what can hardly be anything else is a call, because a program may print
    whatever it likes; and lines of PHP's own before or after it do not count. Never raises.
    """
    body = _without_remarks(body) if content_type is None else body.strip()
    if body.startswith(_BOM):
        body = body[len(_BOM) :].lstrip()
    kind = _likely_type(body) if content_type is None else content_type.lower()
    if MULTIPART in kind:
        return _read_parts(body, content_type or kind)
    if FORM in kind:
        return _call(_first_in_form(body), FORM, body)
    if JSON in kind:
        return _call(_first_in_json(body), JSON, body)
    return None


def _call(method: object, content_type: str, body: bytes) -> Optional[MethodCall]:
    is_name = isinstance(method, str) and METHOD_NAME.fullmatch(method)
    return MethodCall(str(method), content_type, body) if is_name else None


def _without_remarks(printed: bytes) -> bytes:
    lines = printed.split(b"\n")
    for _ in range(2):
        while lines and _REMARK.fullmatch(lines[-1].strip()):
            lines.pop()
        lines.reverse()
    return b"\n".join(lines).strip()


def _likely_type(body: bytes) -> str:
    if body.startswith(b"{"):
        return JSON
    parts = _LOOKS_LIKE_PARTS.match(body)
    if parts:
        return f"{MULTIPART}; boundary={parts.group(1).decode('ascii')}"
    return FORM if _LOOKS_LIKE_A_FORM.fullmatch(body) else ""


def _first_in_json(body: bytes) -> object:
    """The value of the first `method` in an object; json's own dict would hold the last one."""
    if not body.startswith(b"{"):
        return None
    try:
        pairs = json.loads(body.decode("utf-8"), object_pairs_hook=list, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return next((value for name, value in pairs if name == "method"), None)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _first_in_form(body: bytes) -> Optional[str]:
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"method":
            return value.decode("ascii", "replace")
    return None


def _read_parts(body: bytes, content_type: str) -> Optional[MethodCall]:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return None
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.group(1).encode("ascii"))[1:]:
        head, _, value = part.partition(b"\r\n\r\n")
        if _PART_NAMED_METHOD.search(head[:MAX_HEAD_BYTES]):
            return _call(value.decode("ascii", "replace"), f'{MULTIPART}; boundary="{boundary.group(1)}"', body)
    return None
