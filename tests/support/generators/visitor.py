"""A visitor of the dashboard without a browser: keeps cookies, fills in the form token of the page, follows nothing."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.support.servers.site import Answer, request


class Visitor:
    """A visitor of `url`, the address of dashboard.py; `headers` go with every request."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url.split("?")[0]
        self.cookies: dict[str, str] = {}
        self._headers = headers

    def get(self, place: str = "", method: str | None = None, **headers: str) -> Answer:
        """GET of the script's address and `place`, such as `/jobs?status=failed`."""
        return self._remembered(request(self.url + place, None, method, **self._with_cookies(headers)))

    def page(self, place: str = "", **headers: str) -> str:
        """The same as text; it must be a page."""
        answer = self.get(place, **headers)
        assert answer.status == 200, (place, answer)
        return answer.body.decode()

    def json(self, place: str = "") -> Any:
        """The same as JSON."""
        answer = self.get(f"{place}{'&' if '?' in place else '?'}format=json")
        assert answer.status == 200, (place, answer)
        return answer.json()

    def log_in(self, token: str) -> Visitor:
        """Give the password by the address, as a person does once."""
        answer = self.get(f"?{urlencode({'token': token})}")
        assert answer.status == 303, answer
        return self

    def post(self, form: dict[str, object], **headers: str) -> Answer:
        """POST of exactly this form."""
        body = urlencode(form).encode()
        return self._remembered(request(self.url + "/", body, None, **self._with_cookies(headers)))

    def press(self, action: str, at: str = "", **form: object) -> Answer:
        """Press a button of the page at `at`, with the form token found there."""
        found = re.findall(r'name="csrf" value="([0-9a-f]+)"', self.page(at))
        return self.post({"csrf": found[0] if found else "", "action": action, **form})

    def _with_cookies(self, headers: dict[str, str]) -> dict[str, str]:
        given = {**self._headers, **headers}
        if self.cookies:
            given.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        return given

    def _remembered(self, answer: Answer) -> Answer:
        for line in answer.all_headers("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if not morsel.value:
                    del self.cookies[name]
        return answer
