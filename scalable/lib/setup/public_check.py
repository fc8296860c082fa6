"""Checks from outside how the web server treats the scripts, the secret header and private files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from scalable.lib.http_client.address import parse_web_address
from scalable.lib.http_client.client import Response
from scalable.lib.http_client.probe import NoAnswer, probe
from scalable.lib.setup.files import read_start
from scalable.lib.setup.finding import Finding, Verdict, error, ok, warning
from scalable.lib.telegram.secret_token import SECRET_HEADER

# No object, which would be stored as an update of a new type.
NOT_AN_UPDATE = b'"asked by the doctor of Scalable mode"'
# Secrets of the owner, and files no visitor needs; those of the data folder come on top.
PRIVATE = (".htenv", ".htaccess", "config.py", "lib/errors.py")
IN_DATA_FOLDER = (".ht-secret", ".ht-database", ".ht-queue.sqlite3")
COMPARED_BYTES = 48
Probe = Callable[..., Response]


@dataclass(frozen=True)
class Public:
    """The installation as it is on the web: `url` of the folder scalable/, without a slash at its end."""

    url: str
    folder: Path
    data_folder: Path
    secret: str = field(repr=False)


def folder_url(text: str) -> str:
    """The address of the folder, of what an owner may give: the folder's, or one of its scripts'. Raises ValueError."""
    parts = urlsplit(text.strip())
    try:
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not port_is_right:
        raise ValueError("an address such as https://example.com/scalable")
    path = re.sub(r"/[^/]+\.(py|php)(/.*)?$", "", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def check_public(public: Public, ask: Probe = probe) -> list[Finding]:
    """The findings at the address. Stores no job: what it sends to the webhook is no update."""
    try:
        webhook, ending = _webhook(public, ask)
        findings = [webhook]
        if webhook.verdict is Verdict.OK:
            findings.append(_secret(public, ask, ending))
        return [*findings, *_dashboard(public, ask, ending), _exposed(public, ask)]
    except NoAnswer as problem:
        seen = f"{public.url}: {problem}"
        return [warning("address", seen, "a host may be unable to reach itself: open the address in a browser")]


def _webhook(public: Public, ask: Probe) -> tuple[Finding, str]:
    """Our script answers GET with 405; any other answer comes from the web server. The door in PHP does as well.

    Also the ending of the scripts that run.
    """
    place = f"{public.url}/webhook_queue.py"
    seen, door = ask(place), f"{public.url}/webhook_queue.php"
    if _is_ours(seen):
        return ok("webhook", f"{place} runs"), "py"
    if _is_ours(ask(door)):
        said = f"{door} runs; the scripts in Python do not, and need not: use the addresses in PHP"
        return ok("webhook", said), "php"
    return _not_running(place, seen), "py"


def _is_ours(seen: Response) -> bool:
    return seen.status == 405 and b'"ok"' in seen.body


def _not_running(place: str, seen: Response) -> Finding:
    if b"#!/" in seen.body[:200] or b"start block" in seen.body:
        what = "shows the script's text: the web server does not run it"
        remedy = "ask the host for CGI (ExecCGI) for .py files in this folder"
    elif seen.status == 403:
        what = "is refused by the web server (403): no ExecCGI, or no CGI module"
        remedy = "ask the host for ExecCGI and AllowOverride All on this folder, or use its cgi-bin"
    elif seen.status == 404:
        what = "is not there (404)"
        remedy = "check the address, and whether the web server shows this folder and runs CGI scripts in it"
    elif seen.status == 503 and b'"ok"' in seen.body:
        what, remedy = "runs, but cannot work (503)", "put right what the lines above say"
    elif b"Scalable mode needs Python" in seen.body:
        said = seen.body[:100].decode("utf-8", "replace").strip()
        return error("webhook", f"{place}: {said}", "put a newer Python into the scripts' first line")
    elif seen.status >= 500:
        what = f"does not start ({seen.status})"
        remedy = "see the lines about scripts, and the web server's error log"
    elif 300 <= seen.status < 400:
        where = seen.headers.get("location", "").partition("?")[0]
        what = f"is redirected to {where} ({seen.status}), which Telegram does not follow"
        remedy = "give setWebhook the address it leads to"
    else:
        what = f"is answered by something else ({seen.status})"
        remedy = "check the address, and rules of the web server that send every address to one script"
    return error("webhook", f"{place} {what}", remedy)


def _secret(public: Public, ask: Probe, ending: str) -> Finding:
    """With the right secret, a body that is no update is answered with 400, without the secret with 401."""
    url = f"{public.url}/webhook_queue.{ending}"
    without = ask(url, NOT_AN_UPDATE, {"Content-Type": "application/json"})
    if not public.secret:
        seen = "BOT_WEBHOOK_SECRET is empty: whoever knows the address can send updates"
        return warning("secret", seen, "set it, and give it to setWebhook as secret_token")
    if without.status != 401:
        seen = f"the webhook takes requests without the secret ({without.status}): it does not see BOT_WEBHOOK_SECRET"
        return error("secret", seen, "write it into scalable/.htenv, which the web server reads, too")
    if not parse_web_address(url).is_private:
        return ok("secret", "requests without it are refused; it is not sent over http to see more")
    given = ask(url, NOT_AN_UPDATE, {"Content-Type": "application/json", SECRET_HEADER: public.secret})
    if given.status == 400:
        return ok("secret", "the header arrives: with the secret requests are taken, without it refused")
    seen = (
        f"a request with the right secret is answered with {given.status}: the header does not arrive, or the web "
        "server reads another BOT_WEBHOOK_SECRET"
    )
    return error("secret", seen, "write it into scalable/.htenv; else ask the host which proxy takes headers away")


def _dashboard(public: Public, ask: Probe, ending: str) -> list[Finding]:
    place = f"{public.url}/dashboard.{ending}"
    seen = ask(place)
    is_ours = b"scalable" in seen.body.lower() and b"#!/" not in seen.body[:200]
    if is_ours and seen.status in (200, 403, 503):
        return []
    what = f"{place} is answered with {seen.status} by the web server"
    return [error("dashboard", what, "see the lines about scripts")]


def _exposed(public: Public, ask: Probe) -> Finding:
    """Private files are shown when answers hold what is in them: a site may answer any address with some page."""
    shown = [name for name, path in _private_files(public) if _is_shown(ask(f"{public.url}/{name}"), path)]
    if not shown:
        return ok("private files", "none of those that were asked for is shown")
    secret = any(name.rpartition("/")[2].startswith(".ht") and name != ".htaccess" for name in shown)
    seen = f"anybody can fetch {', '.join(shown)}" + (", with passwords or your users' messages" if secret else "")
    remedy = "ask the host for AllowOverride All, or move scalable/ out of the folder the web server shows"
    return error("private files", seen, f"{remedy}; then invent new passwords" if secret else remedy)


def _private_files(public: Public) -> Iterator[tuple[str, Path]]:
    """Each with its address below scalable/."""
    for name in PRIVATE:
        yield name, public.folder / name
    if public.folder in (public.data_folder, *public.data_folder.parents):
        inside = public.data_folder.relative_to(public.folder).as_posix()
        for name in IN_DATA_FOLDER:
            yield f"{inside}/{name}", public.data_folder / name


def _is_shown(seen: Response, path: Path) -> bool:
    try:
        start = read_start(path, COMPARED_BYTES)
    except OSError:
        return False  # there is none
    return seen.status in (200, 206) and bool(start) and start in seen.body
