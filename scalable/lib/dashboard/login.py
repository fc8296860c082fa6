"""How a visitor logs in with a password, by the address or by the form, and logs out. Guessing is slowed down."""

from __future__ import annotations

import logging
from urllib.parse import urlencode

from bottle import HTTPResponse

from scalable.lib.dashboard.access import COOKIE_SECONDS, PROGRAM, Keys, Role, Visitor, address_of
from scalable.lib.dashboard.ended_sessions import EndedSessions
from scalable.lib.dashboard.login_attempts import Guesser, LoginAttempts
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
    """Checks the one password of one request. Raises HTTPResponse, the refusal, for a wrong one or one too many."""

    def __init__(self, request: DashboardRequest, keys: Keys, attempts: LoginAttempts) -> None:
        self._request = request
        self._keys = keys
        self._attempts = attempts
        self._address = address_of(request.environ)
        self._device = keys.device(request.cookie(DEVICE_COOKIE))

    def by_address(self, given: str) -> HTTPResponse:
        """`?token=…` of a page: once, then a cookie and the same address without it."""
        role, place = self._role_of(given), _place_without_token(self._request)
        # A link of somebody else's could take the owner's buttons away: the owner logs out first, or uses the form.
        is_less = self._request.visitor.is_owner and role is not Role.OWNER
        return self._request.redirect(place) if is_less else self._enter(role, place)

    def by_form(self, given: str) -> HTTPResponse:
        """The form of the page that asks for it."""
        return self._enter(self._role_of(given), "/?did=login&n=0")

    def for_this_request(self, given: str) -> None:
        """`?token=…` of a program, which keeps no cookie: the request goes on as its visitor."""
        self._request.visitor = Visitor(self._role_of(given), PROGRAM)

    def _role_of(self, given: str) -> Role:
        device = self._device
        who = Guesser(self._address) if device is None else Guesser(device.name, device.role)
        attempt = self._attempts.attempt(who, lambda: self._keys.role_of_token(given))
        if attempt.wait_seconds:
            raise self._too_many(attempt.wait_seconds)
        if attempt.role is None:
            log.warning(event("login refused", status=403, address=self._address))
            raise self._request.refuse(403, "wrong_token")
        return attempt.role

    def _too_many(self, wait: float) -> HTTPResponse:
        log.warning(event("login not looked at", status=429, address=self._address, wait_seconds=wait))
        refused = self._request.refuse(429, "too_many_tokens", seconds=self._request.language.seconds(wait))
        refused.set_header("Retry-After", str(int(wait) + 1))
        return refused

    def _enter(self, role: Role, place: str) -> HTTPResponse:
        log.info(event("logged in", role=role.value, address=self._address))
        answer = self._request.redirect(place)
        self._request.keep(answer, SESSION_COOKIE, self._keys.cookie(role), COOKIE_SECONDS)
        return self._request.keep(answer, DEVICE_COOKIE, self._keys.device_cookie(role, self._device), YEAR_SECONDS)


def login_from_elsewhere(request: DashboardRequest, given: str) -> HTTPResponse:
    """The answer to a password that another site made the browser send. It is neither looked at nor counted.

    Otherwise any site could use up the tries of the owner's browser, or log it in as somebody else. Who is logged in
    goes on; who is not may press the button of a form with it.
    """
    if request.method != "POST" and not request.format and not request.visitor.is_stranger:
        return request.redirect(_place_without_token(request))
    return request.refuse(403, "from_elsewhere", given=given)


def _place_without_token(request: DashboardRequest) -> str:
    query = [(name, value) for name, value in request.query.allitems() if name != "token"]
    return f"/{request.path}" + (f"?{urlencode(query)}" if query else "")


def log_out(request: DashboardRequest, keys: Keys, ended: EndedSessions) -> HTTPResponse:
    """End the session of this browser, and of every copy of its cookie; what identifies the browser stays."""
    session = keys.session(request.visitor.session)
    if session is not None:
        ended.end(session)
    log.info(event("logged out", address=address_of(request.environ)))
    return request.keep(request.redirect("/?did=logout&n=0"), SESSION_COOKIE, "", 0)


def switch_language(request: DashboardRequest, language: str) -> HTTPResponse:
    """`?lang=…`: kept for a year, and the same address without it."""
    return request.keep(request.redirect(f"/{request.path}"), LANGUAGE_COOKIE, language, YEAR_SECONDS)
