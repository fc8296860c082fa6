"""A search over many jobs: the page is there at once, and looks further back by itself."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from scalable.lib.queue.enqueue_batch import MOST_AT_ONCE
from scalable.lib.telegram.update import Update
from tests.browser.conftest import OpenPage, Place

WANTED = 5550123
# So many that no server examines them all in the time that a page is opened with.
OTHERS = 40_000


def fill(place: Place) -> list[int]:
    """Two jobs of one user in groups, one before and one behind many of others; their ids, newest first."""
    place.queue.pause("the test")
    update = f'{{"message": {{"from": {{"id": {WANTED}}}}}}}'
    first = place.queue.enqueue(Update(update, 1, "message", "chat:-1")).job_id
    for start in range(0, OTHERS, MOST_AT_ONCE):
        numbers = range(start, min(start + MOST_AT_ONCE, OTHERS))
        place.queue.enqueue_many([Update("{}" + " " * 500, 10 + number, "message", "chat:7") for number in numbers])
    last = place.queue.enqueue(Update(update, 2, "message", "chat:-2")).job_id
    return [last, first]


def open_search(page: Page, place: Place, query: str) -> str:
    """Open the list of jobs with this query; the page as it came, before its script ran."""
    response = page.goto(f"{place.url}/jobs?{query}")
    assert response is not None
    return response.text()


def test_a_search_goes_on_by_itself_until_it_has_looked_at_all_jobs(pool_place: Place, open_page: OpenPage) -> None:
    ids = fill(pool_place)
    page = open_page(pool_place.url)

    came = open_search(page, pool_place, f"q={WANTED}")

    assert f'id="job-{ids[0]}"' in came
    assert f'id="job-{ids[1]}"' not in came
    assert "data-look-further" in came
    expect(page.locator("#found tbody tr")).to_have_count(2)
    assert [row.get_attribute("id") for row in page.locator("#found tr[id]").all()] == [f"job-{each}" for each in ids]
    expect(page.locator("[data-look-further]")).to_have_count(0)

    came = open_search(page, pool_place, "q=77000077")

    assert "No job matches" not in came
    expect(page.locator("#found")).to_have_text("No job matches.")
    expect(page.locator("[data-look-further]")).to_have_count(0)
