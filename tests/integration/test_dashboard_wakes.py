"""What a person makes due begins at once: the idle workers are told, and need not find it by looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

# Fails on "fail" until the file says that it was repaired.
BOT = """
import json, pathlib, sys
update = json.load(sys.stdin)
if update["message"]["text"] == "fail" and not (pathlib.Path(__file__).parent / "repaired").exists():
    sys.exit("no such chat")
"""
# The pool looks by itself once in 60 s, and the next attempt is in five minutes: neither is why a test ends in time.
RARELY = {"BOT_WORKER_SLEEP": "60", "BOT_JOB_RETRY_BASE": "300", "BOT_JOB_RETRY_MAX": "300"}
AT_ONCE_SECONDS = 30.0
Press = Callable[[ServedSite, str, str], None]


def by_page(site: ServedSite, action: str, job_id: str) -> None:
    """The button."""
    answer = site.owner().press(action, id=job_id, sure="yes")
    assert answer.status == 303, answer


def by_shell(site: ServedSite, action: str, job_id: str) -> None:
    """The command of the same name."""
    finished = site.run("dashboard.py", action, *([job_id] if job_id else []))
    assert finished.returncode == 0, finished.stderr


each_way = pytest.mark.parametrize("press", [by_page, by_shell], ids=["page", "shell"])


@pytest.fixture(params=["1", "2"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServedSite]:
    """Its parameter is the number of attempts an update has: 1, and it fails at once; 2, and it waits in back-off."""
    bot = tmp_path / "bot.py"
    bot.write_text(BOT)
    with ServedSite(tmp_path, bot, BOT_JOB_MAX_ATTEMPTS=request.param, **RARELY) as served:
        yield served


def send(site: ServedSite, number: int, text: str) -> str:
    """A message of one and the same chat; the id of its job."""
    update = {"update_id": number, "message": {"chat": {"id": 7}, "text": text}}
    return str(site.send(update).json()["queued_job_id"])


def wait_until_tried(site: ServedSite, status: str) -> None:
    """Return once the newest update was tried, and is in that state now."""

    def newest() -> tuple[object, ...]:
        job = site.overview()["jobs"][0]
        return job["attempts"], job["status"]

    wait_until(lambda: newest() == (1, status), newest)


def repair(site: ServedSite) -> None:
    (site.folder / "repaired").touch()


@each_way
@pytest.mark.parametrize(("site", "action"), [("1", "retry"), ("2", "run-now")], indirect=["site"])
def test_a_job_run_again_by_hand_begins_at_once(site: ServedSite, press: Press, action: str) -> None:
    job_id = send(site, 1, "fail")
    wait_until_tried(site, "failed" if action == "retry" else "pending")
    repair(site)

    press(site, action, job_id)

    site.wait_for_counts(AT_ONCE_SECONDS, done=1)


@each_way
@pytest.mark.parametrize("site", ["2"], indirect=True)
@pytest.mark.parametrize("action", ["skip", "delete"])
def test_a_lane_that_is_freed_by_hand_goes_on_at_once(site: ServedSite, press: Press, action: str) -> None:
    head = send(site, 1, "fail")
    wait_until_tried(site, "pending")
    send(site, 2, "hello")
    site.wait_for_counts(pending=2)

    if press is by_shell and action == "delete":
        assert site.run("dashboard.py", "delete", head, "--yes").returncode == 0
    else:
        press(site, action, head)

    site.wait_for_counts(AT_ONCE_SECONDS, done=1)


@each_way
@pytest.mark.parametrize("site", ["1"], indirect=True)
def test_a_queue_that_is_resumed_goes_on_at_once_and_not_before(site: ServedSite, press: Press) -> None:
    press(site, "pause", "")
    for number in range(1, 4):
        send(site, number, "hello")
    assert site.counts()["pending"] == 3

    press(site, "resume", "")

    site.wait_for_counts(AT_ONCE_SECONDS, done=3)


@pytest.mark.parametrize("site", ["1"], indirect=True)
def test_all_that_failed_begin_at_once_when_they_are_retried(site: ServedSite) -> None:
    for number in range(1, 4):
        send(site, number, "fail")
    site.wait_for_counts(failed=3)
    repair(site)

    answer = site.owner().press("retry-matching:failed", sure="yes")

    assert answer.status == 303
    site.wait_for_counts(AT_ONCE_SECONDS, done=3)
