"""How a visitor comes in with a password, by the address or by the form, and goes out. Guessing is slowed down."""

from __future__ import annotations

import logging
from typing import Optional
from urllib.parse import urlencode

from bottle import HTTPResponse, request

from scalable.lib.dashboard.access import COOKIE_SECONDS, Keys, Role, Visitor, address_of
from scalable.lib.dashboard.login_attempts import LoginAttempts
from scalable.lib.dashboard.request import (
    DEVICE_COOKIE,
    LANGUAGE_COOKIE,
    SESSION_COOKIE,
    YEAR_SECONDS,
    DashboardRequest,
)
from scalable.lib.logs import event

log = logging.getLogger(__name__)


class Login:
    """Looks at one password of one visit."""

    def __init__(self, visit: DashboardRequest, keys: Keys, attempts: LoginAttempts) -> None:
        self._visit = visit
        self._keys = keys
        self._attempts = attempts
        self._address = address_of(visit.environ)
        self._device = keys.device_name(request.get_cookie(DEVICE_COOKIE, ""))

    def role_of(self, given: str) -> tuple[Optional[Role], Optional[HTTPResponse]]:
        """What the password opens, or the refusal."""
        who = self._address if self._device is None else f"device {self._device}"
        wait = self._attempts.wait_seconds(who, is_known=self._device is not None)
        if wait:
            log.warning(event("login not looked at", status=429, address=self._address, wait_seconds=wait))
            refused = self._visit.refuse(429, "too_many_tokens", seconds=self._visit.language.seconds(wait))
            refused.set_header("Retry-After", str(int(wait) + 1))
            return None, refused
        role = self._keys.role_of_token(given)
        if role is None:
            self._attempts.failed(who)
            log.warning(event("login refused", status=403, address=self._address))
            return None, self._visit.refuse(403, "wrong_token")
        self._attempts.succeeded(who)
        return role, None

    def by_address(self, given: str, path: str) -> HTTPResponse:
        """`?token=…` of a page: once, then a cookie and the same address without it."""
        role, refused = self.role_of(given)
        if role is None:
            return refused
        query = [(name, value) for name, value in request.query.allitems() if name != "token"]
        return self._enter(role, f"/{path}" + (f"?{urlencode(query)}" if query else ""))

    def by_form(self, given: str) -> HTTPResponse:
        """The form of the page that asks for it."""
        role, refused = self.role_of(given)
        return refused if role is None else self._enter(role, "/?did=login&n=0")

    def for_this_request(self, given: str) -> Optional[HTTPResponse]:
        """`?token=…` of a program, which keeps no cookie: the visit goes on as its visitor, or the refusal."""
        role, refused = self.role_of(given)
        if role is None:
            return refused
        self._visit.as_visitor(Visitor(role, "program"))
        return None

    def _enter(self, role: Role, place: str) -> HTTPResponse:
        log.info(event("logged in", role=role.value, address=self._address))
        answer = self._visit.redirect(place)
        self._visit.keep(answer, SESSION_COOKIE, self._keys.cookie(role), COOKIE_SECONDS)
        return self._visit.keep(answer, DEVICE_COOKIE, self._keys.device(self._device or ""), YEAR_SECONDS)


def log_out(visit: DashboardRequest) -> HTTPResponse:
    """The session of this browser ends; the browser itself stays known."""
    log.info(event("logged out", address=address_of(visit.environ)))
    return visit.keep(visit.redirect("/?did=logout&n=0"), SESSION_COOKIE, "", 0)


def switch_language(visit: DashboardRequest, language: str, path: str) -> HTTPResponse:
    """`?lang=…`: kept for a year, and the same address without it."""
    return visit.keep(visit.redirect(f"/{path}"), LANGUAGE_COOKIE, language, YEAR_SECONDS)
