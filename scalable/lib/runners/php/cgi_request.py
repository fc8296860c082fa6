"""The variables of a webhook request, as a web server passes them to PHP (CGI, RFC 3875): `$_SERVER` is as if Telegram
had called the bot. Used for CGI and for FastCGI; starts and sends nothing.

Left out on purpose: Telegram's `Accept-Encoding: gzip, deflate`. It permits the bot to compress the answer,
which could not be read here; without it PHP answers in plain text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from scalable.lib.errors import BotMissing
from scalable.lib.runners.bot_file import check_bot_file
from scalable.lib.runners.php.public_address import PublicAddress

# Folders that panels show as a whole site. A bot below one gets its real address.
SITE_FOLDERS = ("public_html", "httpdocs", "htdocs")
# Bots that check the sender's address look for Telegram's networks (Bot API, webhooks: 149.154.160.0/20).
TELEGRAM_ADDRESS = "149.154.167.220"


def check_php_bot(bot: Path) -> os.stat_result:
    """The state of the file. Raises BotMissing, naming it and what to do, unless it is a readable PHP script."""
    state = check_bot_file(bot)
    if not re.fullmatch(r"\.(php[0-9]*|phtml)", bot.suffix):  # php-cgi would show any other file and call it a success
        raise BotMissing(f"BOT_LEGACY_PATH: {bot} is no .php file, and the modes cgi and fastcgi run PHP only")
    return state


@dataclass(frozen=True)
class WebRequest:
    """What a request to a bot has: the webhook's secret, the query of the bot's address, and where people reach it,
    which may change while a worker lives.
    """

    secret: str = field(default="", repr=False)
    query: str = field(default="", repr=False)
    find_address: Callable[[], PublicAddress] = PublicAddress


PLAIN = WebRequest()


def request_variables(bot: Path, request: WebRequest, address: PublicAddress) -> dict[str, str]:
    """The variables of every request to `bot`, an absolute path; CONTENT_LENGTH is still to be added, in bytes.

    Only a request that carries the webhook's secret is known to come from Telegram, so only then it has its address.
    """
    secret = request.secret
    root = site_folder(bot, address)
    path = address.path or "/" + bot.relative_to(root).as_posix()
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "scalable",
        "SERVER_NAME": address.host,
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": str(address.port),
        "REQUEST_SCHEME": address.scheme,
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": quote(path) + (f"?{request.query}" if request.query else ""),
        "QUERY_STRING": request.query,
        "SCRIPT_NAME": path,
        "SCRIPT_FILENAME": str(bot),
        "DOCUMENT_ROOT": str(root),
        "REMOTE_ADDR": TELEGRAM_ADDRESS if secret else "127.0.0.1",
        "REMOTE_PORT": "443",
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": address.authority,
        "HTTP_CONNECTION": "keep-alive",
        "REDIRECT_STATUS": "200",  # without it php-cgi refuses to work (cgi.force_redirect)
    }
    if address.scheme == "https":  # web servers leave it out otherwise
        variables["HTTPS"] = "on"
    if secret:
        variables["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"] = secret
    return variables


def site_folder(bot: Path, address: PublicAddress) -> Path:
    """DOCUMENT_ROOT: where the address says, else the nearest folder above the bot that a panel shows as a site,
    otherwise the bot's own.
    """
    if address.site is not None:
        return address.site
    return next((folder for folder in bot.parents if folder.name in SITE_FOLDERS), bot.parent)
