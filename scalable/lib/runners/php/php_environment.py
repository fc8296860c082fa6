"""What of the owner's environment reaches the PHP that runs a bot as a web server does. Reads no environment."""

from __future__ import annotations

from collections.abc import Mapping

from scalable.lib.usual_path import USUAL_PATH

# What of the owner's environment reaches PHP. Never HTTP_PROXY or the like: in CGI that is a header of the request.
PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "PHPRC", "PHP_INI_SCAN_DIR")
PASSED_PREFIX = "BOT_"


def php_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of `environment` a PHP process starts with: PASSED, and every BOT_* variable."""
    passed = {name: value for name, value in environment.items() if name in PASSED}
    return {"PATH": USUAL_PATH, **passed, **bot_variables(environment)}


def bot_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The BOT_* variables of `environment`, which a bot may read with getenv()."""
    return {name: value for name, value in environment.items() if name.startswith(PASSED_PREFIX)}
