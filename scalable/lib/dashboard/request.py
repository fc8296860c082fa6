"""One request of the dashboard: who asks, in which language, and answers of the right form. Knows no queue."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from bottle import HTTPResponse, request

from scalable.lib.dashboard.access import Keys, Role, Visitor
from scalable.lib.dashboard.language import Language, choose_language
from scalable.lib.dashboard.pages import Page, render, script_path
from scalable.lib.ingest.responses import CONTENT_TYPE, JsonResponse

if TYPE_CHECKING:  # only those who ask Telegram pay for it
    from scalable.lib.dashboard.examination import Examine
    from scalable.lib.pool.webhook_admin import MakeApi

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
# What an action may say it did, on the page it leads to; each is a text `did_…`.
DEEDS = (
    "retry",
    "run_now",
    "skip",
    "delete",
    "retry_all",
    "pause",
    "resume",
    "login",
    "logout",
    "webhook_check",
    "webhook_set",
)
MASKS = ("reader", "everyone", "nobody")


@dataclass(frozen=True)
class DashboardSettings:
    """What an owner decides about the dashboard. `mask` is one of MASKS: whom people are hidden from.

    `make_api` is None without a BOT_TOKEN: then nobody can be asked about the webhook. `examine` is the doctor.
    """

    token: str = field(repr=False, default="")
    read_token: str = field(repr=False, default="")
    limit: int = 100
    mask: str = "reader"
    queue_order: str = ""
    make_api: Optional[MakeApi] = field(repr=False, default=None)
    webhook_secret: str = field(repr=False, default="")
    examine: Optional[Examine] = field(repr=False, default=None)


class DashboardRequest:
    """What is known of the request at hand, which is bottle's `request`."""

    def __init__(self, settings: DashboardSettings, keys: Optional[Keys] = None) -> None:
        self.settings = settings
        self.keys = keys
        # Headers are taken from here: bottle decodes them, and fails on bytes that none of ours contains.
        self.environ: dict[str, Any] = request.environ
        accepted = self.environ.get("HTTP_ACCEPT_LANGUAGE", "")
        self.language = Language(choose_language(request.get_cookie(LANGUAGE_COOKIE, ""), accepted))
        self.session = request.get_cookie(SESSION_COOKIE, "")
        self.visitor = Visitor(Role.STRANGER) if keys is None else keys.visitor(self.environ, self.session)

    @property
    def base(self) -> str:
        """The script's own path, as links begin with it."""
        return script_path(request.script_name)

    @property
    def format(self) -> str:
        """`json`, `prometheus`, `health`, or empty for a page."""
        return str(request.query.format)

    @property
    def is_masked(self) -> bool:
        """Whether names, texts and ids of people are hidden from this visitor."""
        return self.settings.mask == "everyone" or (
            self.settings.mask == "reader" and self.visitor.role is not Role.OWNER
        )

    @property
    def notice(self) -> str:
        """What an action did that led to this page, as `?did=…` says."""
        did, number = str(request.query.did), str(request.query.n)
        if did not in DEEDS or not (number.isascii() and number.isdigit() and len(number) < 19):
            return ""
        values: dict[str, object] = {"id": number, "n": int(number)}
        return self.language.text(f"did_{did}", **values)

    def as_visitor(self, visitor: Visitor) -> DashboardRequest:
        """The same request of somebody who has just said who they are."""
        self.visitor = visitor
        return self

    def page(self, here: str = "/", part: str = "", notice: str = "") -> Page:
        """What a template needs; a part of a page holds no form token, so that it is the same each time."""
        token = "" if part or self.keys is None else self.keys.form_token(self.visitor)
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

    def html(self, status: int, template: str, page: Page, **values: Any) -> HTTPResponse:
        """A page, compressed when the browser can read that; a part of one only when it has changed."""
        return packed(
            HTTPResponse(
                render(template, page, **values),
                status,
                {"Content-Type": "text/html; charset=utf-8", **SECURITY_HEADERS},
            ),
            tagged=bool(page.part),
        )

    def json(self, status: int, body: dict[str, Any]) -> HTTPResponse:
        """JSON, compressed likewise."""
        return packed(_json(status, body))

    def text(self, status: int, body: str, content_type: str, **headers: str) -> HTTPResponse:
        """Text, such as metrics or a file to keep."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return packed(
            HTTPResponse(
                body.encode("utf-8", "replace"),
                status,
                {
                    "Content-Type": content_type,
                    **SECURITY_HEADERS,
                    **more,
                },
            )
        )

    def refuse(self, status: int, key: str, **values: object) -> HTTPResponse:
        """A refusal, in the form that was asked for; `key` is one of the texts."""
        page = self.page()
        why = page.t(key, **values)
        if self.format:
            return _json(status, {"ok": False, "error": why})
        asks = self.keys is not None and self.keys.asks and self.visitor.role is not Role.OWNER
        return self.html(status, "refusal.tpl", page, code=status, why=why, asks=asks)

    def redirect(self, place: str) -> HTTPResponse:
        """Go on with GET at `place`, a page below the script."""
        return HTTPResponse(status=303, headers={"Location": f"{self.base}{place}", **SECURITY_HEADERS})

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


def _json(status: int, body: dict[str, Any]) -> HTTPResponse:
    content = JsonResponse(status, body).content
    return HTTPResponse(content, status, {"Content-Type": CONTENT_TYPE, **SECURITY_HEADERS})


def packed(response: HTTPResponse, tagged: bool = False) -> HTTPResponse:
    """The response, compressed when the browser can read that; `tagged`: 304 when the browser has it already."""
    body = response.body if isinstance(response.body, bytes) else response.body.encode("utf-8", "replace")
    if tagged:
        tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
        if request.environ.get("HTTP_IF_NONE_MATCH") == tag:
            return HTTPResponse(status=304, headers={"ETag": tag, **SECURITY_HEADERS})
        response.set_header("ETag", tag)
    if len(body) >= MIN_COMPRESSED_BYTES and "gzip" in request.environ.get("HTTP_ACCEPT_ENCODING", ""):
        body = _gzipped(body)
        response.set_header("Content-Encoding", "gzip")
    response.body = body
    return response


def _gzipped(body: bytes) -> bytes:
    """31: the window of zlib, and 16 for gzip's header (zlib.h, deflateInit2). Lighter than the module gzip."""
    packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
