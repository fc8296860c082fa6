"""Finds a Python program to start our scripts with. A web server that runs Python inside itself is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

from scalable.lib.errors import ConfigurationError

CHECK = "import sys; sys.exit(sys.version_info < (3, 9))"
CHECK_SECONDS = 10.0


def find_python(
    executable: str = sys.executable, prefixes: Sequence[str] = (sys.exec_prefix, sys.base_exec_prefix)
) -> str:
    """The path of a Python that runs: this very one, or one of the installation this process uses (`prefixes`).

    mod_wsgi, uWSGI and LiteSpeed name themselves, or nothing, as sys.executable. Raises ConfigurationError.
    """
    if re.fullmatch(r"python[0-9.]*", os.path.basename(executable)) and os.access(executable, os.X_OK):
        return executable
    for candidate in _candidates(prefixes):
        if os.access(candidate, os.X_OK) and _works(candidate):
            return candidate
    raise ConfigurationError(
        f"no Python program found: this process is {executable or 'without a name'}, and there is none in "
        f"{' or '.join(os.path.join(prefix, 'bin') for prefix in dict.fromkeys(prefixes))}"
    )


def _candidates(prefixes: Sequence[str]) -> Iterator[str]:
    """The same version first: its packages are those of this process."""
    for prefix in dict.fromkeys(prefixes):
        for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python"):
            yield os.path.join(prefix, "bin", name)


def _works(candidate: str) -> bool:
    try:
        done = subprocess.run(
            [candidate, "-c", CHECK], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=CHECK_SECONDS, check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
