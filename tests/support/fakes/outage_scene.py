"""An installation whose PHP bot fails while a file is there, and which writes down what it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.servers.children import tail
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

# Three attempts, a second apart: without a breaker an update fails for good after three seconds.
SHORT = {"BOT_JOB_MAX_ATTEMPTS": "3", "BOT_JOB_RETRY_BASE": "1", "BOT_JOB_RETRY_MAX": "1"}
BOT = """<?php
$update = json_decode(file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input'), true);
file_put_contents(__DIR__ . '/tried', $update['update_id'] . ' ' . microtime(true) . "\\n", FILE_APPEND);
if (is_file(__DIR__ . '/down')) { http_response_code(500); exit(1); }
if ($update['message']['text'] === 'poison') { http_response_code(500); exit(1); }
file_put_contents(__DIR__ . '/ran', $update['update_id'] . ' ' . $update['message']['chat']['id'] . "\\n", FILE_APPEND);
"""


def message(number: int, chat: int, text: str = "hello", sender: int | None = None) -> dict[str, Any]:
    """An update from Telegram."""
    content = {"chat": {"id": chat, "type": "private"}, "text": text, **({"from": {"id": sender}} if sender else {})}
    return {"update_id": number, "message": content}


class OutageScene:
    """An installation with a PHP bot in a folder of its own, and what the bot wrote down."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.site_folder = folder / "site"
        self.site_folder.mkdir()
        self.bot = self.site_folder / "bot.php"
        self.bot.write_text(BOT)
        self.down = self.site_folder / "down"
        self.site = ServedSite(folder, self.bot, **{**SHORT, **settings})

    def post(self, *chats: int, first: int = 1, text: str = "hello") -> None:
        """An update for each of the chats, numbered from `first` on."""
        for number, chat in enumerate(chats, first):
            assert self.site.send(message(number, chat, text)).status == 200

    def ran(self) -> list[list[int]]:
        """Update and chat of every run that succeeded, in order."""
        file = self.site_folder / "ran"
        return [[int(word) for word in line.split()] for line in file.read_text().splitlines()] if file.exists() else []

    def tried_at(self) -> list[float]:
        """When the bot was begun, by PHP's clock."""
        return [float(line.split()[1]) for line in (self.site_folder / "tried").read_text().splitlines()]

    def is_down(self) -> bool:
        """Whether the page says so."""
        return self.site.overview()["bot_down"] is not None

    def wait_until_down(self) -> None:
        """The workers have found out."""
        wait_until(self.is_down, lambda: (self.site.overview(), tail(self.site.log)))

    def wait_until_done(self, count: int) -> None:
        """Within two of the longest steps after the outage."""
        self.site.wait_for_counts(150, done=count, total=count)

    def assert_in_order_and_without_loss(self, count: int) -> None:
        """Each of so many updates succeeded once, in the order of its chat, and used one attempt."""
        ran, jobs = self.ran(), self.site.overview()["jobs"]
        assert sorted(number for number, _ in ran) == list(range(1, count + 1)), tail(self.site.log)
        for chat in {chat for _, chat in ran}:
            numbers = [number for number, of_chat in ran if of_chat == chat]
            assert numbers == sorted(numbers)
        assert {(job["status"], job["attempts"]) for job in jobs} == {("done", 1)}, jobs
