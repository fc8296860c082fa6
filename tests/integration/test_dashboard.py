"""The dashboard as a browser without scripts, a program and a shell see it, on the pool's own server and Apache's."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import Site, request, wait_until

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
    """A running pool, whose bot always fails at once."""
    folder = tmp_path_factory.mktemp("dashboard")
    bot = folder / "hostile.py"
    bot.write_text(HOSTILE_BOT)
    # Its bot fails on purpose in many chats, which otherwise is an outage.
    with ServedSite(folder, bot, BOT_JOB_MAX_ATTEMPTS="1", BOT_BREAKER="0") as served:
        yield served


@pytest.fixture
def visitor(site: ServedSite) -> Visitor:
    return site.owner()


class Tags(HTMLParser):
    """The tags of a page with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, object]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, object]]) -> None:  # type: ignore[override]
        self.tags.append((tag, dict(attrs)))


def failed_job(site: ServedSite, chat: int = 1) -> int:
    """The id of a job that has just failed."""
    failed = site.counts()["failed"]
    update = {"update_id": next(UPDATE_IDS), "message": {"chat": {"id": chat}, "text": "<b>"}}
    job_id: int = site.send(update).json()["queued_job_id"]
    site.wait_for_counts(failed=failed + 1)
    return job_id


def job_in(overview: dict[str, object], job_id: int) -> dict[str, object]:
    return next(job for job in overview["jobs"] if job["id"] == job_id)  # type: ignore[attr-defined]


# For machines


def test_the_json_is_what_the_readme_says(site: ServedSite) -> None:
    job_id = failed_job(site)

    overview = site.overview()

    assert set(overview) == {
        "counts",
        "counts_exact",
        "counted_at",
        "health",
        "paused",
        "bot_down",
        "waiting",
        "per_minute",
        "last_hour",
        "workers",
        "database",
        "webhook",
        "jobs",
    }
    assert list(overview["counts"]) == ["pending", "processing", "done", "failed", "expired", "total"]
    assert set(overview["counts_exact"].values()) == {True}
    job = overview["jobs"][0]
    assert (job["id"], job["status"], job["lane"], job["attempts"]) == (job_id, "failed", "chat:1", 1)
    assert job["error_message"].startswith("exit code 1\n<script>")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["created_at"])
    assert overview["database"]["product"] == "SQLite"


def test_the_json_shows_the_workers_that_are_alive(site: ServedSite) -> None:
    wait_until(lambda: len(site.overview()["workers"]) == 2, site.overview)

    (first, second) = site.overview()["workers"]
    assert first["pid"] != second["pid"]
    assert {
        "name",
        "host",
        "pid",
        "started_at",
        "heartbeat_at",
        "runs",
        "succeeded",
        "retried",
        "failed",
        "memory_kb",
        "job_id",
        "job_ids",
    } == set(first)


def test_a_list_of_jobs_is_json_too(site: ServedSite, visitor: Visitor) -> None:
    ids = [failed_job(site, chat=77) for _ in range(2)]

    found = visitor.json("/jobs?status=failed&lane=chat:77")

    assert [job["id"] for job in found["jobs"]] == ids[::-1]
    assert (found["next_before"], found["complete"]) == (None, True)


def test_the_metrics_can_be_read_by_prometheus_and_say_the_same_as_the_json(site: ServedSite, visitor: Visitor) -> None:
    failed_job(site)

    answer = visitor.get("?format=prometheus")

    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    jobs = {sample.labels["state"]: sample.value for sample in families["scalable_jobs"].samples}
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert jobs["failed"] == site.counts()["failed"]
    assert {
        "scalable_healthy",
        "scalable_paused",
        "scalable_oldest_waiting_seconds",
        "scalable_workers",
        "scalable_build_info",
    } <= set(families)


def test_health_is_a_status_for_a_monitor_with_the_reasons(site: ServedSite, visitor: Visitor) -> None:
    wait_until(lambda: visitor.get("?format=health").status == 200 or "failed" in reasons(visitor), site.overview)

    visitor.press("pause", sure="yes")
    answer = visitor.get("?format=health")
    visitor.press("resume")

    assert answer.status == 503
    assert "paused" in [reason["code"] for reason in answer.json()["reasons"]]
    assert visitor.get("?format=health&waiting=x").status == 400
    assert "paused" not in reasons(visitor)


def reasons(visitor: Visitor) -> list[str]:
    return [reason["code"] for reason in visitor.get("?format=health&silent=100000").json()["reasons"]]


def test_a_format_nobody_knows_is_refused_by_name(visitor: Visitor) -> None:
    answer = visitor.get("?format=xml")

    assert (answer.status, answer.json()["error"]) == (400, "The formats are json, prometheus and health.")


# Actions


def test_a_retried_job_has_all_its_attempts_and_runs_again(site: ServedSite, visitor: Visitor) -> None:
    job_id = failed_job(site)
    before = job_in(site.overview(), job_id)["processed_at"]

    answer = visitor.press("retry", id=job_id)

    assert (answer.status, answer.headers["Location"]) == (303, f"/scalable/dashboard.py/?did=retry&n={job_id}")
    site.wait_for_counts(pending=0, processing=0)
    job = job_in(site.overview(), job_id)
    assert (job["status"], job["attempts"]) == ("failed", 1)
    assert str(job["processed_at"]) > str(before)


def test_the_page_says_what_the_button_did(visitor: Visitor) -> None:
    assert "Job 17 will run again." in visitor.page("/?did=retry&n=17")
    assert "5,000 jobs will run again." in visitor.page("/?did=retry_all&n=5000")
    assert "1 job will run again." in visitor.page("/?did=retry_all&n=1")
    after = "Newer updates of its chat have run already, so it comes after them."
    assert f"Job 17 will run again. {after}" in visitor.page("/?did=retry_late&n=17")
    some = "3 jobs will run again. Newer updates of their chats have run before 2 of them already"
    assert some in visitor.page("/?did=retry_all&n=3&late=2")
    for late in ("", "0", "x", "-1"):
        assert "3 jobs will run again.<" in visitor.page(f"/?did=retry_all&n=3&late={late}").replace("\n", "")
    assert 'class="notice"' not in visitor.page("/?did=<script>&n=17")
    assert 'class="notice"' not in visitor.page("/?did=retry&n=x")


def test_deleting_asks_first_and_does_nothing_until_it_is_answered(site: ServedSite, visitor: Visitor) -> None:
    job_id = failed_job(site)

    asked = visitor.press(f"delete:{job_id}", back=f"/job/{job_id}")

    assert asked.status == 200
    assert f"Delete job {job_id}?" in asked.body.decode()
    assert f'href="/scalable/dashboard.py/job/{job_id}"' in asked.body.decode()
    assert visitor.get(f"/job/{job_id}").status == 200
    done = visitor.press(f"delete:{job_id}", sure="yes", back=f"/job/{job_id}")
    assert done.headers["Location"] == f"/scalable/dashboard.py/jobs?did=delete&n={job_id}"
    assert visitor.get(f"/job/{job_id}").status == 404


def test_a_paused_queue_holds_jobs_back_shows_it_and_goes_on(site: ServedSite, visitor: Visitor) -> None:
    assert visitor.press("pause").status == 200  # asks
    assert visitor.press("pause", sure="yes").status == 303
    sent = site.send({"update_id": next(UPDATE_IDS), "poll": {"id": "1"}}).json()["queued_job_id"]

    page = visitor.page()

    assert "Paused since" in page
    assert "127.0.0.1" in page
    assert job_in(site.overview(), sent)["status"] == "pending"
    assert site.overview()["paused"]["by"] == "127.0.0.1"
    visitor.press("resume")
    wait_until(lambda: job_in(site.overview(), sent)["status"] == "failed", site.overview)
    assert site.overview()["paused"] is None


def test_a_waiting_job_is_skipped_or_run_now(tmp_path: Path) -> None:
    never = {"BOT_JOB_RETRY_BASE": "3000", "BOT_JOB_RETRY_MAX": "3000"}
    with ServedSite(tmp_path, PY_BOT, BOT_BREAKER="0", BOT_JOB_MAX_ATTEMPTS="5", **never) as site:
        visitor = site.owner()
        head = site.send({"update_id": 1, "message": {"chat": {"id": 1}, "text": "/fail"}}).json()["queued_job_id"]
        behind = site.send({"update_id": 2, "message": {"chat": {"id": 1}, "text": "/start"}}).json()["queued_job_id"]
        wait_until(lambda: waits_after(site, head, 1), site.overview)

        assert f"It waits for job {head} of the same lane." in visitor.page(f"/job/{behind}")
        assert visitor.press(f"run-now:{head}").status == 303
        wait_until(lambda: waits_after(site, head, 2), site.overview)
        assert visitor.press(f"skip:{head}").status == 200  # asks
        assert visitor.press(f"skip:{head}", sure="yes").status == 303

        site.wait_for_counts(done=1, failed=1)
        page = visitor.page(f"/job/{head}")
        assert [page.count(f"Attempt {number}<") for number in (1, 2, 3)] == [1, 1, 0]
        assert "skipped by hand" in page


def waits_after(site: ServedSite, job_id: int, attempts: int) -> bool:
    job = job_in(site.overview(), job_id)
    return (job["status"], job["attempts"]) == ("pending", attempts)


def test_all_that_match_are_retried_in_steps_that_go_on_by_a_button(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT, BOT_BREAKER="0", BOT_JOB_MAX_ATTEMPTS="1", BOT_WORKER_POOL_SIZE="4") as site:
        visitor = site.owner()
        for number in range(6):
            chat = 1 if number % 2 else 2
            site.send({"update_id": number, "message": {"chat": {"id": chat}, "text": "/fail"}})
        site.wait_for_counts(failed=6)
        visitor.press("pause", sure="yes")

        assert visitor.press("retry-matching:failed", at="/jobs?lane=chat:1", lane="chat:1").status == 200  # asks
        answer = visitor.press("retry-matching:failed", lane="chat:1", sure="yes")

        assert answer.headers["Location"].endswith("?did=retry_all&n=3")
        assert {job["lane"]: job["status"] for job in site.overview()["jobs"]} == {
            "chat:1": "pending",
            "chat:2": "failed",
        }
        log = site.log.read_text()
        assert "jobs retried by hand state=failed count=3 address=127.0.0.1" in log


def test_who_retries_is_told_that_newer_updates_of_a_chat_have_run_already(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT, BOT_BREAKER="0", BOT_JOB_MAX_ATTEMPTS="1") as site:
        visitor = site.owner()
        for number, text in enumerate(("/fail", "hello", "/fail")):
            site.send({"update_id": number, "message": {"chat": {"id": 7}, "text": text}})
        site.wait_for_counts(failed=2, done=1)

        one = visitor.press("retry", id="1", sure="yes")
        site.wait_for_counts(failed=2, done=1)
        every = visitor.press("retry-matching:failed", sure="yes")
        site.wait_for_counts(failed=2, done=1)
        in_shell = []
        for which in ("1", "3", "--all-failed"):
            in_shell.append(site.run("dashboard.py", "retry", which).stdout)
            site.wait_for_counts(failed=2, done=1)

    assert one.headers["Location"].endswith("?did=retry_late&n=1")
    assert every.headers["Location"].endswith("?did=retry_all&n=2&late=1")
    assert in_shell[0] == "job 1 will run again\nnewer updates of its chat have run already: it comes after them\n"
    assert in_shell[1] == "job 3 will run again\n"
    assert "newer updates of the chat have run already: they come after those\n" in in_shell[2]


@pytest.mark.parametrize(
    ("form", "status", "message"),
    [
        ({"action": "retry", "id": "999999"}, 404, "There is no job 999999"),
        ({"action": "retry:999999"}, 404, "There is no job 999999"),
        ({"action": "retry", "id": "1; DROP TABLE"}, 400, "does not know this action"),
        ({"action": "retry", "id": "٣"}, 400, "does not know this action"),
        ({"action": "retry", "id": ""}, 400, "does not know this action"),
        ({"action": "retry-matching:done", "sure": "yes"}, 400, "does not know this action"),
        ({"action": "drop"}, 400, "does not know this action"),
        ({}, 400, "does not know this action"),
        ({"action": "retry", "id": "1", "csrf": "0" * 64}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "csrf": ""}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "csrf": "ÿ"}, 403, "not, or no longer, from the dashboard"),
        ({"action": "retry", "id": "1", "x": "y" * 20_000}, 413, "too large"),
    ],
)
def test_a_wrong_form_changes_nothing_and_says_why(
    site: ServedSite, visitor: Visitor, form: dict[str, object], status: int, message: str
) -> None:
    failed_job(site)
    before = site.overview()["jobs"]

    answer = visitor.press(str(form.pop("action", "")), **form)

    assert answer.status == status
    assert message in answer.body.decode()
    assert site.overview()["jobs"] == before


def test_a_job_in_the_wrong_state_is_left_alone_and_its_state_is_named(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT) as site:
        job_id = site.send({"update_id": 1, "message": {"chat": {"id": 1}, "text": "/start"}}).json()["queued_job_id"]
        site.wait_for_counts(done=1)
        visitor = site.owner()

        for action in ("retry", "run-now", "skip"):
            answer = visitor.press(f"{action}:{job_id}", sure="yes")
            assert (answer.status, f"Job {job_id} is done: only" in answer.body.decode()) == (409, True)
        assert site.counts()["done"] == 1


# Pages

FAILS_AT_TIMES = """
import json, sys
sys.exit(json.load(sys.stdin)["message"]["text"] == "bad")
"""


def test_one_failure_among_many_leaves_it_working_and_is_not_called_nothing(tmp_path: Path) -> None:
    bot = tmp_path / "fails_at_times.py"
    bot.write_text(FAILS_AT_TIMES)
    with ServedSite(tmp_path, bot, BOT_JOB_MAX_ATTEMPTS="1") as site:
        for number, text in enumerate(["good", "good", "bad", "good", "good"]):
            site.send({"update_id": number + 1, "message": {"chat": {"id": number}, "text": text}})
        site.wait_for_counts(done=4, failed=1)
        visitor = site.owner()

        page = visitor.get("").body.decode()
        assert "<h1>Working</h1>" in page
        assert "Nothing needs you" not in page
        assert "1 job has failed and waits for you." in page
        assert 'status=failed">Look, then retry or delete</a>' in page

        failed_id = next(job["id"] for job in site.overview()["jobs"] if job["status"] == "failed")
        visitor.press(f"delete:{failed_id}", sure="yes")
        assert "Nothing needs you." in visitor.get("").body.decode()


def test_the_page_of_a_job_tells_everything_about_it(site: ServedSite, visitor: Visitor) -> None:
    job_id = failed_job(site)

    page = visitor.page(f"/job/{job_id}")

    assert f"Job {job_id}" in page
    assert "Attempt 1" in page
    assert "exit code 1" in page
    assert "&quot;text&quot;: &quot;&lt;b&gt;&quot;" in page
    assert visitor.get("/job/999999").status == 404
    payload = visitor.get(f"/job/{job_id}/payload")
    assert json.loads(payload.body)["message"]["text"] == "<b>"
    assert payload.headers["Content-Disposition"] == f'attachment; filename="job-{job_id}.json"'


def test_nothing_a_bot_prints_becomes_part_of_the_page(site: ServedSite, visitor: Visitor) -> None:
    job_id = failed_job(site)

    for place in ("", "/jobs", f"/job/{job_id}", "/jobs?q=<script>alert(2)</script>"):
        page = visitor.page(place)
        assert not re.search(r"<script(?! src=\")", page)
        assert "alert(1)" not in page or "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "\u202e" not in page


def test_every_answer_forbids_foreign_scripts_framing_and_caching(site: ServedSite, visitor: Visitor) -> None:
    job_id = failed_job(site)
    for place in (
        "",
        "?format=json",
        "?format=prometheus",
        "?format=health",
        "/jobs",
        f"/job/{job_id}",
        f"/job/{job_id}/payload",
        "/job/999999",
        "/nothing",
        "?part=live",
    ):
        headers = visitor.get(place).headers

        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_no_page_has_a_script_or_style_of_its_own(site: ServedSite, visitor: Visitor) -> None:
    """The policy would not run them."""
    job_id = failed_job(site)
    for place in ("", "/jobs", f"/job/{job_id}", "?part=charts", "/job/999999"):
        found = Tags(visitor.get(place).body.decode())

        assert "style" not in [tag for tag, _ in found.tags]
        assert all("src" in attributes for tag, attributes in found.tags if tag == "script")
        names = {name for _, attributes in found.tags for name in attributes}
        assert not [name for name in names if name.startswith("on") or name == "style"]


def test_the_live_part_is_sent_again_only_when_it_has_changed(site: ServedSite, visitor: Visitor) -> None:
    site.wait_for_counts(pending=0, processing=0)
    first = visitor.get("?part=live")

    (tag,) = first.all_headers("ETag")
    unchanged = visitor.get("?part=live", If_None_Match=tag)
    visitor.press("pause", sure="yes")
    changed = visitor.get("?part=live", If_None_Match=tag)
    visitor.press("resume")

    assert (unchanged.status, unchanged.body) == (304, b"")
    assert changed.status == 200
    assert "csrf" not in changed.body.decode()


def test_pages_are_compressed_for_those_who_can_read_that(visitor: Visitor) -> None:
    packed = visitor.get("/", Accept_Encoding="gzip, br")

    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"</html>" in gzip.decompress(packed.body)
    assert len(packed.body) < len(visitor.get("/").body) / 2


def test_static_files_are_served_and_nothing_else(site: ServedSite, visitor: Visitor) -> None:
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for name in ("dashboard.css", "dashboard.js", "uplot.js", "uplot.css", "icon.svg"):
        kind = kinds[name.partition(".")[2]]
        answer = visitor.get(f"/static/{name}?v=1")
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert answer.headers["Cache-Control"] == "max-age=31536000"
    for path in (
        "/static/../dashboard_app.py",
        "/static/%2e%2e/dashboard_app.py",
        "/static/none.css",
        "/other",
        "/static/uplot.LICENSE",
        "/static/",
        "/static/dashboard.css/x",
    ):
        assert visitor.get(path).status == 404, path


def test_head_and_other_methods(visitor: Visitor) -> None:
    head = visitor.get(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    for method in ("DELETE", "PUT", "OPTIONS"):
        refused = visitor.get(method=method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert request(visitor.url + "/jobs", b"x=1").headers["Allow"] == "GET, HEAD"


def test_the_lists_are_as_long_as_the_setting_says_and_go_on(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT, BOT_MONITOR_LIMIT="3") as site:
        for update_id in range(5):
            site.send({"update_id": update_id, "message": {"chat": {"id": 1}, "text": "/start"}})
        visitor = site.owner()

        assert [job["update_id"] for job in site.overview()["jobs"]] == [4, 3, 2]
        first = visitor.page("/jobs")
        (older,) = re.findall(r'href="[^"]*(/jobs\?before=\d+)"', first)
        assert re.findall(r'id="job-(\d+)"', first) == ["5", "4", "3"]
        assert re.findall(r'id="job-(\d+)"', visitor.page(older)) == ["2", "1"]


def test_the_same_page_under_apache_keeps_its_links(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite")
    visitor = Visitor(site.dashboard_url).log_in("let-me-in")

    page = visitor.page()

    (style,) = re.findall(r'href="(/scalable/dashboard.py/static/dashboard.css\?v=[^"]+)"', page)
    assert "No update has arrived yet" in page
    assert request(site.apache.url + style).status == 200
    assert visitor.page("/jobs")
    assert "Ringkasan" in visitor.page(Accept_Language="id")


def test_the_language_follows_the_browser_and_the_switch(visitor: Visitor) -> None:
    assert '<html lang="id">' in visitor.page(Accept_Language="id-ID,id;q=0.9,en;q=0.8")
    assert '<html lang="en">' in visitor.page(Accept_Language="fr,en;q=0.5,id;q=0.4")

    answer = visitor.get("/jobs?lang=id")

    assert answer.headers["Location"] == "/scalable/dashboard.py/jobs"
    assert '<html lang="id">' in visitor.page(Accept_Language="en")
    assert visitor.get("/jobs?lang=xx").status == 200


class TestShell:
    def test_it_shows_the_same_as_the_page(self, site: ServedSite) -> None:
        failed_job(site)

        printed = json.loads(site.run("dashboard.py", "--json").stdout)
        table = site.run("dashboard.py")

        shown = site.overview()
        assert set(printed) == set(shown)
        assert (printed["counts"], printed["jobs"]) == (shown["counts"], shown["jobs"])
        assert re.search(r"^failed +\d+$", table.stdout, re.MULTILINE)
        assert "exit code 1" in table.stdout
        assert json.loads(site.run("dashboard.py", "--json", "--exact").stdout)["counts"] == shown["counts"]

    def test_retry_runs_one_job_or_all_failed_ones(self, site: ServedSite) -> None:
        job_id = failed_job(site)
        failed = site.counts()["failed"]

        one = site.run("dashboard.py", "retry", str(job_id))
        site.wait_for_counts(failed=failed)
        every = site.run("dashboard.py", "retry", "--all-failed")

        assert (one.returncode, one.stdout) == (0, f"job {job_id} will run again\n")
        assert (every.returncode, every.stdout) == (0, f"{failed} failed jobs will run again\n")
        site.wait_for_counts(failed=failed)

    def test_jobs_are_listed_shown_and_retried_by_a_filter(self, site: ServedSite) -> None:
        ids = [failed_job(site, chat=4242) for _ in range(2)]

        listed = site.run("dashboard.py", "list", "--status", "failed", "--search", "4242", "--json")
        shown = site.run("dashboard.py", "show", str(ids[0]))
        retried = site.run("dashboard.py", "retry", "--matching", "--lane", "chat:4242")

        assert [job["id"] for job in json.loads(listed.stdout)["jobs"]] == ids[::-1]
        assert f"job {ids[0]}: failed, message" in shown.stdout
        assert "attempt 1: failed" in shown.stdout
        assert '"text": "<b>"' in shown.stdout
        assert "\u202e" not in shown.stdout
        assert retried.stdout == "2 failed jobs will run again\n"

    def test_pause_resume_skip_and_delete(self, site: ServedSite) -> None:
        assert "the queue is paused" in site.run("dashboard.py", "pause").stdout
        sent = site.send({"update_id": next(UPDATE_IDS), "poll": {"id": "1"}}).json()["queued_job_id"]

        unwell = site.run("dashboard.py", "health")
        skipped = site.run("dashboard.py", "skip", str(sent))
        asked = site.run("dashboard.py", "delete", str(sent))
        deleted = site.run("dashboard.py", "delete", str(sent), "--yes")

        assert (unwell.returncode, "attention: the queue is paused since" in unwell.stdout) == (1, True)
        assert f"job {sent} was skipped" in skipped.stdout
        assert (asked.returncode, "add --yes" in asked.stderr) == (2, True)
        assert deleted.stdout == f"job {sent} was deleted\n"
        assert site.run("dashboard.py", "resume").stdout == "the queue goes on\n"
        assert site.run("dashboard.py", "resume").stdout == "the queue was not paused\n"

    @pytest.mark.parametrize(
        ("arguments", "exit_code", "message"),
        [
            (["retry", "999999"], 1, "error: there is no job 999999"),
            (["skip", "999999"], 1, "error: there is no job 999999"),
            (["show", "999999"], 1, "error: there is no job 999999"),
            (["retry"], 2, "required"),
            (["retry", "seventeen"], 2, "seventeen"),
            (["retry", "1", "--all-failed"], 2, "not allowed with"),
            (["retry", "--matching", "--status", "done"], 2, "invalid choice"),
            (["drop"], 2, "invalid choice"),
        ],
    )
    def test_a_wrong_command_says_why(
        self, site: ServedSite, arguments: list[str], exit_code: int, message: str
    ) -> None:
        finished = site.run("dashboard.py", *arguments)

        assert finished.returncode == exit_code
        assert message in finished.stderr
        assert "Traceback" not in finished.stderr
