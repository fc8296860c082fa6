"""What of the owner's environment reaches the bot, however it is run. Reads no environment.

Never a password of ours that the bot has no use for, unless the owner names it: what a bot can read, a hole in it, or a
program that it starts, can print.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from scalable.lib.usual_path import USUAL_PATH

# Of names in BOT_LEGACY_ENV: everything that is not ours.
ALL = "*"
# What every program needs.
PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")
# Never HTTP_PROXY or the like: in CGI that is a header of the request.
PASSED_TO_PHP = (*PASSED, "PHPRC", "PHP_INI_SCAN_DIR")
PASSED_TO_PROGRAMS = (*PASSED_TO_PHP, "USER", "LOGNAME", "SHELL", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
PASSED_PREFIX = "BOT_"
# A PHP bot finds this one in the header of its request anyhow, and may compare the two.
WEBHOOK_SECRET = "BOT_WEBHOOK_SECRET"
OURS = ("BOT_DB_PASS", "BOT_MONITOR_TOKEN", "BOT_MONITOR_READ_TOKEN", "BOT_TICK_TOKEN", WEBHOOK_SECRET)


def program_environment(
    environment: Mapping[str, str], named: Sequence[str] = (ALL,), is_php: bool = False
) -> dict[str, str]:
    """What a bot that is run as a program starts with: what is `named`, ALL for the rest of `environment`."""
    passes = {
        name
        for name in environment
        if name in named or ALL in named or name in PASSED_TO_PROGRAMS or name.startswith(PASSED_PREFIX)
    }
    kept = passes - _ours(named, is_php)
    return {"PATH": USUAL_PATH, **{name: value for name, value in environment.items() if name in kept}}


def php_environment(environment: Mapping[str, str], named: Sequence[str] = ()) -> dict[str, str]:
    """What a PHP starts with that runs the bot as a web server does: PASSED_TO_PHP, and `bot_variables`."""
    passed = {name: value for name, value in environment.items() if name in PASSED_TO_PHP}
    return {"PATH": USUAL_PATH, **passed, **bot_variables(environment, named)}


def bot_variables(environment: Mapping[str, str], named: Sequence[str] = ()) -> dict[str, str]:
    """What a bot may read with getenv() under a web server: the BOT_* variables, and those `named` one by one."""
    ours = _ours(named, is_php=True)
    passes = {name for name in environment if name in named or name.startswith(PASSED_PREFIX)}
    return {name: value for name, value in environment.items() if name in passes - ours}


def take_out_ours(environment: MutableMapping[str, str], named: Sequence[str]) -> None:
    """The same for a bot that is called in this very process: what it starts inherits `environment`."""
    for name in _ours(named, is_php=False):
        environment.pop(name, None)


def _ours(named: Sequence[str], is_php: bool) -> set[str]:
    """The variables that are kept from the bot."""
    return {name for name in OURS if name not in named and not (is_php and name == WEBHOOK_SECRET)}
