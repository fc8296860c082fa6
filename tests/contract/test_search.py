"""How a person finds jobs: by state, type, lane, number and error, a page at a time, on every database."""

from __future__ import annotations

import json

import pytest

from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views import search as search_module
from scalable.lib.queue.views.search import Filter, Search, read_filter
from scalable.lib.telegram.update import Update
from tests.support.fakes.clock import FakeClock

LEASE_SECONDS = 45


@pytest.fixture
def search(queue: DatabaseQueue) -> Search:
    return Search(queue.table, FakeClock())  # how far it comes does not depend on the machine


def message(number: int, chat: int, user: int) -> str:
    return json.dumps({"update_id": number, "message": {"chat": {"id": chat}, "from": {"id": user}, "text": "4711"}})


def add(queue: DatabaseQueue, number: int, chat: int = 1, user: int = 9, update_type: str = "message") -> int:
    return queue.enqueue(Update(message(number, chat, user), number, update_type, f"chat:{chat}")).job_id


def end(queue: DatabaseQueue, limit: int, error: str = "") -> list[int]:
    """Run up to that many jobs, each to its end."""
    jobs = queue.claim("worker", LEASE_SECONDS, limit=limit)
    for job in jobs:
        if error:
            queue.fail(job.lease, error)
        else:
            queue.complete(job.lease)
    return [job.id for job in jobs]


def pages(search: Search, wanted: Filter, limit: int) -> list[list[int]]:
    """The ids on each page, to the last."""
    found, before = [], None
    while True:
        page = search.find(wanted, limit, before)
        found.append([job.id for job in page.jobs])
        before = page.next_before
        if before is None:
            return found


def all_of(search: Search, wanted: Filter, limit: int) -> list[int]:
    """The ids on all pages."""
    return [job_id for page in pages(search, wanted, limit) for job_id in page]


def test_an_empty_queue_has_an_empty_page(search: Search) -> None:
    for wanted in (Filter(), Filter(status="failed"), Filter(number=1), Filter(lane="chat:1")):
        assert pages(search, wanted, 10) == [[]]


def test_everything_is_shown_newest_first_and_paged_by_id(queue: DatabaseQueue, search: Search) -> None:
    ids = [add(queue, number) for number in range(7)][::-1]

    assert pages(search, Filter(), 3) == [ids[:3], ids[3:6], ids[6:]]
    assert pages(search, Filter(), 7) == [ids]


@pytest.mark.parametrize("wanted", [Filter(), Filter(status="pending")], ids=["all", "a state"])
def test_a_page_does_not_shift_when_jobs_come_in_or_its_last_one_goes(
    queue: DatabaseQueue, search: Search, wanted: Filter
) -> None:
    ids = [add(queue, number) for number in range(6)][::-1]
    first = search.find(wanted, 2)

    add(queue, 100)
    assert first.next_before == ids[1]
    assert [job.id for job in search.find(wanted, 2, first.next_before).jobs] == ids[2:4]

    queue.delete(ids[1])
    assert [job.id for job in search.find(wanted, 2, first.next_before).jobs] == ids[2:4]


def test_a_state_is_paged_through_its_index(queue: DatabaseQueue, search: Search) -> None:
    for number in range(9):
        add(queue, number, chat=number)
    failed = end(queue, 5, "exit code 1")[::-1]

    assert pages(search, Filter(status="failed"), 2) == [failed[:2], failed[2:4], failed[4:]]
    assert pages(search, Filter(status="done"), 2) == [[]]
    assert {job.status for job in search.find(Filter(status="pending"), 9).jobs} == {"pending"}


def test_type_and_lane_are_found_among_many_others(
    queue: DatabaseQueue, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "FIRST_STEP", 3)
    monkeypatch.setattr(search_module, "LONGEST_STEP", 5)
    monkeypatch.setattr(search_module, "STATE_STEP", 4)
    wanted = [
        add(queue, 10 * number, chat=number % 2, update_type="poll" if number % 3 else "message")
        for number in range(30)
    ]
    polls = [job_id for number, job_id in enumerate(wanted) if number % 3][::-1]
    both = [job_id for number, job_id in enumerate(wanted) if number % 3 and number % 2][::-1]

    for status in (None, "pending"):
        assert all_of(search, Filter(status, "poll"), 4) == polls
        assert all_of(search, Filter(status, "poll", "chat:1"), 3) == both
        assert pages(search, Filter(status, "no_such_type"), 3) == [[]]


@pytest.mark.parametrize("number", [1234567890123, -1001234567890])
def test_a_number_finds_what_has_it_as_chat_or_user_and_nothing_else(
    queue: DatabaseQueue, search: Search, number: int
) -> None:
    in_text = {"message": {"text": f"{number}", "date": number, "chat": {"id": 10 * number}}, "user_id": f"{number}"}
    queue.enqueue(Update(json.dumps(in_text)))
    chat = add(queue, 1, chat=number)
    user = add(queue, 2, user=number)
    compact = queue.enqueue(Update(f'{{"poll_answer":{{"user":{{"id":{number},"x":1}}}}}}')).job_id
    lane = queue.enqueue(Update(f'{{"a": {number}}}', None, None, f"member:{number}")).job_id

    found = search.find(Filter(number=number), 10)

    assert [job.id for job in found.jobs] == [lane, compact, user, chat]
    assert found.exact == ()
    assert [job.id for job in search.find(Filter("pending", number=number), 10).jobs] == [lane, compact, user, chat]
    assert search.find(Filter("failed", number=number), 10).jobs == ()


def test_a_number_finds_the_job_and_the_update_at_once(queue: DatabaseQueue, search: Search) -> None:
    first = add(queue, 500)
    second = add(queue, first)

    found = search.find(Filter(number=first), 10)

    assert [job.id for job in found.exact] == [first, second]
    assert [job.id for job in search.find(Filter(number=500), 10).exact] == [first]
    assert search.find(Filter("failed", number=500), 10).exact == ()


def test_who_may_not_see_people_looks_up_numbers_of_jobs_and_updates_alone(
    queue: DatabaseQueue, search: Search
) -> None:
    job_id = add(queue, 500, chat=4711, user=4712)

    assert [job.id for job in search.exact(Filter(number=job_id))] == [job_id]
    assert [job.id for job in search.exact(Filter(number=500))] == [job_id]
    assert search.exact(Filter("failed", number=500)) == ()
    for wanted in (Filter(number=4711), Filter(number=4712), Filter(), Filter(lane="chat:4711")):
        assert search.exact(wanted) == ()


@pytest.mark.parametrize(
    ("text", "expected"), [("CHAT NOT", 1), ("100%", 1), ("10_%", 0), ("!", 1), ("'; DROP TABLE", 0), ("exit code", 3)]
)
def test_a_part_of_the_error_finds_jobs_whatever_characters_are_in_it(
    queue: DatabaseQueue, search: Search, text: str, expected: int
) -> None:
    for number, error in enumerate(["exit code 1\nchat not found", "exit code 1\nfull: 100% !", "exit code 1\n1000"]):
        add(queue, number)
        end(queue, 1, error)

    assert len(search.find(Filter(error=text), 10).jobs) == expected
    assert len(search.find(Filter("failed", error=text), 10).jobs) == expected


def test_a_long_search_stops_in_time_says_how_far_it_came_and_goes_on_from_there(
    queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(FakeClock):
        def __call__(self) -> float:
            self.now += search_module.BUDGET_SECONDS / 3
            return self.now

    monkeypatch.setattr(search_module, "FIRST_STEP", 5)
    monkeypatch.setattr(search_module, "STATE_STEP", 5)
    monkeypatch.setattr(search_module, "QUICK_SHARE", 0.0)
    oldest = add(queue, 0, update_type="poll")
    for number in range(1, 40):
        add(queue, number)
    search = Search(queue.table, Slow())

    for wanted in (Filter(update_type="poll"), Filter("pending", "poll")):
        first = search.find(wanted, 10)

        assert (first.jobs, first.full) == ((), False)
        assert first.next_before is not None
        assert oldest < first.next_before < oldest + 39
        assert all_of(search, wanted, 10) == [oldest]


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(update_type="message"),
        Filter(status="pending", number=9),
        Filter(lane="chat:1", number=9),
        Filter(status="pending"),
        Filter(lane="chat:1"),
    ],
    ids=["all", "a state, row by row", "a lane, row by row", "a state", "a lane"],
)
def test_a_search_whose_time_is_over_before_it_began_comes_further(
    queue: DatabaseQueue, search: Search, wanted: Filter
) -> None:
    ids = [add(queue, number) for number in range(1, 6)]

    found = search.find(wanted, 2, budget_seconds=0.0)

    assert [job.id for job in found.jobs] == [ids[4], ids[3]]
    assert found.next_before == ids[3]


def test_what_a_person_writes_is_understood(queue: DatabaseQueue) -> None:
    assert read_filter() == Filter()
    assert read_filter("failed", "message", "chat:1", "  17 ") == Filter("failed", "message", "chat:1", number=17)
    assert read_filter(text="-100123") == Filter(number=-100123)
    assert read_filter(text="no such chat") == Filter(error="no such chat")
    assert read_filter(text="9" * 19) == Filter(error="9" * 19)
    assert read_filter(text="٣") == Filter(error="٣")


def test_a_lane_is_paged_through_its_index_whatever_state_its_jobs_are_in(
    queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [add(queue, number, chat=number % 2, update_type="poll" if number % 3 else "message") for number in range(12)]
    of_lane = [job_id for number, job_id in enumerate(ids) if number % 2 == 1][::-1]
    ended = [job_id for _ in range(3) for job_id in end(queue, 2, "exit code 1") if job_id in of_lane][::-1]
    looked_at: list[int] = []
    rows = queue.table.rows

    def counted(statement: str, **values: object) -> list[tuple[object, ...]]:
        looked_at.extend(values.get("ids", []))  # type: ignore[call-overload]
        return rows(statement, **values)

    monkeypatch.setattr(queue.table, "rows", counted)
    search = Search(queue.table)

    assert pages(search, Filter(lane="chat:1"), 4) == [of_lane[:4], of_lane[4:]]
    assert pages(search, Filter("failed", lane="chat:1"), 2) == [ended[:2], ended[2:]]
    assert all_of(search, Filter("pending", "poll", "chat:1"), 2) == [
        job_id for job_id in of_lane if job_id not in ended and ids.index(job_id) % 3
    ]
    assert pages(search, Filter(lane="chat:2"), 2) == [[]]
    assert set(looked_at) <= set(of_lane), "no job of another lane is read"


def test_a_search_that_only_begins_ends_sooner(queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FakeClock):
        def __call__(self) -> float:
            self.now += search_module.FIRST_BUDGET_SECONDS / 3
            return self.now

    monkeypatch.setattr(search_module, "FIRST_STEP", 5)
    monkeypatch.setattr(search_module, "STATE_STEP", 5)
    for number in range(200):
        add(queue, number)

    for wanted in (Filter(update_type="poll"), Filter("pending", "poll"), Filter("pending", "poll", "chat:1")):
        begun = Search(queue.table, Slow()).find(wanted, 10, None, search_module.FIRST_BUDGET_SECONDS)
        usual = Search(queue.table, Slow()).find(wanted, 10)

        assert (begun.full, usual.full) == (False, True)
        assert usual.next_before is None


def test_the_newest_jobs_are_one_question(queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [add(queue, number) for number in range(5)][::-1]
    asked: list[str] = []
    rows = queue.table.rows
    monkeypatch.setattr(queue.table, "rows", lambda sql, **values: asked.append(sql) or rows(sql, **values))
    search = Search(queue.table)

    assert pages(search, Filter(), 3) == [ids[:3], ids[3:]]
    assert len(asked) == 2, "one for each page"
    assert pages(search, Filter(), 5) == [ids]
