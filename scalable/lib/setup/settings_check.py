"""Checks where settings come from: what reaches the shell may not reach the web server, or cron.

suexec passes on a fixed list of variables (Apache, suexec.html); cron passes on nearly none (crontab(5)).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from scalable.lib.setup.files import mode_of, read_start, user_name, write_file
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.settings import Reading

SHELL, WEB = "shell", "web"
_SEEN_BY = {SHELL: "this shell", WEB: "this web server"}
_SET_ENV = re.compile(rb"^[ \t]*(?:SetEnv|PassEnv)[ \t]+(BOT_\w+)", re.MULTILINE | re.IGNORECASE)
MAX_ACCESS_FILE_BYTES = 1024 * 1024
INTO_THE_FILE = "write it into the settings file, which reaches the web server, cron and the shell alike"


def check_settings_file(path: Path) -> Finding:
    """Whether it is private."""
    if not path.exists():
        return ok("settings file", f"none at {path}: environment and defaults only")
    mode, owner = mode_of(path), path.stat().st_uid
    if owner not in (0, os.geteuid(), path.parent.stat().st_uid):
        seen = f"{path}: belongs to {user_name(owner)}, who chooses by it what is run as you"
        return error("settings file", seen, f"look through it; then: cp {path} {path}.own && mv {path}.own {path}")
    if mode & 0o022:
        seen = f"{path}, mode {mode:o}: others may write it, and so choose what is run as you"
        return error("settings file", seen, f"look through it, and: chmod 600 {path}")
    if mode & 0o077:
        return warning("settings file", f"{path}, mode {mode:o}: others may read it", f"chmod 600 {path}")
    return ok("settings file", f"{path}, mode {mode:o}")


def check_environment(readings: Sequence[Reading], folder: Path, side: str) -> list[Finding]:
    """Settings of the environment, and those of a SetEnv line above `folder` that do not arrive."""
    source = {reading.setting.name: reading.source for reading in readings}
    here = [name for name, where in source.items() if where == "environment" and name != "BOT_CONFIG"]
    findings = []
    if here:
        seen = f"{', '.join(here)}: from the environment of {_SEEN_BY[side]}, which others may not have"
        findings.append(warning("settings", seen, INTO_THE_FILE))
    for name, place in _set_by_apache(folder).items():
        if source.get(name) in ("default", "file"):
            findings.append(_lost(name, place, source[name], side))
    return findings


def _lost(name: str, place: Path, source: str, side: str) -> Finding:
    why = "suexec takes such variables away" if side == WEB else "a shell and cron never see it"
    seen = f"SetEnv {name} in {place} does not reach {_SEEN_BY[side]} ({why}); the {source} counts"
    problem = error if source == "default" else warning
    return problem("settings", seen, f"take that line away, and {INTO_THE_FILE}")


def _set_by_apache(folder: Path) -> dict[str, Path]:
    """Names that SetEnv lines set for this folder, and the file each is in."""
    found: dict[str, Path] = {}
    for parent in [folder, *list(folder.parents)[:5]]:
        path = parent / ".htaccess"
        try:
            content = read_start(path, MAX_ACCESS_FILE_BYTES)
        except OSError:
            continue  # there is none, or this user may not read it
        for name in _SET_ENV.findall(content):
            found.setdefault(name.decode(), path)
    return found


def check_other_side(readings: Sequence[Reading], folder: Path, secret: bytes, side: str) -> list[Finding]:
    """Settings that differ between the web server and the shell, each as it was when the checks last ran there.

    Each side leaves a note in the data folder `folder`, a keyed digest of every value, so that it holds no secret.
    Raises OSError when the note cannot be written.
    """
    mine = {reading.setting.name: _digest(secret, reading) for reading in readings}
    write_file(folder / f".ht-settings-{side}", json.dumps(mine).encode())
    other = WEB if side == SHELL else SHELL
    theirs = _read(folder / f".ht-settings-{other}")
    differing = [name for name, digest in mine.items() if name in theirs and theirs[name] != digest]
    if not differing:
        return []
    who = {WEB: "the web server, when its doctor page was last opened,", SHELL: "the shell, when this last ran there,"}
    return [warning("settings", f"{', '.join(differing)}: {who[other]} had another value", INTO_THE_FILE)]


def _digest(secret: bytes, reading: Reading) -> str:
    return hmac.new(secret, f"{reading.setting.name}={reading.text}".encode(), hashlib.sha256).hexdigest()[:16]


def _read(path: Path) -> dict[str, str]:
    """The note of the other side; empty when there is none, or when it cannot be read."""
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
