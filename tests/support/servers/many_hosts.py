"""Hosts with a pool and a webhook each, told apart by name, and a Telegram that delivers to all of them.

A host is a UTS namespace with a data folder of its own; network, clock and process ids are the machine's.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.servers.served_installation import ServedSite

AGAIN_SECONDS = 0.2


class Host(ServedSite):
    """A ServedSite whose processes find themselves on a machine called `name`."""

    def __init__(self, name: str, folder: Path, bot: Path, **settings: str) -> None:
        self.name = name
        folder.mkdir()
        super().__init__(folder, bot, **settings)

    def pool_command(self) -> list[str]:
        """The pool, in its place."""
        return ["unshare", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', self.name, *super().pool_command()]


class Telegram:
    """Delivers updates of many chats until it is stopped, each chat's next one when the last one was taken.

    One that was not taken is delivered again, to any host, as by a load balancer.
    """

    def __init__(self, hosts: Sequence[Host], chats: int, updates_per_second: float, always_fails: int) -> None:
        """Every so many-th update `always_fails`, says its own text, which the bot reads."""
        self._hosts = hosts
        self._always_fails = always_fails
        self._lock = threading.Lock()
        self._last = 0
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._pause_seconds = len(hosts) / updates_per_second
        self._threads = [
            threading.Thread(target=self._deliver, args=(range(number, chats, len(hosts)), random.Random(number)))
            for number in range(len(hosts))
        ]
        self.accepted: dict[int, str] = {}
        self.refused: Counter[str] = Counter()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, give_up: bool = False) -> None:
        """End when each update at hand was taken; `give_up`: or not."""
        if give_up:
            self._give_up.set()
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _deliver(self, chats: Sequence[int], chance: random.Random) -> None:
        while not self._stop.wait(chance.random() * 2 * self._pause_seconds):
            update = self._update(chance.choice(chats))
            while not self._is_taken(chance.choice(self._hosts), update):
                if self._give_up.wait(AGAIN_SECONDS):
                    return
            self.accepted[update["update_id"]] = update["lane"]

    def _update(self, chat: int) -> dict[str, Any]:
        with self._lock:
            self._last += 1
            number = self._last
        message = {"message_id": number, "date": 1, "chat": {"id": chat, "type": "private"}, "text": "hello"}
        return {
            "update_id": number,
            "message": message,
            "lane": f"chat:{chat}",
            "always_fails": number % self._always_fails == 0,
        }

    def _is_taken(self, host: Host, update: dict[str, Any]) -> bool:
        try:
            taken = host.send(update).status == 200
        except OSError:
            taken = False
        if not taken:
            self.refused[host.name] += 1
        return taken
