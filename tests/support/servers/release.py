"""The release as an owner gets it: built by its own command, unpacked in the home of a user without rights.

And Pythons with nothing but their own library, in a place that user may enter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import WEB_USER
from tests.support.servers.database_servers import find_python

WHEELS = REPOSITORY / ".cache" / "wheels"
# What was compiled is copied: the owner may not write there, so each of his processes would compile the library anew.
_NOT_COPIED = shutil.ignore_patterns(
    "*.opt-?.pyc",
    "site-packages",
    "test",
    "tests",
    "config-*",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "turtledemo",
)
WHERE_IT_LIVES = (
    "import sys, sysconfig; print(sys.base_prefix); print(sysconfig.get_config_var('LDLIBRARY')); "
    "print(sysconfig.get_config_var('VERSION'))"
)


def build_release(folder: Path, **environment: str) -> Path:
    """The zip that `make dist` makes."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / "dist.py"), "--to", str(folder), "--wheels", str(WHEELS)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder.parent,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.zip")
    return path


def as_owner(command: list[str]) -> list[str]:
    """The command, run by the user a web site belongs to where the tests run as root."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={WEB_USER}", f"--regid={WEB_USER}", "--clear-groups", "--", *command]


def unpack(release: Path, site: Path, umask: int = 0o022) -> Path:
    """`scalable/` inside `site`, unpacked by that user with the usual program."""
    need(None if shutil.which("unzip") else "unzip is not installed: python3 tests/install.py")
    if os.geteuid() == 0:
        shutil.chown(site, WEB_USER, WEB_USER)
    copy = site.parent / release.name
    shutil.copyfile(release, copy)
    copy.chmod(0o644)
    subprocess.run(as_owner(["sh", "-c", f"umask {umask:03o} && unzip -q -o {copy} -d {site}"]), check=True, timeout=60)
    return site / "scalable"


def bare_python(version: str, folder: Path) -> str:
    """The path of a Python without site-packages, below `folder`; skips the test where the version is not there."""
    found = find_python(version)
    need(None if found else f"Python {version} is not installed")
    asked = subprocess.run([*(found or []), "-c", WHERE_IT_LIVES], capture_output=True, text=True, check=True)
    prefix, library, number = asked.stdout.split()
    copy = folder / f"python{number}"
    if not copy.exists():
        (copy / "bin").mkdir(parents=True)
        shutil.copy(Path(prefix) / "bin" / f"python{number}", copy / "bin" / f"python{number}")
        shutil.copytree(Path(prefix) / "lib" / f"python{number}", copy / "lib" / f"python{number}", ignore=_NOT_COPIED)
        for shared in (Path(prefix) / "lib").glob(f"{library}*"):
            shutil.copy(shared, copy / "lib" / shared.name)
    return str(copy / "bin" / f"python{number}")
