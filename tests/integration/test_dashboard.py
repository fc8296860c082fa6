"""The dashboard as a browser, a script and a shell see it, on the pool's own server and under Apache."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.places import REPOSITORY
from tests.support.served import ServedSite
from tests.support.site import Answer, Site, request

UPDATE_IDS = itertools.count(1)
PY_BOT = REPOSITORY / "examples" / "bot.py"
# Fails, and prints what a hostile message could make a bot print.
HOSTILE_BOT = """
import sys
sys.stderr.buffer.write(b'<script>alert(1)</script> \\xff\\xfe \\xe2\\x80\\xae" onload=x\\n')
sys.exit(1)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
    """A running pool without a token, whose bot always fails at once."""
    folder = tmp_path_factory.mktemp("dashboard")
    bot = folder / "hostile.py"
    bot.write_text(HOSTILE_BOT)
    with ServedSite(folder, bot, BOT_JOB_MAX_ATTEMPTS="1") as served:
        yield served


def failed_job(site: ServedSite) -> int:
    """The id of a job that has just failed."""
    failed = site.counts()["failed"]
    job_id: int = site.send({"update_id": next(UPDATE_IDS), "<b>": 1}).json()["queued_job_id"]
    site.wait_for_counts(failed=failed + 1)
    return job_id


def press(url: str, **form: object) -> Answer:
    """Send the form of the page at `url`, with the token found there."""
    page = request(url).body.decode()
    found = set(re.findall(r'name="csrf" value="([0-9a-f]+)"', page))
    return request(url.split("?")[0], urlencode({"csrf": "".join(found), **form}).encode())


def test_the_json_holds_counts_and_the_newest_jobs(site: ServedSite) -> None:
    job_id = failed_job(site)

    overview = site.overview()

    assert set(overview) == {"counts", "jobs"}
    assert list(overview["counts"]) == ["pending", "processing", "done", "failed", "expired", "total"]
    job = overview["jobs"][0]
    assert (job["id"], job["status"], job["update_id"], job["attempts"]) == (job_id, "failed", job["update_id"], 1)
    assert job["error_message"].startswith("exit code 1\n<script>")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])


def test_a_retried_job_has_all_its_attempts_and_runs_again(site: ServedSite) -> None:
    job_id = failed_job(site)
    before = {job["id"]: job["processed_at"] for job in site.overview()["jobs"]}

    answer = press(site.dashboard_url, action="retry", id=job_id)

    assert (answer.status, answer.headers["Location"].split("?")[1]) == (303, f"retried={job_id}")
    site.wait_for_counts(pending=0, processing=0)
    job = next(job for job in site.overview()["jobs"] if job["id"] == job_id)
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert job["processed_at"] > before[job_id]


def test_the_page_says_what_the_button_did(site: ServedSite) -> None:
    page = request(site.dashboard_url + "?retried=17").body.decode()

    assert "Job 17 will run again." in page


def test_nothing_a_bot_prints_becomes_part_of_the_page(site: ServedSite) -> None:
    failed_job(site)

    page = request(site.dashboard_url).body.decode()

    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_answer_forbids_scripts_framing_and_caching(site: ServedSite) -> None:
    for query in ("", "?format=json"):
        headers = request(site.dashboard_url + query).headers

        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("form", "status", "message"),
    [
        ({"action": "retry", "id": "999999"}, 404, "there is no job 999999"),
        ({"action": "retry", "id": "1; DROP TABLE"}, 400, "expected action=retry"),
        ({"action": "retry", "id": "٣"}, 400, "expected action=retry"),
        ({"action": "retry", "id": ""}, 400, "expected action=retry"),
        ({"action": "delete", "id": "1"}, 400, "expected action=retry"),
        ({}, 400, "expected action=retry"),
        ({"action": "retry", "id": "1", "csrf": "0" * 64}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "csrf": ""}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "csrf": "ÿ"}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "x": "y" * 20_000}, 413, "too large"),
    ],
)
def test_a_wrong_form_changes_nothing_and_says_why(
    site: ServedSite, form: dict[str, str], status: int, message: str
) -> None:
    failed_job(site)
    before = site.overview()

    answer = press(site.dashboard_url, **form)

    assert answer.status == status
    assert message in answer.body.decode()
    assert site.overview() == before


def test_a_done_job_is_not_retried(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT, BOT_JOB_MAX_ATTEMPTS="1") as site:
        job_id = site.send({"update_id": 1, "message": {"chat": {"id": 1}, "text": "/start"}}).json()["queued_job_id"]
        site.send({"update_id": 2, "message": {"chat": {"id": 1}, "text": "/fail"}})
        site.wait_for_counts(done=1, failed=1)

        answer = press(site.dashboard_url, action="retry", id=job_id)

        assert (answer.status, "is done" in answer.body.decode()) == (409, True)
        assert site.overview()["jobs"][-1]["status"] == "done"


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"X_Real_IP": "203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"Host": "bot.example.org"},
        {"Host": "127.0.0.1.example.org"},
    ],
    ids=lambda headers: "{}: {}".format(*next(iter(headers.items()))),
)
def test_without_a_token_only_this_machine_itself_gets_in(site: ServedSite, headers: dict[str, str]) -> None:
    for query in ("", "?format=json"):
        answer = request(site.dashboard_url + query, **headers)

        assert answer.status == 403
        assert "BOT_MONITOR_TOKEN" in answer.body.decode()
        assert "exit code" not in answer.body.decode()


class TestWithToken:
    @pytest.fixture(scope="class")
    def guarded(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSite]:
        folder = tmp_path_factory.mktemp("guarded")
        with ServedSite(folder, PY_BOT, BOT_MONITOR_TOKEN="let-me-in", BOT_JOB_MAX_ATTEMPTS="1") as served:
            yield served

    @pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=let-me-i", "?token=%FF", "?token=%C3%BF"])
    def test_a_missing_or_wrong_token_sees_nothing(self, guarded: ServedSite, query: str) -> None:
        answer = request(guarded.dashboard_url + query)

        assert answer.status == 403
        assert "pending" not in answer.body.decode()

    def test_the_right_token_gets_in_from_anywhere_and_the_button_keeps_it(self, guarded: ServedSite) -> None:
        url = guarded.dashboard_url + "?token=let-me-in"
        guarded.send({"update_id": 1, "message": {"chat": {"id": 1}, "text": "/fail"}})
        while json.loads(request(url + "&format=json").body)["counts"]["failed"] == 0:
            pass

        page = request(url, Host="bot.example.org", X_Forwarded_For="203.0.113.7")
        answer = press(url, action="retry-all-failed", token="let-me-in")

        assert page.status == 200
        assert answer.status == 303
        assert answer.headers["Location"].endswith("?token=let-me-in&retried_all=1")

    def test_a_form_without_the_token_changes_nothing(self, guarded: ServedSite) -> None:
        answer = press(guarded.dashboard_url + "?token=let-me-in", action="retry-all-failed")

        assert answer.status == 403


def test_static_files_are_served_and_nothing_else(site: ServedSite) -> None:
    style = request(site.dashboard_url + "/static/dashboard.css")
    assert (style.status, style.headers["Content-Type"].split(";")[0]) == (200, "text/css")
    assert request(site.dashboard_url + "/static/icon.svg").status == 200
    for path in ("/static/../dashboard_app.py", "/static/%2e%2e/dashboard_app.py", "/static/none.css", "/other"):
        assert request(site.dashboard_url + path).status == 404


def test_head_and_other_methods(site: ServedSite) -> None:
    assert (request(site.dashboard_url, method="HEAD").status, request(site.dashboard_url, method="HEAD").body) == (
        200, b"")
    refused = request(site.dashboard_url, method="DELETE")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_the_list_is_as_long_as_the_setting_says(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT, BOT_MONITOR_LIMIT="3") as site:
        for update_id in range(5):
            site.send({"update_id": update_id, "message": {"chat": {"id": 1}, "text": "/start"}})

        assert [job["update_id"] for job in site.overview()["jobs"]] == [4, 3, 2]


def test_the_same_page_under_apache_keeps_its_links(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite")

    page = request(site.dashboard_url).body.decode()
    style = request(site.apache.url + "/scalable/dashboard.py/static/dashboard.css")

    assert 'href="/scalable/dashboard.py/static/dashboard.css"' in page
    assert "No update has arrived yet" in page
    assert style.status == 200


class TestShell:
    def test_it_shows_the_same_as_the_page(self, site: ServedSite) -> None:
        failed_job(site)

        printed = site.run("dashboard.py", "--json")
        table = site.run("dashboard.py")

        assert json.loads(printed.stdout) == site.overview()
        assert re.search(r"^failed +\d+$", table.stdout, re.MULTILINE)
        assert "exit code 1" in table.stdout

    def test_retry_runs_one_job_or_all_failed_ones(self, site: ServedSite) -> None:
        job_id = failed_job(site)
        failed = site.counts()["failed"]

        one = site.run("dashboard.py", "retry", str(job_id))
        site.wait_for_counts(failed=failed)
        every = site.run("dashboard.py", "retry", "--all-failed")

        assert (one.returncode, one.stdout) == (0, f"job {job_id} will run again\n")
        assert (every.returncode, every.stdout) == (0, f"{failed} failed jobs will run again\n")

    @pytest.mark.parametrize(
        ("arguments", "exit_code", "message"),
        [
            (["retry", "999999"], 1, "error: there is no job 999999"),
            (["retry"], 2, "required"),
            (["retry", "seventeen"], 2, "seventeen"),
            (["retry", "1", "--all-failed"], 2, "not allowed with"),
            (["delete"], 2, "invalid choice"),
        ],
    )
    def test_a_wrong_command_says_why(
        self, site: ServedSite, arguments: list[str], exit_code: int, message: str
    ) -> None:
        finished = site.run("dashboard.py", *arguments)

        assert finished.returncode == exit_code
        assert message in finished.stderr
        assert "Traceback" not in finished.stderr
