"""Checks the scripts a web server starts: modes, owners, line ends, first lines, the Python they name.

What suexec refuses is taken from its manual (Apache, suexec.html, "suEXEC Security Model").
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from scalable.lib.pool.find_python import WEB_PATH, Python, ask_python
from scalable.lib.setup.files import mode_of, read_start, user_name
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.packages import INSTALL, PACKAGES

WEB_SCRIPTS = ("webhook_queue.py", "dashboard.py", "worker.py")
OTHERS_MAY_WRITE = 0o022
START_BYTES = 4096
# Names of the data folder and the like; of files with such a name these two are read by us or the web server.
KEPT, READ = ".ht", (".htaccess", ".htenv")
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
    """What keeps a web server from starting the scripts of `folder`, scalable/, each with a command that helps."""
    suexec = next(filter(os.path.exists, suexec_places), None)
    problems = _writable(folder, suexec) + _owners(folder) + _below(folder)
    for name in WEB_SCRIPTS:
        problems += _script(folder / name, suexec)
    problems += _access_file(folder / ".htaccess") + _executable_modules(folder)
    if not problems:
        seen = f"executable, Unix line ends, owner {_user(folder.stat().st_uid)}, folder {mode_of(folder):o}"
        problems = [ok("scripts", f"{', '.join(WEB_SCRIPTS)}: {seen}")]
    return problems + _interpreters(folder, web_path)


def _writable(path: Path, suexec: Optional[str]) -> list[Finding]:
    """suexec refuses what others than the owner may write (its errors 116 and 118)."""
    mode = mode_of(path)
    if not mode & OTHERS_MAY_WRITE:
        return []
    what, why = ("folder", "suexec runs no script of it") if path.is_dir() else ("file", "suexec does not run it")
    problem = error if suexec or mode & 0o002 else warning
    seen = f"{path}, mode {mode:o}: others may write this {what}, and {why}"
    return [problem("scripts", seen, f"chmod 755 {_quoted(path)}")]


def _below(folder: Path) -> list[Finding]:
    """Code below that others may write or have written, such as what Python compiled under an open umask."""
    problems, trusted = [], {0, os.geteuid(), folder.stat().st_uid}
    found = {path: path.lstat() for path in _code_below(folder)}
    told_elsewhere = {folder / name for name in (*WEB_SCRIPTS, ".htenv")}
    open_ones = [
        path
        for path, state in found.items()
        if state.st_mode & OTHERS_MAY_WRITE and not stat.S_ISLNK(state.st_mode) and path not in told_elsewhere
    ]
    if open_ones:
        seen = f"{open_ones[0]}{_and_more(open_ones)}: others may write here, and so run code of theirs"
        problems.append(error("scripts", seen, f"chmod -R go-w {_quoted(folder)}"))
    strangers = {path: user for path, state in found.items() for user in _owners_of(path, state) if user not in trusted}
    foreign = list(strangers)
    if foreign:
        seen = f"{foreign[0]}{_and_more(foreign)}: belongs to {_user(strangers[foreign[0]])}, who can change this code"
        problems.append(error("scripts", seen, f"look at it; then delete {_quoted(folder)} and upload it again"))
    return problems


def _code_below(folder: Path) -> Iterator[Path]:
    """All that a web server, PHP or Python may run or read of the folder. Not what is kept in it."""
    for path in sorted(folder.iterdir()):
        if is_kept(path.relative_to(folder)):
            continue
        yield path
        for root, folders, files in os.walk(path):  # no link is followed
            yield from (Path(root, name) for name in sorted([*folders, *files]))


def is_kept(path: Path) -> bool:
    """Whether it is of what an installation keeps, and no code; `path` from scalable/ on."""
    first = path.parts[0] if path.parts else ""
    return first.startswith(KEPT) and first not in READ


def _owners_of(path: Path, state: os.stat_result) -> Iterator[int]:
    """Who made it; of a link also those who may put something else where it leads, by owning it or a folder above."""
    yield state.st_uid
    if stat.S_ISLNK(state.st_mode) and path.exists():
        target = path.resolve()
        yield from (place.stat().st_uid for place in (target, *target.parents))


def _and_more(paths: Sequence[Path]) -> str:
    return f" and {len(paths) - 1} more" if len(paths) > 1 else ""


def _script(path: Path, suexec: Optional[str]) -> list[Finding]:
    try:
        start, mode = read_start(path, START_BYTES), mode_of(path)
    except FileNotFoundError:
        return [error("scripts", f"{path} is missing", "upload the whole folder scalable/ again")]
    except OSError as problem:
        return [error("scripts", f"{path} cannot be read ({problem.strerror})", f"chmod 755 {_quoted(path)}")]
    problems = _writable(path, suexec)
    if not mode & stat.S_IXUSR:
        seen = f"{path}, mode {mode:o}: not executable, so a web server cannot start it"
        problems.append(error("scripts", seen, f"chmod 755 {_quoted(path)}"))
    if start.startswith(BOM_UTF8):
        seen = f"{path} begins with a byte order mark (BOM), so the system does not know it for a script"
        problems.append(error("scripts", seen, f"{UPLOAD}, or: {REMOVE_BOM} {_quoted(path)}"))
    if b"\r\n" in start:
        seen = f"{path} has Windows line ends (CRLF), so the system looks for a program 'python3\\r'"
        problems.append(error("scripts", seen, f"{UPLOAD}, or: {REMOVE_CR} {_quoted(path)}"))
    return problems


def _owners(folder: Path) -> list[Finding]:
    """suexec runs a script only as its owner, who has to own the folder, too."""
    owner = folder.stat().st_uid
    scripts = [folder / name for name in WEB_SCRIPTS]
    others = [script.name for script in scripts if script.exists() and script.stat().st_uid != owner]
    if others:
        seen = f"{', '.join(others)}: of another owner than the folder ({_user(owner)}), which suexec refuses"
        return [error("scripts", seen, "upload them again as that user")]
    if owner != os.geteuid():
        seen = f"{folder} belongs to {_user(owner)}, and this is {_user(os.geteuid())}"
        return [warning("scripts", seen, "run the web scripts, cron and this check as the same user")]
    return []


def _access_file(path: Path) -> list[Finding]:
    try:
        start = read_start(path, START_BYTES)
    except OSError:
        seen = f"{path} is missing or cannot be read: Apache then shows files that should stay private"
        return [warning("scripts", seen, "upload it; file managers hide names that begin with a dot")]
    if start.startswith(BOM_UTF8):
        seen = f"{path} begins with a byte order mark (BOM), which Apache answers with 500"
        return [error("scripts", seen, f"{REMOVE_BOM} {_quoted(path)}")]
    return []


def _executable_modules(folder: Path) -> list[Finding]:
    """Programs that pip puts beside the packages: one of them runs whatever its arguments name."""
    places = [path for path in (folder / "lib", folder / "vendor") if path.is_dir()]
    found = [path for place in places for path in place.rglob("*") if path.is_file() and mode_of(path) & 0o111]
    if not found:
        return []
    seen = f"{found[0]} is executable ({len(found)} in all): where .htaccess is ignored, a web server may run it"
    return [warning("scripts", seen, "python3 scalable/config.py init")]


def _interpreters(folder: Path, web_path: str) -> list[Finding]:
    """One line for each interpreter that a first line names."""
    named: dict[str, list[str]] = {}
    for name in WEB_SCRIPTS:
        try:
            named.setdefault(_first_line(read_start(folder / name, START_BYTES)), []).append(name)
        except OSError:
            continue  # reported by _script
    return [_interpreter(line, ", ".join(names), folder, web_path) for line, names in named.items()]


def _interpreter(line: str, names: str, folder: Path, web_path: str) -> Finding:
    better = f"make the first line of {names} #!{sys.executable}"
    path = _program(line, web_path)
    if path is None:
        return error("interpreter", f"the web server finds no program for {line!r}, the first line of {names}", better)
    python = ask_python(path, str(folder / "vendor"), tuple(PACKAGES), _options(line))
    if python is None:
        return error("interpreter", f"{line!r} of {names}: {path} is no Python that runs", better)
    return _interpreter_found(python, names, better)


def _interpreter_found(python: Python, names: str, better: str) -> Finding:
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
    return start.removeprefix(BOM_UTF8).split(b"\n")[0].rstrip(b"\r").decode("utf-8", "replace")


def _user(user_id: int) -> str:
    return user_name(user_id, prefix_of_number="user ")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
