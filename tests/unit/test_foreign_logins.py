"""Logins that another site makes a browser send: they count for nobody, and change nothing of who is logged in."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from scalable.lib.dashboard.access import Role
from tests.support.generators.wsgi_client import KEYS, OWNER, READER, Client

DEVICE = KEYS.device_cookie(Role.OWNER)
BROWSER = f"scalable_device={DEVICE}"
HERE = "https://bot.example.com"
ELSEWHERE = [
    {"HTTP_SEC_FETCH_SITE": "cross-site"},
    {"HTTP_SEC_FETCH_SITE": "same-site"},
    {"HTTP_SEC_FETCH_SITE": "something new"},
    {"HTTP_ORIGIN": "https://evil.example.net"},
    {"HTTP_ORIGIN": "https://bot.example.com.evil.example.net"},
    {"HTTP_ORIGIN": "https://bot.example.com@evil.example.net"},
    {"HTTP_ORIGIN": "http://["},
    {"HTTP_REFERER": "https://evil.example.net/a?b=https://bot.example.com/"},
]
NAMED = [str(next(iter(headers.values()))) for headers in ELSEWHERE]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def by_form(client: Client, password: str, **headers: str) -> Any:
    return client.ask("/", method="POST", body=urlencode({"action": "login", "token": password}).encode(), **headers)


def cookies(answer: Any) -> list[str]:
    return [value for name, value in answer[1] if name == "Set-Cookie"]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=NAMED)
@pytest.mark.parametrize("place", ["address", "form", "program"])
def test_wrong_passwords_from_another_site_keep_the_owner_out_of_nothing(
    client: Client, elsewhere: dict[str, str], place: str
) -> None:
    for cookie in (BROWSER, ""):
        for _ in range(15):
            if place == "form":
                status = by_form(client, "wrong", HTTP_COOKIE=cookie, **elsewhere)[0]
            else:
                query = "token=wrong" + ("&format=json" if place == "program" else "")
                status = client.ask("/", query, HTTP_COOKIE=cookie, **elsewhere)[0]
            assert status == 403

    assert by_form(client, "owner", HTTP_COOKIE=BROWSER)[0] == 303
    assert by_form(client, "owner")[0] == 303


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=NAMED)
def test_a_right_password_from_another_site_does_not_replace_a_session(
    client: Client, elsewhere: dict[str, str]
) -> None:
    session = {"HTTP_COOKIE": f"{BROWSER}; scalable_session={OWNER}"}

    for answer in (
        client.ask("/jobs", "status=failed&token=reader", **session, **elsewhere),
        client.ask("/jobs", "status=failed&token=owner", **session, **elsewhere),
    ):
        assert answer[0] == 303
        assert dict(answer[1])["Location"] == "/dashboard.py/jobs?status=failed"
        assert cookies(answer) == []
    posted = by_form(client, "reader", **session, **elsewhere)
    assert (posted[0], cookies(posted)) == (403, [])


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=NAMED)
@pytest.mark.parametrize("password", ["owner", "reader", 'x"><b>', "\x00\x1b", "é"])
def test_who_is_not_logged_in_gets_the_form_filled_and_presses_a_button(
    client: Client, elsewhere: dict[str, str], password: str
) -> None:
    """The address that was printed may be pressed in a mail that is read in the browser."""
    given = urlencode({"token": password})

    status, headers, body = client.ask("/", given, **elsewhere)

    page = body.decode()
    assert (status, cookies((status, headers, body))) == (403, [])
    assert "Another site led here" in page
    assert "<b>" not in page
    if password.isalpha():
        assert f'name="token" value="{password}"' in page


@pytest.mark.parametrize(
    "here",
    [
        {},
        {"HTTP_SEC_FETCH_SITE": "none"},
        {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "https://behind.a.proxy.example"},
        {"HTTP_ORIGIN": "null"},
        {"HTTP_ORIGIN": HERE},
        {"HTTP_ORIGIN": HERE + ":8443", "HTTP_REFERER": HERE + ":8443/dashboard.py"},
        {"HTTP_ORIGIN": "https://BOT.example.com"},
        {"HTTP_ORIGIN": "https://shown.example.com", "HTTP_X_FORWARDED_HOST": "shown.example.com, bot.example.com"},
    ],
)
def test_a_login_of_the_own_page_a_terminal_or_an_old_browser_is_one(client: Client, here: dict[str, str]) -> None:
    for answer in (by_form(client, "owner", **here), client.ask("/", "token=owner", **here)):
        assert answer[0] == 303
        assert any(value.startswith("scalable_session=owner.") for value in cookies(answer))


def test_the_readers_password_in_an_address_does_not_replace_the_owners_session(client: Client) -> None:
    """Where the browser does not say from where it was led here: over http, or an old one."""
    session = {"HTTP_COOKIE": f"{BROWSER}; scalable_session={OWNER}"}

    status, headers, body = client.ask("/", "token=reader", **session)

    assert (status, cookies((status, headers, body))) == (303, [])
    as_reader = client.ask("/", "token=owner", HTTP_COOKIE=f"scalable_session={READER}")
    assert any(value.startswith("scalable_session=owner.") for value in cookies(as_reader))


@pytest.mark.parametrize(("token", "read_token", "status"), [("", "", 200), ("", "reader", 403), ("owner", "", 403)])
def test_strangers_see_counts_only_where_there_is_no_password_at_all(
    tmp_path: Path, token: str, read_token: str, status: int
) -> None:
    client = Client(tmp_path, token=token, read_token=read_token)

    seen = [client.ask("", query) for query in ("", "part=live", "format=json")]

    assert [(each[0], b"pending" in each[2].lower()) for each in seen] == [(status, status == 200)] * 3


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=NAMED)
def test_a_link_of_another_site_says_nothing_in_our_name(client: Client, elsewhere: dict[str, str]) -> None:
    session = {"HTTP_COOKIE": f"scalable_session={OWNER}"}
    said = b"Job 5 was deleted."

    assert said not in client.ask("", "did=delete&n=5", **session, **elsewhere)[2]
    assert said in client.ask("", "did=delete&n=5", **session, HTTP_SEC_FETCH_SITE="same-origin")[2]
