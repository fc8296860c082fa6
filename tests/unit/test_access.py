"""Who a visitor is: passwords, cookies, addresses, form tokens."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from scalable.lib.dashboard.access import (
    COOKIE_SECONDS,
    Device,
    Keys,
    Role,
    Session,
    Visitor,
    address_of,
    asked_from_elsewhere,
)
from scalable.lib.dashboard.ended_sessions import MOST_OF_A_ROLE, EndedSessions
from scalable.lib.dashboard.login_attempts import OF_ALL, OF_ONE, Guesser, LoginAttempts
from scalable.lib.dashboard.request import DashboardSettings
from scalable.lib.errors import ConfigurationError
from tests.support.fakes.clock import FakeClock

SECRET = bytes(range(32))
KEYS = Keys(SECRET, "owner's", "reader's")


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


def session_of(cookie: str, clock: FakeClock | None = None, keys: Keys = KEYS) -> Session:
    session = keys.session(cookie, clock) if clock else keys.session(cookie)
    assert session is not None
    return session


class TestCookies:
    def test_a_cookie_is_its_role_until_it_is_too_old(self) -> None:
        clock = FakeClock()
        for role in (Role.OWNER, Role.READER):
            assert session_of(KEYS.cookie(role, clock), clock).role is role

        cookie = KEYS.cookie(Role.OWNER, clock)
        clock.advance(COOKIE_SECONDS - 1)
        assert session_of(cookie, clock).role is Role.OWNER
        clock.advance(2)
        assert KEYS.session(cookie, clock) is None

    def test_two_logins_at_the_same_moment_have_two(self) -> None:
        clock = FakeClock()
        first, second = KEYS.cookie(Role.OWNER, clock), KEYS.cookie(Role.OWNER, clock)

        assert session_of(first, clock) != session_of(second, clock)

    def test_it_holds_no_password_and_ends_with_a_new_one(self) -> None:
        cookie = KEYS.cookie(Role.OWNER)

        assert "owner's" not in cookie
        assert Keys(SECRET, "another", "reader's").session(cookie) is None
        assert Keys(b"x" * 32, "owner's", "reader's").session(cookie) is None
        assert Keys(SECRET, "", "reader's").session(cookie) is None

    def test_it_cannot_be_made_or_changed_without_the_secret(self) -> None:
        reader = KEYS.cookie(Role.READER)
        role, expires, name, seal = reader.split(".")
        forged = [
            "",
            "owner",
            f"owner.{expires}.{name}.{seal}",
            f"{role}.{int(expires) + 1}.{name}.{seal}",
            f"{role}.{expires}.{'0' * 32}.{seal}",
            f"{role}.{expires}.{name}.{'0' * 64}",
            f"{role}.{expires}.{seal}",
            f"{role}.{expires}.{name}.",
            reader + "0",
            reader.upper(),
            f"stranger.{expires}.{name}.{seal}",
            "٣" * 80,
            "\udcff",
        ]

        assert [KEYS.session(cookie) for cookie in forged] == [None] * len(forged)


class TestKnownBrowsers:
    def test_only_a_browser_that_logged_in_before_is_known(self) -> None:
        cookie = KEYS.device_cookie(Role.READER)

        device = KEYS.device(cookie)
        assert device is not None
        assert device.role is Role.READER
        assert KEYS.device_cookie(Role.READER, device) == cookie
        assert KEYS.device_cookie(Role.READER) != cookie
        name, seal = cookie.split(".")[1:]
        for forged in ("", name, f"{name}.{seal}", f"owner.{name}.{seal}", f"reader.{name}.{'0' * 64}", cookie[:-1]):
            assert KEYS.device(forged) is None

    def test_a_reader_does_not_become_a_browser_of_the_owner_and_the_owner_stays_one(self) -> None:
        reader, owner = Device(Role.READER, "0" * 16), Device(Role.OWNER, "1" * 16)

        assert KEYS.device(KEYS.device_cookie(Role.READER, owner)) == owner
        promoted = KEYS.device(KEYS.device_cookie(Role.OWNER, reader))
        assert promoted is not None
        assert (promoted.role, promoted.name != reader.name) == (Role.OWNER, True)

    def test_with_the_password_it_is_forgotten(self) -> None:
        cookie = KEYS.device_cookie(Role.OWNER)

        assert Keys(SECRET, "another", "reader's").device(cookie) is None
        assert Keys(SECRET, "", "reader's").device(Keys(SECRET, "", "reader's").device_cookie(Role.OWNER)) is None


class TestEndedSessions:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def ended(self, tmp_path: Path, clock: FakeClock) -> EndedSessions:
        return EndedSessions(tmp_path / ".ht-ended", clock)

    def log_in(self, clock: FakeClock, role: Role = Role.OWNER) -> Session:
        return session_of(KEYS.cookie(role, clock), clock)

    def test_one_ends_and_the_others_go_on(self, ended: EndedSessions, clock: FakeClock) -> None:
        mine, other, reader = self.log_in(clock), self.log_in(clock), self.log_in(clock, Role.READER)

        ended.end(mine)
        ended.end(mine)

        assert [ended.has(each) for each in (mine, other, reader)] == [True, False, False]
        assert EndedSessions(ended.path, clock).has(mine)
        assert ended.path.stat().st_mode & 0o777 == 0o600

    def test_none_of_many_comes_back_and_the_file_does_not_grow(self, ended: EndedSessions, clock: FakeClock) -> None:
        owner = self.log_in(clock)
        readers = []
        for _ in range(2 * MOST_OF_A_ROLE):
            clock.advance(1)
            readers.append(self.log_in(clock, Role.READER))
            ended.end(readers[-1])
        late = self.log_in(clock, Role.READER)

        assert all(ended.has(each) for each in readers)
        assert not ended.has(owner)
        clock.advance(1)
        assert not ended.has(self.log_in(clock, Role.READER))
        assert not ended.has(late)
        assert len(ended.path.read_text().splitlines()) <= MOST_OF_A_ROLE + 1

    def test_what_is_too_old_to_be_used_is_forgotten(self, ended: EndedSessions, clock: FakeClock) -> None:
        ended.end(self.log_in(clock))
        clock.advance(COOKIE_SECONDS + 1)
        ended.end(self.log_in(clock))

        assert len(ended.path.read_text().splitlines()) == 1

    @pytest.mark.parametrize("content", [b"owner\n", b"\xff", b"owner 1 x\n", b"stranger 1 -\n"])
    def test_a_file_that_cannot_be_read_lets_nobody_in(self, ended: EndedSessions, content: bytes) -> None:
        ended.path.write_bytes(content)

        with pytest.raises(ConfigurationError, match=r"\.ht-ended"):
            ended.has(Session(Role.OWNER, 1, "0" * 32))


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

    def fail(self, attempts: LoginAttempts, who: str, number: int, role: Role = Role.STRANGER) -> None:
        for _ in range(number):
            attempts.attempt(Guesser(who, role), lambda: None)

    def wait(self, attempts: LoginAttempts, who: str, role: Role = Role.STRANGER) -> float:
        """For a right password, which counts nothing."""
        attempt = attempts.attempt(Guesser(who, role), lambda: Role.OWNER)
        assert (attempt.role is Role.OWNER) is (attempt.wait_seconds == 0)
        return attempt.wait_seconds

    def test_some_mistakes_cost_nothing_and_then_each_costs_seconds(
        self, attempts: LoginAttempts, clock: FakeClock
    ) -> None:
        self.fail(attempts, "a", OF_ONE.burst - 1)
        assert self.wait(attempts, "a") == 0

        self.fail(attempts, "a", 1)
        assert self.wait(attempts, "a") == OF_ONE.seconds_each
        clock.advance(OF_ONE.seconds_each)
        assert self.wait(attempts, "a") == 0

    def test_a_password_that_has_to_wait_is_not_looked_at(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", OF_ONE.burst)

        def look() -> None:
            raise AssertionError("it was looked at")

        assert attempts.attempt(Guesser("a"), look).wait_seconds > 0

    def test_the_wait_does_not_grow_beyond_that_however_often_it_was_tried(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", 500)

        assert self.wait(attempts, "a") <= OF_ONE.seconds_each

    def test_one_address_does_not_lock_out_another(self, attempts: LoginAttempts) -> None:
        self.fail(attempts, "a", 50)

        assert self.wait(attempts, "b") == 0

    def test_a_right_password_forgives_nothing(self, attempts: LoginAttempts) -> None:
        """Or whoever has one of the two could guess at the other without end."""
        for role in Role:
            self.fail(attempts, "a", 5, role)
            assert self.wait(attempts, "a", role) == 0

            self.fail(attempts, "a", OF_ONE.burst - 5, role)
            assert self.wait(attempts, "a", role) > 0

    def test_the_limit_of_all_together_holds_for_each_of_them_even_for_a_new_one(self, attempts: LoginAttempts) -> None:
        for role in Role:
            for number in range(OF_ALL.burst + 10):
                self.fail(attempts, f"bot {number}", 1, role)

            assert self.wait(attempts, "never seen", role) == OF_ALL.seconds_each

    @pytest.mark.parametrize("others", [Role.STRANGER, Role.READER])
    def test_no_crowd_of_others_keeps_a_browser_of_the_owner_out(self, attempts: LoginAttempts, others: Role) -> None:
        for number in range(3000):
            self.fail(attempts, f"bot {number}", 1, others)

        assert [self.wait(attempts, f"browser {number}", Role.OWNER) for number in range(200)] == [0] * 200

    def test_guesses_at_the_same_moment_are_counted_as_those_one_after_the_other(self, attempts: LoginAttempts) -> None:
        start, looked_at = threading.Barrier(40), []

        def guess() -> None:
            start.wait(20)
            attempts.attempt(Guesser("a"), lambda: looked_at.append(1))

        threads = [threading.Thread(target=guess) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert len(looked_at) == OF_ONE.burst

    def test_other_processes_count_on(self, attempts: LoginAttempts, tmp_path: Path, clock: FakeClock) -> None:
        self.fail(attempts, "a", OF_ONE.burst)

        assert self.wait(LoginAttempts(tmp_path / ".ht-logins", SECRET, clock), "a") > 0

    def test_the_file_holds_no_address_and_does_not_grow(
        self, attempts: LoginAttempts, tmp_path: Path, clock: FakeClock
    ) -> None:
        for number in range(3000):
            clock.advance(OF_ALL.seconds_each)
            self.fail(attempts, f"203.0.113.{number}", 1)

        file = tmp_path / ".ht-logins"
        assert file.stat().st_size <= 16 * 1539
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"203.0" not in file.read_bytes()

    @pytest.mark.parametrize("seconds", [-50, -10_000, -1e9])
    def test_a_clock_that_was_set_back_does_not_lock_out_for_long(
        self, attempts: LoginAttempts, clock: FakeClock, seconds: float
    ) -> None:
        self.fail(attempts, "a", OF_ONE.burst)
        clock.advance(seconds)

        clock.advance(OF_ONE.burst * OF_ONE.seconds_each)
        assert self.wait(attempts, "a") == 0

    def test_a_file_of_another_layout_locks_nobody_out(self, attempts: LoginAttempts, tmp_path: Path) -> None:
        (tmp_path / ".ht-logins").write_bytes(b"\x7f" * 16 * 1539)

        assert self.wait(attempts, "a") == 0

    def test_a_file_that_others_could_open_is_private_from_then_on(
        self, attempts: LoginAttempts, tmp_path: Path
    ) -> None:
        (tmp_path / ".ht-logins").touch()
        (tmp_path / ".ht-logins").chmod(0o666)

        self.fail(attempts, "a", 1)

        assert (tmp_path / ".ht-logins").stat().st_mode & 0o777 == 0o600

    def test_a_lock_that_somebody_keeps_refuses_instead_of_waiting_for_ever(
        self, attempts: LoginAttempts, tmp_path: Path
    ) -> None:
        self.fail(attempts, "a", 1)
        with (tmp_path / ".ht-logins").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)

            assert self.wait(attempts, "b", Role.OWNER) > 0

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"nowhere.*cannot be opened"):
            self.fail(LoginAttempts(tmp_path / "nowhere" / "file", SECRET), "a", 1)
