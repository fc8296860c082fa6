"""Repairs what keeps a web server from starting the scripts: first line, line ends, modes. Rules: suexec's manual.

What is right already is not touched, and the owner's own choice of an interpreter that is there is kept.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scalable.lib.pool.find_python import WEB_PATH
from scalable.lib.setup.files import mode_of, user_name, write_file
from scalable.lib.setup.finding import Finding, error, ok
from scalable.lib.setup.script_check import OTHERS_MAY_WRITE, is_kept

SCRIPTS = ("webhook_queue.py", "dashboard.py", "passenger_wsgi.py", "worker.py", "worker_pool.py", "config.py")
# As released.
USUAL = "#!/usr/bin/env python3"
# Python starts in two thirds of the time, because it does not look for packages: lib/start.py does, when it needs some.
WITHOUT_SITE = "-S"
# The kernel reads no further (Linux, binfmt_script before 5.1).
MAX_FIRST_LINE = 127
_PUBLIC = (".htaccess",)
# Folders of modules: what is executable there could be run by a web server that ignores .htaccess.
_MODULES = ("lib", "vendor")


def repair_scripts(folder: Path, python: str = sys.executable, web_path: str = WEB_PATH) -> list[Finding]:
    """A line for each thing below `folder`, scalable/, that was changed or could not be. Safe to repeat.

    `python`: the interpreter to name in first lines; the default works, because it runs this.
    """
    findings = []
    for name in SCRIPTS:
        findings += _attempt(name, partial(_repair, folder / name, python, web_path))
    for path, mode in _wanted_modes(folder):
        is_code = not is_kept(path.relative_to(folder))
        findings += _attempt(os.path.relpath(path, folder.parent), partial(_set_mode, path, mode, is_code))
    return findings


def first_line(current: str, python: str, web_path: str = WEB_PATH) -> str:
    """The first line a script should have, whose first line is `current`."""
    chosen = current[2:].strip().split(" ")[0] if current.startswith("#!") else ""
    if chosen and os.path.basename(chosen) != "env" and os.access(chosen, os.X_OK):
        return current
    found = shutil.which("python3", path=web_path)
    if found is not None and os.path.realpath(found) == os.path.realpath(python) and not _is_virtual(python):
        python = found  # the path that stays valid when the host updates its Python
    line = f"#!{python} {WITHOUT_SITE}"
    return USUAL if " " in python or len(line) > MAX_FIRST_LINE else line


def _is_virtual(python: str) -> bool:
    """Whether it belongs to a virtual environment: the same program as its base, with other packages."""
    return os.path.exists(os.path.join(os.path.dirname(os.path.dirname(python)), "pyvenv.cfg"))


def _attempt(name: str, change: Callable[[], str]) -> list[Finding]:
    try:
        said = change()
    except OSError as problem:
        return [error("scripts", f"{name}: cannot be changed ({problem.strerror})", "do it as its owner")]
    return [ok("scripts", f"{name}: {said}")] if said else []


def _repair(path: Path, python: str, web_path: str) -> str:
    owner = path.lstat().st_uid
    if owner not in (0, os.geteuid()):  # it would become ours, with whatever is in it
        raise PermissionError(errno.EPERM, f"it belongs to {user_name(owner)}")
    content = path.read_bytes()
    text = content.removeprefix(BOM_UTF8).replace(b"\r\n", b"\n")
    current, _, rest = text.partition(b"\n")
    line = first_line(os.fsdecode(current), python, web_path)
    repaired = os.fsencode(line) + b"\n" + rest
    if repaired == content:
        return ""
    write_file(path, repaired, mode_of(path))  # as a whole: the web server may be starting it just now
    return f"the first line is {line} now" if os.fsencode(line) != current else "has Unix line ends now"


def _wanted_modes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files and folders with the mode they should have: scripts 755, modules not executable, others may write none."""
    yield folder, mode_of(folder) & ~OTHERS_MAY_WRITE | 0o755
    for root, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(root, name)
            if path.is_symlink():
                continue
            mode = mode_of(path) & ~OTHERS_MAY_WRITE
            if path.parent == folder and name in SCRIPTS:
                mode |= 0o755
            if path.parent == folder and name in _PUBLIC:
                mode |= 0o644
            if name in files and path.relative_to(folder).parts[0] in _MODULES:
                mode &= ~0o111
            yield path, mode


def _set_mode(path: Path, wanted: int, is_code: bool) -> str:
    """A file of code that others could write is made anew: who opened it before can write it as long as it is there."""
    seen = mode_of(path)
    if seen == wanted:
        return ""
    if is_code and path.is_file() and seen & OTHERS_MAY_WRITE:
        write_file(path, path.read_bytes(), wanted)
        return f"mode {wanted:o} instead of {seen:o}, and written anew"
    path.chmod(wanted)
    return f"mode {wanted:o} instead of {seen:o}"
