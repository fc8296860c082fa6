"""Makes the scripts start where a web server runs them: first line, line ends, modes. Source: suexec's own checks.

What is right already is not touched, and the owner's own choice of an interpreter that is there is kept.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scalable.lib.pool.find_python import WEB_PATH
from scalable.lib.setup.finding import Finding, Verdict

SCRIPTS = ("webhook_queue.py", "dashboard.py", "passenger_wsgi.py", "worker.py", "worker_pool.py", "config.py")
USUAL = "#!/usr/bin/env python3"
# Python starts in two thirds of the time, because it does not look for packages: lib/start.py does, when it needs some.
SOONER = "-S"
# The kernel reads no further (Linux, binfmt_script before 5.1).
MAX_FIRST_LINE = 127
_BOM = b"\xef\xbb\xbf"
_PUBLIC = (".htaccess",)
_OTHERS_MAY_WRITE = 0o022


def prepare_scripts(folder: Path, python: str = sys.executable, web_path: str = WEB_PATH) -> list[Finding]:
    """Put scripts and modes below `folder` in order; a line for each thing that was changed or could not be.

    `python`: the interpreter that is known to be good, because it runs this.
    """
    findings = []
    for name in SCRIPTS:
        findings += _attempt(name, partial(_repair, folder / name, python, web_path))
    for path, mode in _wanted_modes(folder):
        findings += _attempt(os.path.relpath(path, folder.parent), partial(_set_mode, path, mode))
    return findings


def first_line(current: str, python: str, web_path: str = WEB_PATH) -> str:
    """The first line a script should have, whose first line is `current`."""
    chosen = current[2:].strip().split(" ")[0] if current.startswith("#!") else ""
    if chosen and os.path.basename(chosen) != "env" and os.access(chosen, os.X_OK):
        return current
    found = shutil.which("python3", path=web_path)
    if found is not None and os.path.realpath(found) == os.path.realpath(python) and not _is_virtual(python):
        python = found  # that name stays when the host renews its Python
    line = f"#!{python} {SOONER}"
    return USUAL if " " in python or len(line) > MAX_FIRST_LINE else line


def _is_virtual(python: str) -> bool:
    """Whether it is that of a virtual environment, which has the same program as its base, and other packages."""
    return os.path.exists(os.path.join(os.path.dirname(os.path.dirname(python)), "pyvenv.cfg"))


def _attempt(name: str, change: Callable[[], str]) -> list[Finding]:
    try:
        said = change()
    except OSError as error:
        return [Finding(Verdict.ERROR, "scripts", f"{name}: cannot be changed ({error.strerror}); do it as its owner")]
    return [Finding(Verdict.OK, "scripts", f"{name}: {said}")] if said else []


def _repair(path: Path, python: str, web_path: str) -> str:
    content = path.read_bytes()
    text = content.removeprefix(_BOM).replace(b"\r\n", b"\n")
    current, _, rest = text.partition(b"\n")
    line = first_line(os.fsdecode(current), python, web_path)
    repaired = os.fsencode(line) + b"\n" + rest
    if repaired == content:
        return ""
    mode = stat.S_IMODE(path.stat().st_mode)
    temporary = path.with_name(f".ht-{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(repaired)
        temporary.chmod(mode)
        os.replace(temporary, path)  # at once: the web server may be starting it just now
    finally:
        temporary.unlink(missing_ok=True)
    return f"the first line is {line} now" if os.fsencode(line) != current else "has Unix line ends now"


def _wanted_modes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Files and folders with the mode they should have: scripts 755, and nothing that others may write."""
    yield folder, _mode(folder) & ~_OTHERS_MAY_WRITE | 0o755
    for root, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(root, name)
            if path.is_symlink():
                continue
            mode = _mode(path) & ~_OTHERS_MAY_WRITE
            if path.parent == folder and name in SCRIPTS:
                mode |= 0o755
            if path.parent == folder and name in _PUBLIC:
                mode |= 0o644
            yield path, mode


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _set_mode(path: Path, wanted: int) -> str:
    seen = _mode(path)
    if seen == wanted:
        return ""
    path.chmod(wanted)
    return f"mode {wanted:o} instead of {seen:o}"
