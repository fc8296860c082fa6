"""Finds a Python program to start our scripts with, and asks one what it is.

A web server that embeds Python does not count as one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.usual_path import USUAL_PATH

CHECK_SECONDS = 10.0
# For any Python from 2.6 on: prints its version, and which of the modules named by the arguments it lacks.
ASK = """
import sys
missing = []
if sys.version_info >= (3, 4):
    from importlib.util import find_spec
    if sys.flags.no_site:
        import site
        site.main()
    sys.path.insert(0, sys.argv[1])
    missing = [name for name in sys.argv[2:] if find_spec(name) is None]
sys.stdout.write("%d.%d.%d %s" % (tuple(sys.version_info[:3]) + (",".join(missing),)))
"""
# Where a web server looks for `python3` (suexec's AP_SAFE_PATH); a login shell may look elsewhere first.
WEB_PATH = USUAL_PATH
WEB_ENVIRONMENT = {"PATH": WEB_PATH}


@dataclass(frozen=True)
class Python:
    """A Python program that was asked: its version, and the modules it lacks."""

    path: str
    version: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def is_new_enough(self) -> bool:
        """Whether it can run this project."""
        return self.version >= (3, 9)

    @property
    def version_text(self) -> str:
        """Such as `3.11.2`."""
        return ".".join(str(number) for number in self.version)


def ask_python(
    path: str,
    vendor: str = "",
    modules: Sequence[str] = (),
    options: Sequence[str] = (),
    environment: Optional[Mapping[str, str]] = WEB_ENVIRONMENT,
) -> Optional[Python]:
    """What the program at `path` is, with the folder `vendor` before its own packages; None when it is no Python.

    `options` are those it is started with; some keep it from finding packages. `environment`: None is that of this
    process.
    """
    try:
        done = subprocess.run(
            [path, *options, "-c", ASK, vendor, *modules],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            timeout=CHECK_SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+) ([\w,]*)", done.stdout)
    if found is None:
        return None
    missing = tuple(name for name in found.group(4).split(",") if name)
    return Python(path, tuple(int(number) for number in found.groups()[:3]), missing)


def find_python(
    executable: str = sys.executable, prefixes: Sequence[str] = (sys.exec_prefix, sys.base_exec_prefix)
) -> str:
    """The path of a Python that runs: this very one, or one of the installation this process uses (`prefixes`).

    With mod_wsgi, uWSGI and LiteSpeed, sys.executable is the server or empty. Raises ConfigurationError.
    """
    if re.fullmatch(r"python[0-9.]*", os.path.basename(executable)) and os.access(executable, os.X_OK):
        return executable
    names = (
        f"python{sys.version_info[0]}.{sys.version_info[1]}",
        "python3",
        "python",
    )  # the packages are of this version
    for candidate in [os.path.join(prefix, "bin", name) for prefix in dict.fromkeys(prefixes) for name in names]:
        python = ask_python(candidate, environment=None) if os.access(candidate, os.X_OK) else None
        if python is not None and python.is_new_enough:
            return candidate
    raise ConfigurationError(
        f"no Python program found: this process is {executable or 'without a name'}, and there is none in "
        f"{' or '.join(os.path.join(prefix, 'bin') for prefix in dict.fromkeys(prefixes))}"
    )
