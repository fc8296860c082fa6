"""Compares the installed files with those of the release: an upload may stop half-way, or change line ends.

A copy of the project's own folder has no list of files, and is not compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.script_repair import USUAL

SUMS = "SHA256SUMS"
_EDITED_BY_OWNER = (".htaccess",)
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_SHOWN = 5
_UPLOAD_AGAIN = "upload the release again, as binary files"


def check_files(folder: Path) -> list[Finding]:
    """What differs below `folder`, which is scalable/; nothing where there is no list."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as problem:
        return [warning("files", f"{folder / SUMS}: cannot be read ({problem})")]
    states = [(_state(folder, name, expected), name) for expected, name in _listed(lines)]
    findings = [
        _finding(state, [name for seen, name in states if seen == state])
        for state in ("missing", "changed", "line ends")
        if any(seen == state for seen, _ in states)
    ]
    return findings or [ok("files", f"{len(states)}, all as released")]


def _listed(lines: list[str]) -> Iterator[tuple[str, str]]:
    found = [_LINE.fullmatch(line) for line in lines]
    return ((line.group(1), line.group(2)) for line in found if line is not None)


def _state(folder: Path, name: str, expected: str) -> str:
    """One of missing, changed, line ends, and an empty text for a file that is as it should be."""
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return "missing"
    if _hash(content) == expected or _hash(_with_usual_first_line(content)) == expected or name in _EDITED_BY_OWNER:
        return ""
    is_same_text = _hash(_with_usual_first_line(content.replace(b"\r\n", b"\n"))) == expected
    return "line ends" if is_same_text else "changed"


def _with_usual_first_line(content: bytes) -> bytes:
    """Each script's first line names the interpreter of this machine."""
    first, _, rest = content.partition(b"\n")
    return USUAL.encode() + b"\n" + rest if first.startswith(b"#!") else content


def _finding(state: str, names: list[str]) -> Finding:
    ours = [name for name in names if not name.startswith("vendor/")]
    shown = ", ".join((ours or names)[:_SHOWN]) + (" …" if len(ours or names) > _SHOWN else "")
    if state == "missing":
        problem = error if ours else warning
        return problem("files", f"{len(names)} of the release not there ({shown}): {_UPLOAD_AGAIN}")
    if state == "line ends":
        return warning("files", f"{len(names)} with other line ends ({shown}): {_UPLOAD_AGAIN}")
    seen = f"{len(names)} other than in the release ({shown})"
    return warning("files", f"{seen}: fine if you changed them; if not, {_UPLOAD_AGAIN}")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
