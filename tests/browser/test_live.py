"""The page renews itself in place: what a reader is doing is not disturbed, and a tired server is left alone."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from playwright.sync_api import Page, Request, Route, expect

from scalable.lib.telegram.update import Update
from tests.browser.conftest import OpenPage, Place
from tests.support.generators import demo_queue as demo
from tests.support.waiting import eventually

HIDE = """() => {
    Object.defineProperty(document, "hidden", { get: () => window.isHidden, configurable: true });
    window.isHidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
}"""
MARK = "window.isTheSamePage = true"
IS_THE_SAME = "window.isTheSamePage === true"
IS_LIVE = re.compile("^Live")  # "slowed down" where the machine is busy


def count(page: Page, state: str):  # type: ignore[no-untyped-def]
    return page.locator(f".counts .{state} dd")


def live_requests(page: Page) -> list[float]:
    """When the page asked for its live part, from now on."""
    times: list[float] = []
    page.on("request", lambda request: times.append(time.monotonic()) if "part=live" in request.url else None)
    return times


def unanswered_live_requests(page: Page) -> list[Request]:
    """Those that the page waits for at the moment, of the ones it makes from now on."""
    flying: list[Request] = []
    page.on("request", lambda request: flying.append(request) if "part=live" in request.url else None)
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: flying.remove(request) if request in flying else None)
    return flying


def test_a_tab_that_is_hidden_while_its_request_is_on_the_way_says_that_it_waits(
    pool_place: Place, open_page: OpenPage
) -> None:
    page = open_page(pool_place.url)
    held: list[Route] = []

    def hold(route: Route) -> None:  # Playwright takes no method of a list
        held.append(route)

    page.route("**/*part=live*", hold)
    eventually(lambda: page.wait_for_timeout(50) or held)
    page.evaluate(HIDE)
    expect(page.locator("#live-state")).to_have_text("Waits in the background")

    with page.expect_response("**/*part=live*"):
        held[0].continue_()

    page.wait_for_timeout(500)  # the answer is shown at once
    expect(page.locator("#live-state")).to_have_text("Waits in the background")


def test_the_counts_change_while_jobs_run_without_a_new_page(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url)
    expect(count(page, "done")).to_have_text("0")
    page.evaluate(MARK)

    for number in range(5):
        place.send("hello", chat=number)
    place.send("fail")

    expect(count(page, "done")).to_have_text("5")
    expect(count(page, "failed")).to_have_text("1")
    expect(page.locator("#jobs tbody tr")).to_have_count(6)
    assert page.evaluate(IS_THE_SAME)


def test_nothing_a_reader_does_is_disturbed(pool_place: Place, open_page: OpenPage) -> None:
    pool_place.queue.pause("the test")
    for number in range(40):
        pool_place.queue.enqueue(Update("{}", 1000 + number, "message", f"chat:{number}"))
    page = open_page(pool_place.url + "/jobs")
    rows = page.locator("#jobs tbody tr")
    expect(rows).to_have_count(40)
    page.locator('input[name="q"]').fill("half a wor")
    page.evaluate("""() => {
        const cell = document.querySelector("#job-20 td:nth-child(3)");
        getSelection().selectAllChildren(cell);
        document.querySelector("#job-15 a").focus({ preventScroll: true });
        document.querySelector("#job-20").scrollIntoView({ block: "center", behavior: "instant" });
        window.place = document.querySelector("#job-20").getBoundingClientRect().top;
    }""")

    for number in range(3):
        pool_place.queue.enqueue(Update("{}", 2000 + number, "message", f"chat:{number}"))

    expect(rows).to_have_count(43)
    assert page.evaluate("getSelection().toString()").startswith("message 1019")
    assert page.evaluate("document.activeElement.textContent") == "15"
    assert page.locator('input[name="q"]').input_value() == "half a wor"
    moved = page.evaluate("document.querySelector('#job-20').getBoundingClientRect().top - window.place")
    assert abs(moved) < 3, "the row a reader looks at stays where it is"


def test_open_details_stay_open_and_closed_ones_closed(pool_place: Place, open_page: OpenPage) -> None:
    pool_place.queue.pause("the test")
    job_id = pool_place.queue.enqueue(Update("{}", 1, "message", "chat:1")).job_id
    behind = pool_place.queue.enqueue(Update("{}", 2, "message", "chat:1")).job_id
    page = open_page(f"{pool_place.url}/job/{behind}")
    page.get_by_text("Jobs of this lane that run or wait").click()
    expect(page.locator("#job details")).to_have_attribute("open", "")

    pool_place.queue.skip(job_id)

    expect(page.get_by_text("It is the first of its lane.")).to_be_visible()
    pool_place.queue.enqueue(Update("{}", 3, "message", "chat:1"))
    page.reload()
    page.get_by_text("Jobs of this lane that run or wait").click()
    pool_place.queue.enqueue(Update("{}", 4, "message", "chat:1"))
    expect(page.locator("#job details tbody tr")).to_have_count(3)
    expect(page.locator("#job details")).to_have_attribute("open", "")


def test_a_hidden_tab_asks_for_nothing_and_is_up_to_date_when_it_is_seen_again(
    pool_place: Place, open_page: OpenPage
) -> None:
    page = open_page(pool_place.url)
    asked = live_requests(page)
    flying = unanswered_live_requests(page)
    eventually(lambda: page.wait_for_timeout(50) or (asked and not flying))
    page.evaluate(HIDE)
    expect(page.locator("#live-state")).to_have_text("Waits in the background")
    eventually(lambda: page.wait_for_timeout(50) or not flying)  # one that was on its way
    asked.clear()

    pool_place.send()
    pool_place.wait_for_counts(done=1)
    page.wait_for_timeout(5000)  # two and a half pauses of a tab that is seen

    assert asked == []
    expect(count(page, "done")).to_have_text("0")
    expect(page.locator("#live-state")).to_have_text("Waits in the background")
    page.evaluate("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(count(page, "done")).to_have_text("1")
    expect(page.locator("#live-state")).to_have_text(IS_LIVE)


def test_a_slow_server_is_asked_less_often(pool_place: Place, open_page: OpenPage) -> None:
    page = open_page(pool_place.url)

    def slow(route: Route) -> None:
        time.sleep(0.8)
        route.continue_()

    page.route("**/*part=live*", slow)
    asked = live_requests(page)

    eventually(lambda: page.wait_for_timeout(50) or len(asked) >= 3)
    expect(page.locator("#live-state")).to_have_text("Live, slowed down")
    assert asked[2] - asked[1] > 4 * 0.8


def test_a_server_that_is_away_is_said_so_and_found_again(pool_place: Place, open_page: OpenPage) -> None:
    page = open_page(pool_place.url, expected_statuses=(503,))
    page.evaluate(MARK)
    page.route("**/*part=live*", lambda route: route.fulfill(status=503, body="away"))
    expect(page.locator("#live-state")).to_have_text("No answer, trying again")

    page.unroute("**/*part=live*")
    pool_place.send()

    expect(count(page, "done")).to_have_text("1")
    expect(page.locator("#live-state")).to_have_text(IS_LIVE)
    assert page.evaluate(IS_THE_SAME)


def test_an_idle_page_costs_a_few_bytes_each_time(pool_place: Place, open_page: OpenPage) -> None:
    page = open_page(pool_place.url)
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if "part=live" in answer.url else None)

    eventually(lambda: page.wait_for_timeout(100) or statuses.count(304) >= 2)


def test_logging_out_in_another_tab_ends_the_page(pool_place: Place, open_page: OpenPage) -> None:
    page = open_page(pool_place.url, expected_statuses=(403,))

    page.context.clear_cookies()

    expect(page.get_by_label("Password (BOT_MONITOR_TOKEN)")).to_be_visible()


def test_times_are_told_in_the_readers_own_zone(pool_place: Place, open_page: OpenPage) -> None:
    job_id = pool_place.send()
    page = open_page(pool_place.url + "/jobs")

    time_of_job = page.locator(f"#job-{job_id} time").first
    moment = datetime.fromisoformat(str(time_of_job.get_attribute("datetime")).replace("Z", "+00:00"))
    in_jakarta = moment + timedelta(hours=7)
    title = str(time_of_job.get_attribute("title"))
    expect(time_of_job).to_have_text(re.compile(r"^\d+ sec ago$"))
    assert re.match(f"{in_jakarta.day} {in_jakarta:%b}\\w* {in_jakarta.year}", title), "as it is written in Britain"
    assert f"{in_jakarta:%H:%M:%S}" in title


def test_charts_are_drawn_follow_the_clock_and_tell_the_same_as_their_tables(
    pool_place: Place, open_page: OpenPage
) -> None:
    demo.fill_minutes(pool_place.queue)
    page = open_page(pool_place.url)

    for span, points in (("Hour", 60), ("Day", 96), ("Week", 84)):
        page.get_by_role("link", name=span, exact=True).click()
        expect(page.get_by_role("link", name=span, exact=True)).to_have_attribute("aria-current", "true")
        expect(page.locator("#charts canvas")).to_have_count(2)
        assert page.locator("#table-jobs tbody tr").count() == points
        for chart in ("jobs", "times"):
            colours = page.evaluate(f"""() => {{
                const canvas = document.querySelector("#chart-{chart} canvas");
                const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                const seen = new Set();
                for (let i = 0; i < data.length; i += 4) {{
                    if (data[i + 3] > 200) seen.add(`${{data[i]}},${{data[i + 1]}},${{data[i + 2]}}`);
                }}
                return seen.size;
            }}""")
            assert colours > 3, "lines, a grid and their labels"

    expect(page.locator("#chart-jobs .u-series").nth(1)).to_have_text(re.compile(r"^in[\d.,]+$"))
    page.get_by_text("As a table").first.click()
    expect(page.locator("#table-jobs")).to_be_visible()
