"""The doctor's look at the scripts a web server starts: modes, owners, line ends, first lines, the Python they name.

What suexec refuses is taken from its manual (Apache, suexec.html, "suEXEC Security Model").
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from scalable.lib.pool.find_python import WEB_PATH, Python, ask_python
from scalable.lib.setup.finding import Finding, Verdict, error, ok, warning
from scalable.lib.setup.packages import INSTALL, PACKAGES

WEB_SCRIPTS = ("webhook_queue.py", "dashboard.py", "worker.py")
BOM = b"\xef\xbb\xbf"
OTHERS_MAY_WRITE = 0o022
UPLOAD = "upload it in binary mode and without a BOM"
REMOVE_BOM, REMOVE_CR = r"sed -i '1s/^\xef\xbb\xbf//'", r"sed -i 's/\r$//'"
# Debian, Red Hat, cPanel.
SUEXEC_PLACES = (
    "/usr/lib/apache2/suexec",
    "/usr/sbin/suexec",
    "/usr/local/apache/bin/suexec",
    "/usr/lib64/apache2/suexec",
)


def check_scripts(
    folder: Path, suexec_places: Sequence[str] = SUEXEC_PLACES, web_path: str = WEB_PATH
) -> list[Finding]:
    """What keeps a web server from starting the scripts of `folder`, scalable/, each with the command that helps."""
    suexec = next(filter(os.path.exists, suexec_places), None)
    problems = _writable(folder, suexec) + _owners(folder)
    for name in WEB_SCRIPTS:
        problems += _script(folder / name, suexec)
    problems += _access_file(folder / ".htaccess")
    if not problems:
        state = folder.stat()
        names = ", ".join(WEB_SCRIPTS)
        problems = [ok("scripts", f"{names}: executable, Unix line ends, owner {_owner(state)}, folder {_mode(state)}")]
    return problems + _interpreters(folder, web_path)


def _writable(path: Path, suexec: Optional[str]) -> list[Finding]:
    """suexec refuses what others than the owner may write (its errors 116 and 118)."""
    state = path.stat()
    if not state.st_mode & OTHERS_MAY_WRITE:
        return []
    what = "folder" if path.is_dir() else "file"
    verdict = Verdict.ERROR if suexec or state.st_mode & 0o002 else Verdict.WARNING
    why = "suexec runs no script of it" if path.is_dir() else "suexec does not run it"
    seen = f"{path}, mode {_mode(state)}: others may write this {what}, and {why}"
    return [Finding(verdict, "scripts", seen, f"chmod 755 {_quoted(path)}")]


def _script(path: Path, suexec: Optional[str]) -> list[Finding]:
    try:
        start, state = _start(path), path.stat()
    except FileNotFoundError:
        return [error("scripts", f"{path} is missing", "upload the whole folder scalable/ again")]
    except OSError as problem:
        return [error("scripts", f"{path} cannot be read ({problem.strerror})", f"chmod 755 {_quoted(path)}")]
    problems = _writable(path, suexec)
    if not state.st_mode & stat.S_IXUSR:
        seen = f"{path}, mode {_mode(state)}: not executable, so a web server cannot start it"
        problems.append(error("scripts", seen, f"chmod 755 {_quoted(path)}"))
    if start.startswith(BOM):
        seen = f"{path} begins with a byte order mark (BOM), so the system does not know it for a script"
        problems.append(error("scripts", seen, f"{UPLOAD}, or: {REMOVE_BOM} {_quoted(path)}"))
    if b"\r\n" in start:
        seen = f"{path} has Windows line ends (CRLF), so the system looks for a program 'python3\\r'"
        problems.append(error("scripts", seen, f"{UPLOAD}, or: {REMOVE_CR} {_quoted(path)}"))
    return problems


def _owners(folder: Path) -> list[Finding]:
    """suexec runs a script only as its owner, who has to own the folder, too."""
    state = folder.stat()
    strangers = [
        name for name in WEB_SCRIPTS if (folder / name).exists() and (folder / name).stat().st_uid != state.st_uid
    ]
    if strangers:
        seen = f"{', '.join(strangers)}: of another owner than the folder ({_owner(state)}), which suexec refuses"
        return [error("scripts", seen, "upload them again as that user")]
    if state.st_uid != os.geteuid():
        seen = f"{folder} belongs to {_owner(state)}, and this is {_name(os.geteuid())}"
        return [warning("scripts", seen, "run the web scripts, cron and this check as the same user")]
    return []


def _access_file(path: Path) -> list[Finding]:
    try:
        start = _start(path)
    except OSError:
        seen = f"{path} is missing or cannot be read: Apache then shows files that should stay private"
        return [warning("scripts", seen, "upload it; file managers hide names that begin with a dot")]
    if start.startswith(BOM):
        seen = f"{path} begins with a byte order mark (BOM), which Apache answers with 500"
        return [error("scripts", seen, f"{REMOVE_BOM} {_quoted(path)}")]
    return []


def _interpreters(folder: Path, web_path: str) -> list[Finding]:
    """One line for each interpreter that a first line names."""
    named: dict[str, list[str]] = {}
    for name in WEB_SCRIPTS:
        try:
            named.setdefault(_first_line(_start(folder / name)), []).append(name)
        except OSError:
            continue  # told above
    return [_interpreter(line, ", ".join(names), folder, web_path) for line, names in named.items()]


def _interpreter(line: str, names: str, folder: Path, web_path: str) -> Finding:
    better = f"make the first line of {names} #!{sys.executable}"
    path = _program(line, web_path)
    if path is None:
        return error("interpreter", f"the web server finds no program for {line!r}, the first line of {names}", better)
    python = ask_python(path, str(folder / "vendor"), tuple(PACKAGES), _options(line))
    if python is None:
        return error("interpreter", f"{line!r} of {names}: {path} is no Python that runs", better)
    return _judge(python, names, better)


def _judge(python: Python, names: str, better: str) -> Finding:
    seen = f"Python {python.version_text} at {python.path} runs {names}"
    if not python.is_new_enough:
        return error("interpreter", f"{seen}; 3.9 or newer is needed", better)
    if python.missing:
        packages = ", ".join(PACKAGES[name] for name in python.missing)
        return warning("interpreter", f"{seen}, as a CGI script, and has no {packages}", INSTALL)
    return ok("interpreter", seen)


def _program(line: str, web_path: str) -> Optional[str]:
    """The program that a first line starts, as a web server with a short PATH finds it."""
    words = line[2:].split() if line.startswith("#!") else []
    if not words:
        return None
    if os.path.basename(words[0]) == "env":
        asked = [word for word in words[1:] if not word.startswith("-")]
        return shutil.which(asked[0], path=web_path) if asked else None
    return words[0] if os.access(words[0], os.X_OK) else None


def _options(line: str) -> list[str]:
    """What the program gets before the script's name: all the rest of the line, as one word (execve(2))."""
    program, _, rest = line[2:].strip().partition(" ")
    return [rest.strip()] if rest.strip() and os.path.basename(program) != "env" else []


def _first_line(start: bytes) -> str:
    return start[len(BOM) if start.startswith(BOM) else 0 :].split(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4096)


def _mode(state: os.stat_result) -> str:
    return f"{stat.S_IMODE(state.st_mode):o}"


def _owner(state: os.stat_result) -> str:
    return _name(state.st_uid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user of the kernel's only, as containers have them
        return f"user {uid}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
