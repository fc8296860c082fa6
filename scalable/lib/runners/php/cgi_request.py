"""The variables of a webhook request, as a web server passes them to PHP (CGI, RFC 3875): `$_SERVER` is as if Telegram
had called the bot. Used for CGI and for FastCGI; starts and sends nothing.

Left out on purpose: Telegram's `Accept-Encoding: gzip, deflate`. It permits the bot to compress the answer,
which could not be read here; without it PHP answers in plain text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_file import check_bot_file
from scalable.lib.usual_path import USUAL_PATH

# Folders that panels show as a whole site. A bot below one gets its real address.
SITE_FOLDERS = ("public_html", "httpdocs", "htdocs")
# Bots that check the sender's address look for Telegram's networks (Bot API, webhooks: 149.154.160.0/20).
TELEGRAM_ADDRESS = "149.154.167.220"
# What of the owner's environment reaches PHP. Never HTTP_PROXY or the like: in CGI that is a header of the request.
PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ", "PHPRC", "PHP_INI_SCAN_DIR")
PASSED_PREFIX = "BOT_"


def check_php_bot(bot: Path) -> os.stat_result:
    """The state of the file. Raises BotMissing, naming it and what to do, unless it is a readable PHP script."""
    state = check_bot_file(bot)
    if not re.fullmatch(r"\.(php[0-9]*|phtml)", bot.suffix):  # php-cgi would show any other file and call it a success
        raise BotMissing(f"BOT_LEGACY_PATH: {bot} is no .php file, and the modes cgi and fastcgi run PHP only")
    return state


def request_variables(bot: Path, secret: str = "") -> dict[str, str]:
    """The variables of every request to `bot`, an absolute path; CONTENT_LENGTH is still to be added, in bytes.

    Only a request that carries the webhook's secret is known to come from Telegram, so only then it has its address.
    """
    root = _site_folder(bot)
    address = "/" + bot.relative_to(root).as_posix()
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "scalable",
        "SERVER_NAME": "localhost",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "443",
        "REQUEST_SCHEME": "https",
        "HTTPS": "on",
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": address,
        "QUERY_STRING": "",
        "SCRIPT_NAME": address,
        "SCRIPT_FILENAME": str(bot),
        "DOCUMENT_ROOT": str(root),
        "REMOTE_ADDR": TELEGRAM_ADDRESS if secret else "127.0.0.1",
        "REMOTE_PORT": "443",
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": "localhost",
        "HTTP_CONNECTION": "keep-alive",
        "REDIRECT_STATUS": "200",  # without it php-cgi refuses to work (cgi.force_redirect)
    }
    if secret:
        variables["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"] = secret
    return variables


def php_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What of `environment` a PHP process starts with: PASSED, and every BOT_* variable."""
    passed = {name: value for name, value in environment.items() if name in PASSED}
    return {"PATH": USUAL_PATH, **passed, **bot_variables(environment)}


def bot_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The BOT_* variables of `environment`, which a bot may read with getenv()."""
    return {name: value for name, value in environment.items() if name.startswith(PASSED_PREFIX)}


def _site_folder(bot: Path) -> Path:
    """DOCUMENT_ROOT: the nearest folder above the bot that a panel shows as a site, otherwise the bot's own."""
    return next((folder for folder in bot.parents if folder.name in SITE_FOLDERS), bot.parent)
