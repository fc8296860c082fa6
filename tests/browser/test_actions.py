"""What an owner does with a click, with and without scripts, on the pool's own server and Apache's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from scalable.lib.dashboard import actions
from scalable.lib.ingest.wsgi import mount
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue import requeue
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import Counts
from scalable.lib.telegram.update import Update
from tests.browser.conftest import READ_TOKEN, OpenPage, Place
from tests.support.generators.wsgi_client import Client
from tests.support.servers.chromium import PHONE

FAILED = 5_000


def fail_many(queue: DatabaseQueue, number: int) -> None:
    """That many jobs that failed, as they are after a night with a broken bot."""
    columns = "payload, update_id, update_type, lane, status, attempts, processed_at, error_message"
    values = ":payload, :id, 'message', :lane, 'failed', 1, {now}, 'exit code 1'"
    insert = queue.table.sql(f"INSERT INTO {{jobs}} ({columns}) VALUES ({values})")

    def work(session) -> None:  # type: ignore[no-untyped-def]
        for each in range(number):
            payload = '{"update_id":%d,"message":{"text":"hello","chat":{"id":1}}}' % each  # noqa: UP031
            session.execute(insert, payload=payload, id=10_000 + each, lane=f"chat:{each % 500}")

    queue.database.run(work, transaction=True)


def notice(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("p.notice")


def test_a_failed_job_is_understood_repaired_and_retried(place: Place, open_page: OpenPage) -> None:
    job_id = place.send("fail")
    place.wait_for_counts(failed=1)
    page = open_page(place.url)
    row = page.locator(f"#job-{job_id}")
    expect(row.locator(".error")).to_have_text("exit code 1 – no such chat")

    row.get_by_role("link", name=str(job_id), exact=True).click()
    expect(page.locator("ol.timeline pre")).to_contain_text("no such chat")
    place.repair()
    page.get_by_role("button", name="Retry").click()

    expect(notice(page)).to_have_text(f"Job {job_id} will run again.")
    expect(page.locator("h1 .state")).to_have_text("done")
    expect(page.locator("ol.timeline")).to_contain_text("retried by hand")
    # The message is of now, and gone when the page is opened again.
    expect(page).not_to_have_url(re.compile("did="))


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no scripts"])
def test_five_thousand_failed_jobs_are_retried_with_progress(
    place: Place, open_page: OpenPage, has_scripts: bool
) -> None:
    place.queue.pause("the test")
    fail_many(place.queue, FAILED)
    page = open_page(place.url, java_script_enabled=has_scripts)
    expect(page.locator(".counts .failed dd")).to_have_text("5,000")

    page.get_by_role("button", name="Retry all failed jobs").click()
    expect(page.get_by_role("heading")).to_have_text(
        "Retry all failed jobs that match? Each starts anew with all its attempts."
    )
    page.get_by_role("button", name="Yes, do it").click()
    steps = 0
    while not has_scripts and page.get_by_role("button", name="Continue").count():
        page.get_by_role("button", name="Continue").click()
        steps += 1

    expect(notice(page)).to_have_text("5,000 jobs will run again.")
    assert steps < 60
    assert place.queue.counts() == Counts(pending=FAILED)


def test_progress_is_shown_and_goes_on_by_itself_or_by_a_button(
    tmp_path: Path, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request may do ten jobs here, so that there is something to see."""
    monkeypatch.setattr(requeue, "STEP", 10)
    monkeypatch.setattr(actions, "STEP_SECONDS", 0.0)
    client = Client(tmp_path)
    server = WebServer(mount({"dashboard.py": client.app}), "127.0.0.1:0")
    server.start()
    for has_scripts in (False, True):
        fail_many(client.queue, 35)
        page = open_page(f"{server.url}/dashboard.py", "owner", java_script_enabled=has_scripts)
        page.get_by_role("button", name="Retry all failed jobs").click()
        page.get_by_role("button", name="Yes, do it").click()
        for seen in (10, 20, 30) if not has_scripts else ():
            expect(page.get_by_role("status")).to_have_text(f"{seen} jobs so far.")
            expect(page.get_by_role("progressbar")).to_have_attribute("value", str(seen))
            page.get_by_role("button", name="Continue").click()
        expect(notice(page)).to_have_text("35 jobs will run again.")
        client.queue.database.run(lambda session: session.execute("DELETE FROM bot_jobs"))
    server.stop()


def test_a_paused_queue_is_loud_and_goes_on_by_a_click(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url)
    page.get_by_role("button", name="Pause the queue").click()
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.locator(".verdict.degraded")).to_contain_text(
        "The queue is paused. Updates are stored, and none is run."
    )

    place.send()
    expect(page.locator(".counts .pending dd")).to_have_text("1")
    page.get_by_role("button", name="Resume").click()

    expect(page.locator(".counts .done dd")).to_have_text("1")
    expect(page.locator(".verdict.working h1")).to_have_text("Working")


def test_a_lane_behind_a_job_in_back_off_is_freed(pool_place: Place, open_page: OpenPage) -> None:
    pool_place.queue.pause("the test")
    head = pool_place.queue.enqueue(Update('{"message": {"text": "hello"}}', 1, "message", "chat:1")).job_id
    behind = pool_place.queue.enqueue(Update('{"message": {"text": "hello"}}', 2, "message", "chat:1")).job_id
    page = open_page(f"{pool_place.url}/job/{behind}")

    page.get_by_role("link", name=f"It waits for job {head} of the same lane.").click()
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("heading")).to_contain_text(f"Skip job {head}?")
    page.get_by_role("link", name="Cancel").click()
    assert pool_place.queue.find(head).status == "pending"
    page.get_by_role("button", name="Skip").click()
    page.get_by_role("button", name="Yes, do it").click()
    expect(page.locator("h1 .state")).to_have_text("failed")
    pool_place.queue.resume()

    pool_place.wait_for_counts(done=1, failed=1)
    assert pool_place.queue.find(behind).status == "done"


def test_a_job_is_deleted_only_after_the_question(pool_place: Place, open_page: OpenPage) -> None:
    job_id = pool_place.send("fail")
    pool_place.wait_for_counts(failed=1)
    page = open_page(f"{pool_place.url}/job/{job_id}")

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("heading", name=f"Job {job_id}")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Yes, do it").click()

    expect(notice(page)).to_have_text(f"Job {job_id} was deleted.")
    assert pool_place.queue.counts() == Counts()


def test_jobs_are_found_and_paged(pool_place: Place, open_page: OpenPage) -> None:
    pool_place.queue.pause("the test")
    fail_many(pool_place.queue, 250)
    found = pool_place.queue.enqueue(Update('{"message":{"chat":{"id":77001}}}', 1, "poll", "poll:9")).job_id
    page = open_page(pool_place.url + "/jobs")

    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Older").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(51)
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("Search").fill("77001")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    expect(page.locator(f"#job-{found}")).to_be_visible()

    page.get_by_role("link", name="Clear").click()
    page.get_by_label("State").select_option("failed")
    page.get_by_label("Lane").fill("chat:7")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Retry all failed jobs that match").click()
    page.get_by_role("button", name="Yes, do it").click()
    expect(notice(page)).to_have_text("1 job will run again.")


def test_logging_in_and_out(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url, None, expected_statuses=(403,))
    password = page.get_by_label("Password (BOT_MONITOR_TOKEN)")
    password.fill("a guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("That is not the password.")

    password.fill("let-me-in")
    page.get_by_role("button", name="Log in").click()
    expect(notice(page)).to_have_text("You are logged in.")
    assert "let-me-in" not in page.url
    assert page.evaluate("document.cookie") == "", "no script can read the session"

    page.get_by_role("button", name="Log out").click()
    expect(password).to_be_visible()
    page.go_back()
    expect(password).to_be_visible()


def test_the_address_with_the_password_leaves_none_behind(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url, None, expected_statuses=(403,))

    page.goto(f"{place.url}/jobs?status=failed&token=let-me-in")

    assert page.url == f"{place.url}/jobs?status=failed"
    page.reload()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_a_reader_looks_and_finds_no_button(pool_place: Place, open_page: OpenPage) -> None:
    pool_place.send("fail")
    pool_place.wait_for_counts(failed=1)

    page = open_page(pool_place.url + "/job/1", READ_TOKEN)

    expect(page.get_by_text("Read only")).to_be_visible()
    assert page.get_by_role("button").all_inner_texts() == ["Log out"]
    expect(page.locator("pre.payload")).not_to_contain_text("Ayu")


def test_without_scripts_the_page_works_and_renews_itself(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url, java_script_enabled=False, viewport=PHONE)
    expect(page.locator(".counts .failed dd")).to_have_text("0")

    place.send("fail")

    expect(page.locator(".counts .failed dd")).to_have_text("1")
    place.repair()
    page.get_by_role("button", name="Retry", exact=False).last.click()
    expect(notice(page)).to_contain_text("will run again.")
    expect(page.locator(".counts .done dd")).to_have_text("1")


def test_everything_can_be_done_by_keyboard(pool_place: Place, open_page: OpenPage) -> None:
    job_id = pool_place.send("fail")
    pool_place.wait_for_counts(failed=1)
    page = open_page(f"{pool_place.url}/job/{job_id}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Retry"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_contain_text("Delete job")
    assert page.evaluate("document.activeElement.textContent") == "Cancel", "what destroys is not what Enter does"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(notice(page)).to_have_text(f"Job {job_id} was deleted.")
