"""One request of the dashboard: its visitor, its language, and responses of the right form. Does not use the queue."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

import bottle
from bottle import HTTPResponse

from scalable.lib.dashboard.access import STRANGER, Keys, Visitor, asked_from_elsewhere
from scalable.lib.dashboard.ended_sessions import EndedSessions
from scalable.lib.dashboard.language import Language, choose_language
from scalable.lib.dashboard.masking import mask_job
from scalable.lib.dashboard.pages import Page, render, script_path
from scalable.lib.ingest.request_body import MAX_FORM_BYTES
from scalable.lib.ingest.responses import CONTENT_TYPE, JsonResponse
from scalable.lib.queue.job import JobSummary

if TYPE_CHECKING:  # they load HTTP and TLS, and all the checks
    from scalable.lib.pool.webhook_admin import MakeApi
    from scalable.lib.runners.bot_secret import SecretOfBot
    from scalable.lib.setup.checks import CheckReport

METHODS = ("GET", "HEAD", "POST")
FORMATS = ("json", "prometheus", "health")
SESSION_COOKIE, DEVICE_COOKIE, LANGUAGE_COOKIE = "scalable_session", "scalable_device", "scalable_language"
YEAR_SECONDS = 31_536_000
MIN_COMPRESSED_BYTES = 1_400
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding, Accept-Language, Cookie",
}


@dataclass(frozen=True)
class DashboardSettings:
    """What an owner decides about the dashboard. `mask`: people's data is hidden from `reader`, `everyone` or `nobody`.

    `make_api` is None without a BOT_TOKEN: then Telegram cannot be asked about the webhook. `run_checks` is given the
    web server's name and how it runs this; None: there is no page for it.
    `secret_of_bot` tells which secret token the bot itself compares. `left_behind`: how many updates wait where the
    queue was before.
    """

    token: str = field(repr=False, default="")
    read_token: str = field(repr=False, default="")
    limit: int = 100
    mask: str = "reader"
    queue_order: str = ""
    make_api: Optional[MakeApi] = field(repr=False, default=None)
    webhook_secret: str = field(repr=False, default="")
    run_checks: Optional[Callable[[str, str], CheckReport]] = field(repr=False, default=None)
    secret_of_bot: Optional[SecretOfBot] = field(repr=False, default=None)
    left_behind: Callable[[], int] = field(repr=False, default=lambda: 0)

    @property
    def has_password(self) -> bool:
        """Whether there is a password to ask for."""
        return bool(self.token or self.read_token)


class DashboardRequest:
    """What is known of the request that bottle is answering in this thread; `path` is below the script, without `/`.

    `base` is the script's own path, as links begin with it; `format` one of FORMATS, or empty for a page. The visitor
    is a stranger until `identify` has been called.
    """

    def __init__(self, settings: DashboardSettings, path: str) -> None:
        self.settings = settings
        self.path = path
        self.base = script_path(bottle.request.script_name)
        self.method = str(bottle.request.method)
        self.query = bottle.request.query
        self.format = str(self.query.format)
        # Headers are read here: bottle decodes them, and fails on bytes that no header of ours contains.
        self.environ: dict[str, Any] = bottle.request.environ
        accepted = self.environ.get("HTTP_ACCEPT_LANGUAGE", "")
        self.language = Language(choose_language(self.cookie(LANGUAGE_COOKIE), accepted))
        self.visitor = STRANGER
        self._keys: Optional[Keys] = None

    def identify(self, keys: Keys, ended: EndedSessions) -> None:
        """Identify the visitor by the cookie; from now on pages hold the form token of that visitor."""
        self._keys = keys
        session = keys.session(cookie := self.cookie(SESSION_COOKIE))
        if session is not None and not ended.has(session):
            self.visitor = Visitor(session.role, cookie)

    def check(self) -> None:
        """Raises HTTPResponse, the refusal, for a method, a size or a format that no page of the dashboard takes."""
        if self.method not in METHODS or (self.method == "POST" and self.path):
            refused = self.refuse(405, "wrong_method")
            refused.set_header("Allow", ", ".join(METHODS if not self.path else METHODS[:2]))
            raise refused
        if bottle.request.content_length > MAX_FORM_BYTES:
            raise self.refuse(413, "too_large")
        if "multipart" in self.environ.get("CONTENT_TYPE", "").lower():  # no form of ours is
            raise self.refuse(400, "bad_form")
        self.environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"  # bottle fails on odd ones
        if self.format and self.format not in FORMATS:
            raise self.refuse(400, "bad_format")

    @property
    def form(self) -> Any:
        """The fields of a POST, as attributes; a missing one is an empty text."""
        return bottle.request.forms

    def cookie(self, name: str) -> str:
        """The cookie's value; empty without it."""
        return str(bottle.request.get_cookie(name, ""))

    @property
    def is_masked(self) -> bool:
        """Whether names, texts and ids of people are hidden from this visitor."""
        mask = self.settings.mask
        return mask == "everyone" or (mask == "reader" and not self.visitor.is_owner)

    def masked(self, jobs: tuple[JobSummary, ...]) -> tuple[JobSummary, ...]:
        """The jobs as this visitor may see them."""
        return tuple(mask_job(job) for job in jobs) if self.is_masked else jobs

    def page(self, here: str = "/", part: str = "", notice: str = "") -> Page:
        """What a template needs; a part of a page holds no form token, so that it is the same each time."""
        token = "" if part or self._keys is None else self._keys.form_token(self.visitor)
        return Page(
            self.language,
            self.visitor,
            self.base,
            self.is_masked,
            here,
            part,
            form_token=token,
            notice=notice,
            queue_order=self.settings.queue_order,
            has_bot_token=self.settings.make_api is not None,
        )

    def live_page(self, here: str, parts: tuple[str, ...] = ("live",)) -> Page:
        """The same of a page that renews itself by asking for one of `parts`, and that an action may have led to."""
        part = str(self.query.part)
        return self.page(here, part if part in parts else "", self._notice() or self._left_behind())

    def _left_behind(self) -> str:
        number = 0 if self.visitor.is_stranger else self.settings.left_behind()
        return self.language.text("left_behind", n=number) if number else ""

    def _notice(self) -> str:
        """What the action did that led here: the text `did_…` that `?did=…&n=…` names; `late`: how many came too late
        for their order."""
        if asked_from_elsewhere(self.environ):  # a link of somebody else's says nothing in our name
            return ""
        key, number, late = f"did_{self.query.did}", _read_number(self.query.n), _read_number(self.query.late)
        if not self.language.has(key) or number is None:
            return ""
        text = self.language.text(key, id=str(number), n=number)
        return f"{text} {self.language.text('did_late', n=late)}" if late else text

    def html(self, status: int, template: str, page: Page, **values: Any) -> HTTPResponse:
        """A page, compressed when the browser can read that; a part of one only when it has changed."""
        headers = {"Content-Type": "text/html; charset=utf-8", **SECURITY_HEADERS}
        return packed(HTTPResponse(render(template, page, **values), status, headers), tagged=bool(page.part))

    def json(self, status: int, body: dict[str, Any]) -> HTTPResponse:
        """JSON, compressed likewise."""
        return packed(_json(status, body))

    def text(self, status: int, body: str, content_type: str, filename: str = "") -> HTTPResponse:
        """Text, such as metrics, compressed likewise; with a `filename` it is to be kept, not shown."""
        headers = {"Content-Type": content_type, **SECURITY_HEADERS}
        if filename:
            headers["Content-Disposition"] = f'attachment; filename="{filename}"'
        return packed(HTTPResponse(body.encode("utf-8", "replace"), status, headers))

    def refuse(self, status: int, key: str, given: str = "", **values: object) -> HTTPResponse:
        """A refusal, in the form that was asked for; `key` is one of the texts, `given` fills the login's form."""
        page = self.page()
        why = page.t(key, **values)
        if self.format:
            return _json(status, {"ok": False, "error": why})
        asks = self.settings.has_password and not self.visitor.is_owner
        return self.html(status, "refusal.tpl", page, code=status, why=why, asks=asks, given=given)

    def ask_for_password(self) -> HTTPResponse:
        """The refusal of what strangers may not see or do."""
        return self.refuse(403, "ask_token" if self.settings.has_password else "set_token")

    def redirect(self, place: str) -> HTTPResponse:
        """Go on with GET at `place`, a page below the script, as the visitor may have written it."""
        location = quote(f"{self.base}{place}", safe="/?#&=%+:;,@!$'()*~")
        return HTTPResponse(status=303, headers={"Location": location, **SECURITY_HEADERS})

    def keep(self, response: HTTPResponse, name: str, value: str, seconds: int) -> HTTPResponse:
        """The response with a cookie that scripts and other sites do not get; an empty value ends it."""
        response.set_cookie(
            name,
            value,
            path=self.base or "/",
            httponly=True,
            samesite="lax",
            secure=self.scheme == "https",
            max_age=seconds if value else 0,
        )
        return response

    @property
    def scheme(self) -> str:
        """`https` or `http`, as the browser came, a proxy in between or not."""
        forwarded = self.environ.get("HTTP_X_FORWARDED_PROTO", "")
        return "https" if "https" in (self.environ.get("wsgi.url_scheme"), forwarded) else "http"


def _read_number(text: object) -> Optional[int]:
    """The whole number of a query, 0 or more; None for anything else."""
    number = str(text)
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None


def _json(status: int, body: dict[str, Any]) -> HTTPResponse:
    content = JsonResponse(status, body).content
    return HTTPResponse(content, status, {"Content-Type": CONTENT_TYPE, **SECURITY_HEADERS})


def packed(response: HTTPResponse, tagged: bool = False) -> HTTPResponse:
    """The response, compressed when the browser can read that; `tagged`: 304 when the browser has it already."""
    body = response.body if isinstance(response.body, bytes) else response.body.encode("utf-8", "replace")
    if tagged:
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        if bottle.request.environ.get("HTTP_IF_NONE_MATCH") == tag:
            return HTTPResponse(status=304, headers={"ETag": tag, **SECURITY_HEADERS})
        response.set_header("ETag", tag)
    if len(body) >= MIN_COMPRESSED_BYTES and "gzip" in bottle.request.environ.get("HTTP_ACCEPT_ENCODING", ""):
        # 31: the window of zlib, and 16 for gzip's header (zlib.h, deflateInit2). Lighter than the module gzip.
        packer = zlib.compressobj(5, zlib.DEFLATED, 31)
        body = packer.compress(body) + packer.flush()
        response.set_header("Content-Encoding", "gzip")
    response.body = body
    return response
