"""The lines of the README's crontab, run as cron runs them: by /bin/sh in the home folder, with little environment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.apache import WEB_USER
from tests.support.places import REPOSITORY
from tests.support.site import Site
from tests.support.ticks import COUNTING_BOT

LINES = re.findall(r"^\* \* \* \* \* (.+)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
DATABASES = pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"])


def line(option: str) -> str:
    """The one with this option."""
    [found] = [each for each in LINES if option in each]
    return found


class Cron:
    """Cron of one site. What a line prints, cron would mail."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.log = site.root / "scalable.log"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, command: str) -> subprocess.Popen[str]:
        """Run one line as the owner of the site."""
        for written in ("/home/you/public_html", "/home/you"):
            command = command.replace(written, str(self.site.root))
        owner = ["setpriv", f"--reuid={WEB_USER}", f"--regid={WEB_USER}", "--clear-groups", "--"]
        environment = {
            "HOME": str(self.site.root), "LOGNAME": WEB_USER, "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin",
        }
        process = subprocess.Popen(
            [*(owner if os.geteuid() == 0 else []), "/bin/sh", "-c", command], env=environment, cwd=self.site.root,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, command: str) -> tuple[int, str]:
        """The same, to its end: the exit code and the mail."""
        process = self.start(command)
        mail, _ = process.communicate(timeout=60)
        return process.returncode, mail

    def end(self) -> None:
        """End what a failed test left; workers end with their pool."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=10)


@pytest.fixture
def make_cron(make_site: Callable[..., Site], tmp_path: Path) -> Iterator[Callable[[str], Cron]]:
    """Makes a site with the counting bot, its queue on that database, and its cron."""

    crons: list[Cron] = []

    def make(database: str) -> Cron:
        bot = tmp_path / "bot.py"
        bot.write_text(COUNTING_BOT)
        crons.append(Cron(make_site(bot, database)))
        return crons[-1]

    yield make
    for cron in crons:
        cron.end()


def runs(cron: Cron) -> Counter[int]:
    path = cron.site.root / "runs"
    return Counter(int(number) for number in path.read_text().split()) if path.exists() else Counter()


def test_there_is_a_line_for_each_way() -> None:
    assert [re.search(r"(\w+\.py) (--\w+)", each).groups() for each in LINES] == [  # type: ignore[union-attr]
        ("worker_pool.py", "--cron"), ("worker.py", "--drain"), ("worker_pool.py", "--ensure"),
    ]


@DATABASES
def test_a_drain_works_off_what_is_due_and_ends_without_a_word(make_cron: Callable[[str], Cron], database: str) -> None:
    cron = make_cron(database)
    for number in range(1, 6):
        cron.site.send({"update_id": number})

    assert cron.run(line("--drain")) == (0, "")

    assert cron.site.counts()["done"] == 5
    assert cron.log.read_text() == ""
    assert cron.run(line("--drain")) == (0, "")


@DATABASES
def test_two_drains_at_once_share_the_work_and_run_nothing_twice(
    make_cron: Callable[[str], Cron], database: str
) -> None:
    cron = make_cron(database)
    for number in range(1, 31):
        cron.site.send({"update_id": number, "message": {"chat": {"id": number}}})

    both = [cron.start(line("--drain")) for _ in range(2)]

    assert [process.communicate(timeout=60)[0] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert runs(cron) == dict.fromkeys(range(1, 31), 1)
    assert cron.log.read_text() == ""


@DATABASES
@pytest.mark.parametrize("option", ["--cron", "--ensure"])
def test_a_pool_that_cron_starts_hears_the_webhook_and_a_second_line_does_nothing(
    make_cron: Callable[[str], Cron], database: str, option: str
) -> None:
    cron = make_cron(database)
    cron.site.send({"update_id": 1})
    pool = cron.start(line(option))
    cron.site.wait_for_counts(done=1)

    assert cron.run(line(option)) == (0, "")
    assert pool.poll() is None
    cron.site.send({"update_id": 2})
    cron.site.wait_for_counts(done=2)

    assert cron.site.run("worker_pool.py", "--stop").returncode == 0
    assert pool.communicate(timeout=60) == ("", None)
    assert pool.returncode == 0
    assert runs(cron) == {1: 1, 2: 1}
    assert option == "--ensure" or cron.log.read_text() == ""
