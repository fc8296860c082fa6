"""Reads how a script ended from what PHP wrote to standard error: the reports of prelude.php, taken out of the rest.

A report has the key of its run, which nobody knows but the worker and the prelude. No other text decides anything.
"""

from __future__ import annotations

import re
import secrets
from typing import Optional
from urllib.parse import parse_qsl

from scalable.lib.captured_output import CapturedOutput
from scalable.lib.runners.run_result import ScriptEnd, joined

# Longer than any report: what is longer is no report, or was torn by what another process wrote meanwhile.
MAX_BYTES = 16384
# PHP's own names of the types of errors after which a script does not go on.
_TYPES = {"4": "parse error", "4096": "recoverable fatal error"}


def new_key() -> str:
    """A key for one run."""
    return secrets.token_hex(16)


class ReportedOutput(CapturedOutput):
    """What a PHP with the prelude writes to standard error; `report` is what it said of the run, None: nothing.

    `has_answered`: the script told PHP that its answer is whole, which is a success; it may work on.
    `flush` when nothing more comes: until then the beginning of a report is held back.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.report: Optional[ScriptEnd] = None
        self.has_answered = False
        self._begin = f"[{key}:".encode()
        # PHP-FPM writes words of its own before what a script logs.
        self._whole = re.compile(rb"(?:(?:; )?PHP message: )?\[%b:([\w%%&=.~-]*)\]\n?" % key.encode())
        self._held = b""
        self._is_in_line = False  # the end of the line of a report is still to come

    def add(self, chunk: bytes) -> None:
        """See CapturedOutput.add."""
        if self._is_in_line and chunk:
            chunk, self._is_in_line = chunk[chunk.startswith(b"\n") :], False
        text = self._whole.sub(self._read, self._held + chunk)
        at = self._held_from(text)
        self._held = text[at:]
        super().add(text[:at])

    def flush(self) -> None:
        """Add what was held back."""
        held, self._held = self._held, b""
        super().add(held)

    def warnings(self) -> str:
        """What was written for the operator of the script, its reports left out, and what they say that it logged."""
        self.flush()
        return joined((self.text(), self.report.logged if self.report else ""))

    def _held_from(self, text: bytes) -> int:
        """Where a report may begin that has not come to its end."""
        found = text.rfind(self._begin)
        if found >= 0 and len(text) - found < MAX_BYTES:
            return found
        tail = text[-len(self._begin) + 1 :]
        at = tail.rfind(b"[")
        is_start = at >= 0 and self._begin.startswith(tail[at:])
        return len(text) - len(tail) + at if is_start else len(text)

    def _read(self, found: re.Match[bytes]) -> bytes:
        self._is_in_line = not found.group().endswith(b"\n") and found.end() == len(found.string)
        fields = dict(parse_qsl(found.group(1).decode("ascii"), keep_blank_values=True, errors="replace"))
        last = self.report or ScriptEnd()
        status = fields.get("status", "")
        self.has_answered |= fields.get("end") == "answered" and status[:1] in ("", "2")
        self.report = ScriptEnd(
            last.fatal_error or _fatal_error(fields),
            int(status) if status.isdigit() else last.status,
            fields.get("log", last.logged).strip(),
        )
        return b""


def _fatal_error(fields: dict[str, str]) -> str:
    if fields.get("end") != "fatal":
        return ""
    text, place = fields.get("text", ""), fields.get("file", "")
    kind = _TYPES.get(fields.get("type", ""), "fatal error")
    named = text if place in text else f"{text} in {place}:{fields.get('line', '')}"
    return f"PHP {kind}: {named}"
