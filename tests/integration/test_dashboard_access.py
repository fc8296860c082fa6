"""Who gets into the dashboard and how far: strangers, readers, owners, and those who try to be somebody else."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from scalable.lib.dashboard.access import Keys, Role
from scalable.lib.telegram.update import Update
from tests.support.generators.visitor import Visitor
from tests.support.generators.wsgi_client import SECRET, Client
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import request, wait_until

PY_BOT = REPOSITORY / "examples" / "bot.py"
OWNER, READER = "let-me-in", "let-me-look"
PERSON = {"id": 5550100, "first_name": "Ayu", "last_name": "Lestari", "type": "private"}


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
    """With the password that the pool invented, one failed job."""
    with ServedSite(tmp_path_factory.mktemp("open"), PY_BOT, BOT_JOB_MAX_ATTEMPTS="1") as site:
        site.send({"update_id": 1, "message": {"chat": PERSON, "text": "/fail"}})
        site.wait_for_counts(failed=1)
        yield site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
    """With both passwords, one failed job."""
    settings = {"BOT_MONITOR_TOKEN": OWNER, "BOT_MONITOR_READ_TOKEN": READER, "BOT_JOB_MAX_ATTEMPTS": "1"}
    with ServedSite(tmp_path_factory.mktemp("guarded"), PY_BOT, **settings) as served:
        served.query = f"&token={OWNER}"
        served.send({"update_id": 1, "message": {"chat": PERSON, "text": "/fail"}})
        served.wait_for_counts(failed=1)
        yield served


@pytest.fixture
def visitor(site: ServedSite, request: pytest.FixtureRequest) -> Visitor:
    """Somebody from an address that no other test uses: wrong passwords are counted for each."""
    return from_address(site, request.node.nodeid)


NUMBERS: defaultdict[str, int] = defaultdict(itertools.count().__next__)


def from_address(site: ServedSite, name: str) -> Visitor:
    number = NUMBERS[name]
    return Visitor(site.dashboard_url, X_Forwarded_For=f"198.51.{number // 256}.{number % 256}")


HERE = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8080"}


class TestWithoutAPassword:
    """As CGI and under WSGI servers; a pool that serves the page itself invents one, see test_serve.py."""

    @pytest.fixture
    def client(self, tmp_path: Path) -> Client:
        client = Client(tmp_path, token="", read_token="")
        client.queue.enqueue(Update(json.dumps({"update_id": 1, "message": {"chat": PERSON}}), 1, "message", "chat:1"))
        return client

    @pytest.mark.parametrize(
        "environ",
        [
            HERE,
            {**HERE, "HTTP_HOST": "localhost"},
            {**HERE, "REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]"},
            {**HERE, "REMOTE_ADDR": "localhost"},
            {**HERE, "HTTP_X_FORWARDED_FOR": "127.0.0.1"},
            {**HERE, "HTTP_TRUE_CLIENT_IP": "127.0.0.1"},
            {**HERE, "SERVER_PROTOCOL": "HTTP/1.0"},
            {**HERE, "REMOTE_USER": "root"},
            {"HTTP_HOST": "bot.example.org", "REMOTE_ADDR": "203.0.113.7"},
        ],
    )
    def test_everybody_sees_the_counts_and_how_to_see_more_wherever_they_are(
        self, client: Client, environ: dict[str, str]
    ) -> None:
        status, _, page = client.ask("/", **environ)
        shown = json.loads(client.ask("/", "format=json", **environ)[2])
        everything = page.decode() + str(shown) + client.ask("/", "format=prometheus", **environ)[2].decode()

        assert status == 200
        assert b"BOT_MONITOR_TOKEN" in page
        assert re.search(rb'class="pending"><dt>pending</dt><dd>1</dd>', page)
        assert set(shown) == {"counts", "counts_exact", "counted_at", "health"}
        for secret in ("Ayu", "5550100", "<form", "<button", "chat:"):
            assert secret not in everything
        for place in ("/jobs", "/job/1", "/job/1/payload", "/doctor"):
            assert client.ask(place, **environ)[0] == 403

    @pytest.mark.parametrize("form", ["action=delete:1&sure=yes", "action=login&token=", "action=login&token=owner"])
    def test_nobody_changes_anything_and_nobody_logs_in(self, client: Client, form: str) -> None:
        cookie = f"scalable_session={Keys(SECRET, '').cookie(Role.OWNER)}"

        for more in (HERE, {**HERE, "HTTP_COOKIE": cookie}):
            assert client.ask("/", method="POST", body=form.encode(), **more)[0] == 403
        assert client.queue.counts().pending == 1


class TestLogin:
    def test_without_the_password_there_is_only_the_question(self, visitor: Visitor) -> None:
        answer = visitor.get()

        page = answer.body.decode()
        assert answer.status == 403
        assert 'name="token"' in page
        assert "pending" not in page
        places = ("/jobs", "/job/1", "/nothing", "?format=json", "?format=prometheus", "?format=health")
        assert {visitor.get(place).status for place in places} == {403}

    def test_the_address_with_the_password_is_used_once_and_then_clean(self, visitor: Visitor) -> None:
        answer = visitor.get(f"/jobs?status=failed&token={OWNER}")

        assert (answer.status, answer.headers["Location"]) == (303, "/scalable/dashboard.py/jobs?status=failed")
        (session,) = [line for line in answer.all_headers("Set-Cookie") if line.startswith("scalable_session=")]
        assert OWNER not in session
        assert {"HttpOnly", "SameSite=lax", "Path=/scalable/dashboard.py"} <= set(session.split("; "))
        assert "Secure" not in session
        assert "Ayu" in visitor.page("/job/1")

    def test_the_form_does_the_same(self, visitor: Visitor) -> None:
        answer = visitor.post({"action": "login", "token": OWNER})

        assert (answer.status, answer.headers["Location"]) == (303, "/scalable/dashboard.py/?did=login&n=0")
        assert "Log out" in visitor.page()

    def test_over_https_the_cookie_is_never_sent_without_it(self, visitor: Visitor) -> None:
        answer = visitor.get(f"?token={OWNER}", X_Forwarded_Proto="https")

        assert all("Secure" in line.split("; ") for line in answer.all_headers("Set-Cookie"))

    def test_logging_out_ends_it(self, visitor: Visitor) -> None:
        visitor.log_in(OWNER)

        answer = visitor.press("logout")

        assert answer.status == 303
        assert "scalable_session" not in visitor.cookies
        assert visitor.get().status == 403

    def test_a_cookie_that_was_copied_is_no_good_after_logging_out(self, site: ServedSite, visitor: Visitor) -> None:
        visitor.log_in(OWNER)
        other = from_address(site, "another browser of the owner").log_in(OWNER)
        thief = Visitor(site.dashboard_url)
        thief.cookies = dict(visitor.cookies)
        (csrf, *_) = re.findall(r'name="csrf" value="([0-9a-f]+)"', thief.page())

        visitor.press("logout")

        assert [thief.get(place).status for place in ("", "/jobs", "?format=json", "?part=live")] == [403] * 4
        assert thief.post({"csrf": csrf, "action": "delete:1", "sure": "yes"}).status == 403
        assert other.get().status == 200

    def test_a_program_gives_the_password_each_time_and_gets_no_cookie(self, visitor: Visitor) -> None:
        answer = visitor.get(f"?format=json&token={OWNER}")

        assert answer.status == 200
        assert answer.all_headers("Set-Cookie") == []
        assert visitor.get("?format=json").status == 403

    @pytest.mark.parametrize(
        "query",
        [
            "?token=wrong",
            "?token=let-me-i",
            "?token=%FF",
            "?token=%C3%BF",
            "?token=%00",
            "?token=let-me-in%0d%0aSet-Cookie:x",
            "?token=wrong&format=json",
        ],
    )
    def test_a_wrong_password_gets_nothing(self, visitor: Visitor, query: str) -> None:
        answer = visitor.get(query)

        assert answer.status == 403
        assert answer.all_headers("Set-Cookie") == []
        assert "pending" not in answer.body.decode()

    @pytest.mark.parametrize(
        "cookie",
        [
            "scalable_session=owner",
            "scalable_session=",
            "scalable_session=owner.9999999999." + "0" * 64,
            "scalable_session=owner.9999999999." + "0" * 32 + "." + "0" * 64,
            'scalable_session="owner"; scalable_session=x',
            "scalable_session=%00",
            "scalable_session=" + "x" * 5000,
            "scalable_device=x; scalable_language=../../etc",
        ],
    )
    def test_a_cookie_that_was_made_up_is_none(self, visitor: Visitor, cookie: str) -> None:
        answer = visitor.get("/jobs", Cookie=cookie)

        assert answer.status == 403


class TestGuessing:
    def guess(self, visitor: Visitor, number: int) -> list[int]:
        return [visitor.get(f"?token=guess-{index}").status for index in range(number)]

    def test_guesses_are_refused_unread_after_some_with_the_time_to_wait(self, visitor: Visitor) -> None:
        statuses = self.guess(visitor, 14)

        answer = visitor.get(f"?token={OWNER}")
        assert (statuses[:10], set(statuses[10:])) == ([403] * 10, {429})
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 11

    def test_the_owner_elsewhere_and_the_one_who_is_in_do_not_notice(self, site: ServedSite) -> None:
        inside = from_address(site, "TestGuessing.attacked")
        inside.log_in(OWNER)
        attacker = from_address(site, "TestGuessing.attacked")
        assert 429 in self.guess(attacker, 14)

        assert inside.get().status == 200
        assert from_address(site, "somebody else").log_in(OWNER).get().status == 200

    def test_a_browser_that_was_in_before_gets_in_again_from_the_attackers_address(self, site: ServedSite) -> None:
        known = from_address(site, "TestGuessing.shared")
        known.log_in(OWNER)
        known.press("logout")
        attacker = from_address(site, "TestGuessing.shared")
        assert 429 in self.guess(attacker, 14)

        # Soon: what is asked while another guess is being counted is refused, too.
        wait_until(lambda: known.get(f"?token={OWNER}").status == 303, lambda: "the known browser is refused", 3)
        assert attacker.get(f"?token={OWNER}").status == 429

    def test_a_reader_who_logs_in_between_may_guess_no_more_than_others(self, site: ServedSite) -> None:
        reader = from_address(site, "TestGuessing.reader").log_in(READER)
        statuses = []
        for _ in range(4):
            statuses += self.guess(reader, 5)
            reader.get(f"?token={READER}")

        assert statuses.count(403) <= 11  # one more comes in ten seconds

    def test_guesses_from_everywhere_are_limited_together_and_the_owners_browser_gets_in(self, tmp_path: Path) -> None:
        with ServedSite(tmp_path, PY_BOT, BOT_MONITOR_TOKEN=OWNER, BOT_MONITOR_READ_TOKEN=READER) as site:
            known = from_address(site, "the owner").log_in(OWNER)
            known.press("logout")
            crowd = [from_address(site, f"one of a crowd {number}").get("?token=x").status for number in range(260)]

            assert crowd.count(403) < 240
            assert from_address(site, "one more").get("?token=x").status == 429
            assert known.get(f"?token={OWNER}").status == 303

    def test_an_address_written_by_the_visitor_does_not_count(self, site: ServedSite) -> None:
        """Only the last entry of X-Forwarded-For is the proxy's."""
        statuses = [
            Visitor(site.dashboard_url, X_Forwarded_For=f"9.9.9.{number}, 192.0.2.77").get("?token=x").status
            for number in range(12)
        ]

        assert statuses[-1] == 429


class TestReader:
    @pytest.fixture
    def reader(self, visitor: Visitor) -> Visitor:
        return visitor.log_in(READER)

    def test_it_sees_everything_but_people(self, reader: Visitor) -> None:
        page = reader.page("/job/1")
        listed = reader.page("/jobs") + reader.page() + str(reader.json())

        assert "Read only" in page
        assert "&quot;first_name&quot;: &quot;…&quot;" in page
        for secret in ("Ayu", "Lestari", "5550100"):
            assert secret not in page + listed
        assert "chat:…00" in listed
        assert "exit code 1" in listed
        assert reader.get("/job/1/payload").status == 403

    def test_it_finds_jobs_by_their_number_and_not_by_what_is_hidden(self, reader: Visitor) -> None:
        def found(query: str) -> bool:
            return 'id="job-1"' in reader.page(f"/jobs?{query}")

        assert found("q=1")
        assert found("status=failed")
        assert not found("q=5550100")
        assert found("lane=chat:0")  # the lane is not looked at, so it tells nothing
        assert found("q=Ayu") == found("q=nobody")

    def test_it_has_no_buttons_and_could_not_use_them(self, site: ServedSite, reader: Visitor) -> None:
        page = reader.page()
        (csrf,) = re.findall(r'name="csrf" value="([0-9a-f]+)"', page)  # to log out

        assert re.findall(r'<button[^>]*value="([a-z-]+)', page) == ["logout"]
        for action in ("retry:1", "delete:1", "skip:1", "pause", "resume", "retry-matching:failed"):
            answer = reader.post({"csrf": csrf, "action": action, "sure": "yes"})
            assert (answer.status, "may look" in answer.body.decode()) == (403, True)
        assert site.counts()["failed"] == 1

    @pytest.mark.parametrize(
        ("mask", "owner_sees", "reader_sees"),
        [
            ("everyone", False, False),
            ("nobody", True, True),
        ],
    )
    def test_the_owner_decides_who_sees_people(
        self, tmp_path: Path, mask: str, owner_sees: bool, reader_sees: bool
    ) -> None:
        settings = {"BOT_MONITOR_TOKEN": OWNER, "BOT_MONITOR_READ_TOKEN": READER, "BOT_MONITOR_MASK": mask}
        with ServedSite(tmp_path, PY_BOT, **settings) as site:
            site.send({"update_id": 1, "message": {"chat": PERSON, "text": "/start"}})

            for token, sees in ((OWNER, owner_sees), (READER, reader_sees)):
                assert ("Ayu" in Visitor(site.dashboard_url).log_in(token).page("/job/1")) is sees


class TestForgery:
    def test_a_form_of_another_session_or_none_changes_nothing(self, site: ServedSite, visitor: Visitor) -> None:
        visitor.log_in(OWNER)
        other = from_address(site, "other session").log_in(OWNER)
        other.cookies["scalable_session"] = other.cookies["scalable_session"]
        reader = from_address(site, "reader session").log_in(READER)
        (theirs, *_) = re.findall(r'name="csrf" value="([0-9a-f]+)"', reader.page())

        for csrf in ("", "x", "0" * 64, theirs):
            answer = visitor.post({"csrf": csrf, "action": "delete:1", "sure": "yes"})
            assert answer.status == 403
        assert site.counts()["failed"] == 1

    def test_a_post_another_site_sent_is_refused_even_with_the_token(self, site: ServedSite, visitor: Visitor) -> None:
        visitor.log_in(OWNER)
        (csrf, *_) = re.findall(r'name="csrf" value="([0-9a-f]+)"', visitor.page())

        answer = visitor.post({"csrf": csrf, "action": "delete:1", "sure": "yes"}, Sec_Fetch_Site="cross-site")

        assert answer.status == 403
        assert site.counts()["failed"] == 1

    def test_no_get_changes_anything(self, site: ServedSite, visitor: Visitor) -> None:
        visitor.log_in(OWNER)
        for query in ("action=delete:1&sure=yes", "action=pause&sure=yes", "action=retry:1", "action=logout"):
            assert visitor.get(f"?{query}").status == 200

        assert site.counts()["failed"] == 1
        assert visitor.get().status == 200

    @pytest.mark.parametrize(
        "back",
        [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/jobs\r\nSet-Cookie: x=1",
            "/job/1/../../x",
            "javascript:alert(1)",
            "/jobs?a=<b>",
            "\x00",
            "/job/" + "9" * 30,
            "/jobs#x",
        ],
    )
    def test_a_form_leads_back_to_the_dashboard_and_nowhere_else(self, open_site: ServedSite, back: str) -> None:
        answer = open_site.owner().press("resume", back=back)

        assert answer.headers["Location"] == "/scalable/dashboard.py/?did=resume&n=0"
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize(
        "place",
        [
            "//evil.example/?lang=id",
            "/%0d%0aSet-Cookie:%20x=1?lang=id",
            "/jobs/?lang=id",
            "/job/x?lang=id",
            "/%2f%2fevil.example?lang=id",
        ],
    )
    def test_the_switch_of_language_leads_nowhere_else(self, open_site: ServedSite, place: str) -> None:
        answer = request(open_site.dashboard_url + place)

        assert answer.status == 404
        assert "Location" not in answer.headers

    def test_nothing_from_a_query_gets_into_a_header(self, visitor: Visitor) -> None:
        query = urlencode({"token": OWNER, "q": "x\r\nSet-Cookie: y=1", "lane": "\r\n\r\n<html>"})

        answer = visitor.get(f"/jobs?{query}")

        assert answer.status == 303
        assert answer.headers["Location"].startswith("/scalable/dashboard.py/jobs?q=x%0D%0ASet-Cookie")
        assert not [line for line in answer.all_headers("Set-Cookie") if line.startswith("y=")]

    def test_every_action_is_logged_with_the_address_it_came_from(self, site: ServedSite) -> None:
        visitor = Visitor(site.dashboard_url, X_Forwarded_For="198.51.100.99").log_in(OWNER)
        visitor.press("pause", sure="yes")
        visitor.press("resume")

        log = site.log.read_text()
        assert "queue paused by hand address=198.51.100.99" in log
        assert "queue resumed by hand address=198.51.100.99" in log
        assert "logged in role=owner address=198.51.100.99" in log
        assert OWNER not in log
