"""Who a visitor is: passwords, cookies, addresses, form tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.dashboard.access import COOKIE_SECONDS, Keys, Role, Visitor, address_of, asked_from_elsewhere
from scalable.lib.dashboard.login_attempts import OF_ADDRESS, OF_ALL, LoginAttempts
from scalable.lib.dashboard.request import DashboardSettings
from scalable.lib.errors import ConfigurationError
from tests.support.fakes.clock import FakeClock

SECRET = bytes(range(32))
KEYS = Keys(SECRET, "owner's", "reader's")
LOOPBACK = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8080", "SERVER_PROTOCOL": "HTTP/1.1"}


class TestPasswords:
    def test_each_password_opens_its_own_role(self) -> None:
        assert KEYS.role_of_token("owner's") is Role.OWNER
        assert KEYS.role_of_token("reader's") is Role.READER

    @pytest.mark.parametrize("given", ["", "owner", "owner's ", "OWNER'S", "ÿ", "\udcff", "x" * 10_000])
    def test_anything_else_opens_nothing(self, given: str) -> None:
        assert KEYS.role_of_token(given) is None

    def test_an_empty_password_is_none(self) -> None:
        assert Keys(SECRET, "", "").role_of_token("") is None
        assert Keys(SECRET, "", "reader's").role_of_token("") is None
        settings = (DashboardSettings("", "x"), DashboardSettings("x"), DashboardSettings())
        assert [each.has_password for each in settings] == [True, True, False]

    def test_no_password_is_shown_by_accident(self) -> None:
        assert "owner" not in repr(KEYS)
        assert "0001" not in repr(KEYS)


class TestCookies:
    def test_a_cookie_is_its_role_until_it_is_too_old(self) -> None:
        clock = FakeClock()
        for role in (Role.OWNER, Role.READER):
            cookie = KEYS.cookie(role, clock)
            assert KEYS.visitor({}, cookie, clock) == Visitor(role, cookie)

        cookie = KEYS.cookie(Role.OWNER, clock)
        clock.advance(COOKIE_SECONDS - 1)
        assert KEYS.visitor({}, cookie, clock).role is Role.OWNER
        clock.advance(2)
        assert KEYS.visitor({}, cookie, clock).role is Role.STRANGER

    def test_it_holds_no_password_and_ends_with_a_new_one(self) -> None:
        cookie = KEYS.cookie(Role.OWNER)

        assert "owner's" not in cookie
        assert Keys(SECRET, "another", "reader's").visitor({}, cookie).role is Role.STRANGER
        assert Keys(b"x" * 32, "owner's", "reader's").visitor({}, cookie).role is Role.STRANGER
        assert Keys(SECRET, "", "reader's").visitor({}, cookie).role is Role.STRANGER

    def test_it_cannot_be_made_or_changed_without_the_secret(self) -> None:
        reader = KEYS.cookie(Role.READER)
        role, expires, seal = reader.split(".")
        forged = [
            "",
            "owner",
            f"owner.{expires}.{seal}",
            f"{role}.{int(expires) + 1}.{seal}",
            f"{role}.{expires}.{'0' * 64}",
            f"{role}.{expires}.",
            reader + "0",
            reader.upper(),
            f"stranger.{expires}.{seal}",
            "٣" * 80,
            "\udcff",
        ]

        assert {KEYS.visitor({}, cookie).role for cookie in forged} == {Role.STRANGER}

    def test_only_a_browser_that_logged_in_before_is_known(self) -> None:
        device = KEYS.device()

        name = KEYS.device_name(device)
        assert name is not None
        assert KEYS.device(name) == device
        assert KEYS.device() != device
        for forged in ("", name, f"{name}.", f"{name}.{'0' * 64}", device[:-1], "x" * 100, "\udcff.\udcff"):
            assert KEYS.device_name(forged) is None


class TestFormTokens:
    def test_each_page_has_another_one_and_all_of_them_are_good(self) -> None:
        visitor = Visitor(Role.OWNER, "session")
        tokens = {KEYS.form_token(visitor) for _ in range(20)}

        assert len(tokens) == 20
        assert all(KEYS.form_token_matches(token, visitor) for token in tokens)

    def test_one_of_another_session_or_role_is_not(self) -> None:
        token = KEYS.form_token(Visitor(Role.OWNER, "session"))

        for other in (Visitor(Role.OWNER, "other"), Visitor(Role.READER, "session"), Visitor(Role.OWNER)):
            assert not KEYS.form_token_matches(token, other)
        assert not Keys(b"x" * 32, "owner's").form_token_matches(token, Visitor(Role.OWNER, "session"))

    @pytest.mark.parametrize("given", ["", "0" * 64, "0" * 63, "g" * 64, "ÿ", "\udcff", "0" * 100_000])
    def test_anything_else_is_not(self, given: str) -> None:
        assert not KEYS.form_token_matches(given, Visitor(Role.OWNER, "session"))


class TestThisMachine:
    def test_without_a_password_it_may_do_everything(self) -> None:
        assert Keys(SECRET, "").visitor(LOOPBACK, "").role is Role.OWNER
        assert Keys(SECRET, "", "reader's").visitor(LOOPBACK, "").role is Role.OWNER

    def test_with_one_it_has_to_give_it(self) -> None:
        assert KEYS.visitor(LOOPBACK, "").role is Role.STRANGER

    @pytest.mark.parametrize(
        "change",
        [
            {"REMOTE_ADDR": "203.0.113.7"},
            {"REMOTE_ADDR": ""},
            {"HTTP_HOST": "bot.example.com"},
            {"HTTP_HOST": ""},
            {"HTTP_HOST": "127.0.0.1.example.com"},
            {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
            {"HTTP_VIA": "1.1 proxy"},
            {"HTTP_FORWARDED": "for=127.0.0.1"},
            {"HTTP_X_REAL_IP": "127.0.0.1"},
            {"SERVER_PROTOCOL": "HTTP/1.0"},
        ],
    )
    def test_a_request_that_came_from_further_away_is_a_stranger(self, change: dict[str, str]) -> None:
        assert Keys(SECRET, "").visitor({**LOOPBACK, **change}, "").role is Role.STRANGER

    @pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.9.9.9", "[::1]:80"])
    def test_it_has_many_names(self, host: str) -> None:
        assert Keys(SECRET, "").visitor({**LOOPBACK, "HTTP_HOST": host}, "").role is Role.OWNER


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"REMOTE_ADDR": "203.0.113.7"}, "203.0.113.7"),
        ({"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "9.9.9.9"}, "203.0.113.7"),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "9.9.9.9, 203.0.113.7"}, "203.0.113.7"),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "9.9.9.9,"}, "127.0.0.1"),
        ({"REMOTE_ADDR": "2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"),
        ({"REMOTE_ADDR": "::ffff:203.0.113.7"}, "203.0.113.7"),
        ({"REMOTE_ADDR": "x" * 1000}, "x" * 64),
        ({}, ""),
    ],
)
def test_the_address_is_what_the_nearest_trusted_proxy_saw(environ: dict[str, str], address: str) -> None:
    assert address_of(environ) == address


@pytest.mark.parametrize(
    ("site", "elsewhere"),
    [
        ("same-origin", False),
        ("none", False),
        ("cross-site", True),
        ("same-site", True),
        ("", True),
    ],
)
def test_a_browser_says_when_another_site_sent_it(site: str, elsewhere: bool) -> None:
    assert asked_from_elsewhere({"HTTP_SEC_FETCH_SITE": site}) is elsewhere
    assert asked_from_elsewhere({}) is False


class TestAttempts:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def attempts(self, tmp_path: Path, clock: FakeClock) -> LoginAttempts:
        return LoginAttempts(tmp_path / ".ht-logins", SECRET, clock)

    def fail(self, attempts: LoginAttempts, who: str, number: int) -> None:
        for _ in range(number):
            attempts.failed(who)

    def test_some_mistakes_cost_nothing_and_then_each_costs_seconds(
        self, attempts: LoginAttempts, clock: FakeClock
    ) -> None:
        self.fail(attempts, "a", OF_ADDRESS.burst - 1)
        assert attempts.wait_seconds("a") == 0

        attempts.failed("a")
        assert attempts.wait_seconds("a") == OF_ADDRESS.seconds_each
        clock.advance(OF_ADDRESS.seconds_each)
        assert attempts.wait_seconds("a") == 0

    def test_the_wait_does_not_grow_beyond_that_however_often_it_was_tried(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", 500)

        assert attempts.wait_seconds("a") <= OF_ADDRESS.seconds_each

    def test_one_address_does_not_lock_out_another(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", 50)

        assert attempts.wait_seconds("b") == 0

    def test_a_right_password_forgives_the_wrong_ones(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", 5)
        attempts.succeeded("a")

        self.fail(attempts, "a", OF_ADDRESS.burst - 1)
        assert attempts.wait_seconds("a") == 0

    def test_many_addresses_together_are_slowed_down_but_not_one_that_never_guessed(
        self, attempts: LoginAttempts
    ) -> None:
        for number in range(OF_ALL.burst + 10):
            attempts.failed(f"bot {number}")

        assert attempts.wait_seconds("bot 3") > 0
        assert attempts.wait_seconds("device abc", is_known=True) == 0
        fresh = [attempts.wait_seconds(f"owner {number}") for number in range(50)]
        assert fresh.count(0) > 30  # some share a bucket with a guesser

    def test_a_browser_that_was_in_before_waits_only_for_itself(self, attempts: LoginAttempts) -> None:
        for number in range(OF_ALL.burst + 10):
            attempts.failed(f"bot {number}")
        attempts.failed("device abc")

        assert attempts.wait_seconds("device abc", is_known=True) == 0

    def test_other_processes_count_on(self, attempts: LoginAttempts, tmp_path: Path, clock: FakeClock) -> None:
        self.fail(attempts, "a", OF_ADDRESS.burst)

        assert LoginAttempts(tmp_path / ".ht-logins", SECRET, clock).wait_seconds("a") > 0

    def test_the_file_holds_no_address_and_does_not_grow(self, attempts: LoginAttempts, tmp_path: Path) -> None:
        for number in range(3000):
            attempts.failed(f"203.0.113.{number}")

        file = tmp_path / ".ht-logins"
        assert file.stat().st_size <= 16 * 1025
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"203.0" not in file.read_bytes()

    def test_a_clock_that_was_set_back_does_not_lock_out_for_long(
        self, attempts: LoginAttempts, clock: FakeClock
    ) -> None:
        self.fail(attempts, "a", OF_ADDRESS.burst)
        clock.advance(-10_000)

        assert attempts.wait_seconds("a") <= OF_ADDRESS.seconds_each

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"nowhere.*cannot be written"):
            LoginAttempts(tmp_path / "nowhere" / "file", SECRET).failed("a")
