"""How a PHP of ours is started with the prelude, prelude.php, before the bot, and what that is told of a run.

The host's PHP-FPM gets it in another way, see prelude_of_fpm.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from scalable.lib.runners.php.find_php import CLI, Php
from scalable.lib.runners.php.php_ini import as_options, can_read, ini_values, user_ini

FILE = Path(__file__).with_name("prelude.php")
STREAM = FILE.with_name("php_stream.php")  # which the prelude includes in the interface `cli`
VARIABLE = "SCALABLE_RUN"
PREPEND, ERROR_LOG = "auto_prepend_file", "error_log"
# Without one of these the prelude does nothing; it has the same list.
NEEDED = frozenset(
    [
        *("error_get_last", "error_log", "fopen", "fwrite", "fread", "http_response_code", "rewind"),
        "register_shutdown_function",
        *("stream_get_contents", "stream_wrapper_register", "stream_wrapper_restore", "stream_wrapper_unregister"),
    ]
)
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Prelude:
    """`options` of the PHP program, and the file that php.ini or a .user.ini puts before the bot.

    `problem` says why this PHP does not take the prelude; empty when it does. `main_script` of a request, where the
    prelude comes by that and not by options; then it is told the `bot`.
    """

    options: tuple[str, ...] = ()
    prepend: str = ""
    problem: str = ""
    main_script: str = ""
    bot: str = ""

    def told(self, key: str, request: Mapping[str, str] = NO_VARIABLES) -> dict[str, str]:
        """The variable of one run. `key` is a secret of it; `request` is for PHP's `cli`, which knows none."""
        if self.problem:
            return {}
        pairs = {"key": key, "prepend": self.prepend, **{f"server.{name}": text for name, text in request.items()}}
        if not self.main_script:
            return {VARIABLE: _encoded(pairs)}
        return {VARIABLE: _encoded({**pairs, "bot": self.bot}), "SCRIPT_FILENAME": self.main_script}

    def probe(self, key: str) -> dict[str, str]:
        """The same of a request that runs no bot: it prints the key where all is ready."""
        return {**self.told(key), VARIABLE: _encoded({"key": key, "prepend": "", "bot": self.bot, "probe": "1"})}


def prelude_for(php: Php, bot: Path, site: Path, environment: Mapping[str, str], takes_log: bool = False) -> Prelude:
    """The Prelude for `bot`, of the folder `site` or one below it, by a `php` that starts with `environment`.

    What the site's .user.ini files say reaches a `cli` by options, because it does not read them by itself; php-cgi
    does, but for one thing: an auto_prepend_file of theirs would take the place of the prelude, so then it is told all
    of them by options, too. They are read anew with every call; what php.ini says, once in the life of a process.
    `takes_log`: what PHP logs comes to the worker instead of the file that php.ini or .user.ini names, so that it is
    certain which run it is of. Raises OSError or NoProcessLeft when PHP cannot be asked for that.
    """
    values = ini_values(php.path, tuple(sorted(environment.items())))
    name = values.get("user_ini.filename", "")
    own = user_ini(bot.parent, site, name) if name else {}
    if takes_log:
        own[ERROR_LOG] = ""
    replaces = php.interface == CLI or PREPEND in own or takes_log
    prepend = own.pop(PREPEND, "") or values.get(PREPEND, "")
    options = as_options(own) if replaces else ()
    if replaces and php.interface != CLI:
        options += ("-d", "user_ini.filename=")
    problem = _problem(php, values, own, environment)
    if not problem:
        options += as_options({PREPEND: f"'{FILE}'"})
    return Prelude(options, _unquoted(prepend), problem)


def _problem(php: Php, values: Mapping[str, str], own: Mapping[str, str], environment: Mapping[str, str]) -> str:
    if not values:
        return f"{php.path} -i does not tell its settings"
    disabled = sorted(NEEDED & {name.strip() for name in values.get("disable_functions", "").split(",")})
    if disabled:
        return f"disable_functions of php.ini names {', '.join(disabled)}"
    basedir = own.get("open_basedir") or values.get("open_basedir", "")
    for file in (FILE, STREAM) if php.interface == CLI else (FILE,):
        if basedir and not can_read(php, basedir, file, tuple(sorted(environment.items()))):
            return f"open_basedir of php.ini or .user.ini does not reach {file}"
    return ""


def _unquoted(value: str) -> str:
    text = value.strip("\"'")
    return "" if text.lower() == "none" else text


def _encoded(pairs: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={_quoted(text)}" for name, text in pairs.items())


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe="")
