"""Checks from outside: what the web server makes of the scripts, the secret header, and private files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

from scalable.lib.http_client.address import parse_web_address
from scalable.lib.http_client.client import Response
from scalable.lib.http_client.probe import NoAnswer, probe
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.telegram.secret_token import SECRET_HEADER

# An object would be taken for an update of a new kind.
NOT_AN_UPDATE = b'"asked by the doctor of Scalable mode"'
# What only the owner may see, and what need not be seen; those in the data folder come on top.
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
    """What is seen at the address. Stores no update: what it sends to the webhook is none."""
    try:
        webhook = _webhook(public, ask(f"{public.url}/webhook_queue.py"))
        findings = [webhook]
        if webhook.verdict.value == "ok":
            findings += _secret(public, ask)
        return findings + _dashboard(public, ask) + _exposed(public, ask)
    except NoAnswer as problem:
        seen = f"{public.url}: {problem}"
        return [warning("address", seen, "a host may be unable to reach itself: open the address in a browser")]


def _webhook(public: Public, seen: Response) -> Finding:
    """GET is answered with 405 by ours; anything else is the web server's own."""
    place = f"{public.url}/webhook_queue.py"
    if seen.status == 405 and b'"ok"' in seen.body:
        return ok("webhook", f"{place} runs")
    return _not_running(place, seen)


def _not_running(place: str, seen: Response) -> Finding:
    if b"#!/" in seen.body[:200] or b"start block" in seen.body:
        return error(
            "webhook",
            f"{place} shows the script's text: the web server does not run it",
            "ask the host for CGI (ExecCGI) for .py files in this folder",
        )
    if seen.status == 403:
        return error(
            "webhook",
            f"{place} is refused by the web server (403): no ExecCGI, or no CGI module",
            "ask the host for ExecCGI and AllowOverride All on this folder, or use its cgi-bin",
        )
    if seen.status == 404:
        return error(
            "webhook",
            f"{place} is not there (404)",
            "check the address, and whether the web server shows this folder and runs CGI scripts in it",
        )
    if seen.status == 503 and b'"ok"' in seen.body:
        return error("webhook", f"{place} runs, but cannot work (503)", "put right what the lines above say")
    if b"Scalable mode needs Python" in seen.body:
        said = seen.body[:100].decode("utf-8", "replace").strip()
        return error("webhook", f"{place}: {said}", "put a newer Python into the scripts' first line")
    if seen.status >= 500:
        return error(
            "webhook",
            f"{place} does not start ({seen.status})",
            "see the lines about scripts, and the web server's error log",
        )
    if 300 <= seen.status < 400:
        where = seen.headers.get("location", "").partition("?")[0]
        return error(
            "webhook",
            f"{place} is redirected to {where} ({seen.status}), which Telegram does not follow",
            "give setWebhook the address it leads to",
        )
    return error(
        "webhook",
        f"{place} is answered by something else ({seen.status})",
        "check the address, and rules of the web server that send every address to one script",
    )


def _secret(public: Public, ask: Probe) -> list[Finding]:
    """With the right secret, a body that is no update is refused for what it is (400), without it for the secret."""
    url = f"{public.url}/webhook_queue.py"
    without = ask(url, NOT_AN_UPDATE, {"Content-Type": "application/json"})
    if not public.secret:
        return [
            warning(
                "secret",
                "BOT_WEBHOOK_SECRET is empty: whoever knows the address can send updates",
                "set it, and give it to setWebhook as secret_token",
            )
        ]
    if without.status != 401:
        return [
            error(
                "secret",
                f"the webhook takes requests without the secret ({without.status}): it does not see BOT_WEBHOOK_SECRET",
                "write it into scalable/.htenv, which the web server reads, too",
            )
        ]
    if not parse_web_address(url).is_private:
        return [ok("secret", "requests without it are refused; it is not sent over http to see more")]
    given = ask(url, NOT_AN_UPDATE, {"Content-Type": "application/json", SECRET_HEADER: public.secret})
    if given.status == 400:
        return [ok("secret", "the header arrives: with the secret requests are taken, without it refused")]
    return [
        error(
            "secret",
            f"a request with the right secret is answered with {given.status}: the header does not "
            "arrive, or the web server reads another BOT_WEBHOOK_SECRET",
            "write it into scalable/.htenv; else ask the host which proxy takes headers away",
        )
    ]


def _dashboard(public: Public, ask: Probe) -> list[Finding]:
    seen = ask(f"{public.url}/dashboard.py")
    is_ours = b"scalable" in seen.body.lower() and b"#!/" not in seen.body[:200]
    if is_ours and seen.status in (200, 403, 503):
        return []
    return [
        error(
            "dashboard",
            f"{public.url}/dashboard.py is answered with {seen.status} by the web server",
            "see the lines about scripts",
        )
    ]


def _exposed(public: Public, ask: Probe) -> list[Finding]:
    """Files that are answered with what is in them: a site may answer any address with some page of its own."""
    shown = [name for name, path in _private_files(public) if _is_shown(ask(f"{public.url}/{name}"), path)]
    if not shown:
        return [ok("private files", "none of those that were asked for is shown")]
    secret = any(name.rpartition("/")[2].startswith(".ht") and name != ".htaccess" for name in shown)
    seen = f"anybody can fetch {', '.join(shown)}" + (", with passwords or your users' messages" if secret else "")
    remedy = "ask the host for AllowOverride All, or move scalable/ out of the folder the web server shows"
    return [error("private files", seen, f"{remedy}; then invent new passwords" if secret else remedy)]


def _private_files(public: Public) -> Iterator[tuple[str, Path]]:
    for name in PRIVATE:
        yield name, public.folder / name
    inside = _inside(public)
    if inside is not None:
        for name in IN_DATA_FOLDER:
            yield f"{inside}/{name}", public.data_folder / name


def _inside(public: Public) -> Optional[str]:
    try:
        return public.data_folder.relative_to(public.folder).as_posix()
    except ValueError:
        return None


def _is_shown(seen: Response, path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(COMPARED_BYTES)
    except OSError:
        return False  # there is none
    return seen.status in (200, 206) and bool(start) and start in seen.body
