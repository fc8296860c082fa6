"""A real pool, resident or of one tick, tells its owner in Telegram that the queue is paused; a shell knows it, too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.generators.bots import python_bot
from tests.support.servers.served_installation import ServedSite
from tests.support.waiting import PATIENCE_SECONDS

CHAT = "4711"
OURS = "https://example.com/scalable/webhook_queue.py"


@pytest.fixture
def api() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        api.webhook_url = OURS
        yield api


@pytest.fixture
def site(tmp_path: Path, api: FakeBotApi) -> ServedSite:
    site = ServedSite(
        tmp_path,
        python_bot(tmp_path, "import sys; sys.stdin.read()"),
        BOT_TOKEN=TOKEN,
        BOT_API_URL=api.url,
        BOT_ALERT_CHAT_ID=CHAT,
    )
    site.run("dashboard.py", "pause").check_returncode()
    return site


def messages(api: FakeBotApi) -> list[tuple[str, str]]:
    """Chat and text of what was sent."""
    return [(str(p["chat_id"]), str(p["text"])) for p in api.named("sendMessage")]


def assert_told_of_the_pause(api: FakeBotApi) -> None:
    ((chat, text),) = messages(api)
    assert chat == CHAT
    assert text.startswith("Scalable mode, ")
    assert "the queue is paused since" in text


def test_the_resident_pool_tells_its_owner_and_a_shell_gives_the_same_verdict(site: ServedSite, api: FakeBotApi):
    with site:
        api.wait_for_calls(2)  # it asks about the webhook first
        verdict = site.run("worker_pool.py", "--health")

    assert_told_of_the_pause(api)
    assert verdict.returncode == 1
    assert "attention: the queue is paused since" in verdict.stdout


def test_so_does_a_pool_that_lives_for_one_tick_of_cron(site: ServedSite, api: FakeBotApi):
    command, pipe = site.command("worker_pool.py", "--cron"), subprocess.PIPE
    with subprocess.Popen(command, env=site.environment, stdout=pipe, stderr=pipe, text=True) as tick:
        try:
            api.wait_for_calls(2)
            tick.terminate()  # long before its time is over
            said = tick.communicate(timeout=PATIENCE_SECONDS)
        finally:
            tick.kill()

    assert (tick.returncode, *said) == (0, "", "")
    assert_told_of_the_pause(api)


def test_when_all_is_well_the_shell_says_so(tmp_path: Path):
    with ServedSite(tmp_path, python_bot(tmp_path, "import sys; sys.stdin.read()")) as site:
        site.send({"update_id": 1})
        site.wait_for_counts(done=1)
        verdict = site.run("worker_pool.py", "--health")

    assert (verdict.returncode, verdict.stdout) == (0, "working\n")
