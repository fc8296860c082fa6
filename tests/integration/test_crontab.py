"""The crontab lines of docs/hosting.md, run as cron runs them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers.cron import LINES, Cron, line_with
from tests.support.servers.idle_installation import COUNTING_BOT
from tests.support.servers.site import Site

DATABASES = pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"])


class SiteCron(Cron):
    """Cron of the owner of a site."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.root, {"/home/you/public_html": str(site.root), "/home/you": str(site.root)})
        self.site = site
        self.log = site.root / "scalable.log"


@pytest.fixture
def make_cron(make_site: Callable[..., Site], tmp_path: Path) -> Iterator[Callable[[str], SiteCron]]:
    """Makes a site with the counting bot, its queue on that database, and its cron."""

    crons: list[SiteCron] = []

    def make(database: str) -> SiteCron:
        bot = tmp_path / "bot.py"
        bot.write_text(COUNTING_BOT)
        crons.append(SiteCron(make_site(bot, database)))
        return crons[-1]

    yield make
    for cron in crons:
        cron.end()


def runs(cron: SiteCron) -> Counter[int]:
    path = cron.site.root / "runs"
    return Counter(int(number) for number in path.read_text().split()) if path.exists() else Counter()


def test_there_is_a_line_for_each_way() -> None:
    assert [re.search(r"(\w+\.py) (--\w+)", each).groups() for each in LINES] == [  # type: ignore[union-attr]
        ("worker_pool.py", "--cron"),
        ("worker.py", "--drain"),
        ("worker_pool.py", "--ensure"),
    ]


@DATABASES
def test_a_drain_works_off_what_is_due_and_ends_without_a_word(
    make_cron: Callable[[str], SiteCron], database: str
) -> None:
    cron = make_cron(database)
    for number in range(1, 6):
        cron.site.send({"update_id": number})

    assert cron.run(line_with("--drain")) == (0, "")

    assert cron.site.counts()["done"] == 5
    assert cron.log.read_text() == ""
    assert cron.run(line_with("--drain")) == (0, "")


@DATABASES
def test_two_drains_at_once_share_the_work_and_run_nothing_twice(
    make_cron: Callable[[str], SiteCron], database: str
) -> None:
    cron = make_cron(database)
    for number in range(1, 31):
        cron.site.send({"update_id": number, "message": {"chat": {"id": number}}})

    both = [cron.start(line_with("--drain")) for _ in range(2)]

    assert [process.communicate(timeout=60)[0] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert runs(cron) == dict.fromkeys(range(1, 31), 1)
    assert cron.log.read_text() == ""


@DATABASES
@pytest.mark.parametrize("option", ["--cron", "--ensure"])
def test_a_pool_that_cron_starts_hears_the_webhook_and_a_second_line_does_nothing(
    make_cron: Callable[[str], SiteCron], database: str, option: str
) -> None:
    cron = make_cron(database)
    cron.site.send({"update_id": 1})
    pool = cron.start(line_with(option))
    cron.site.wait_for_counts(done=1)

    assert cron.run(line_with(option)) == (0, "")
    assert pool.poll() is None
    cron.site.send({"update_id": 2})
    cron.site.wait_for_counts(done=2)

    assert cron.site.run("worker_pool.py", "--stop").returncode == 0
    assert pool.communicate(timeout=60) == ("", None)
    assert pool.returncode == 0
    assert runs(cron) == {1: 1, 2: 1}
    assert option == "--ensure" or cron.log.read_text() == ""
