"""An installation that no pool serves: its scripts are started by the test, as cron or a web server would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from scalable.lib.installation import Installation
from scalable.lib.setup.config import load_config
from scalable.lib.telegram.update import Update, read_update
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until
from tests.support.waiting import PATIENCE_SECONDS

NO_DATABASE = {"BOT_DB_HOST": "127.0.0.1:1", "BOT_DB_NAME": "a", "BOT_DB_USER": "b", "BOT_DB_PASS": ""}
# Says that it started, then works until the test lets it go on, or for longer than any test waits.
GATED_BOT = """
import json, os, pathlib, sys, time
update = json.load(sys.stdin)
started = pathlib.Path(f"started-{update['update_id']}")
with started.open("a") as file:
    file.write(f"{os.getpid()}\\n")
for _ in range(6000):
    if pathlib.Path("go").exists():
        sys.exit(0)
    time.sleep(0.05)
"""
# One line for every run.
COUNTING_BOT = """
import json, sys
update = json.load(sys.stdin)
with open("runs", "a") as file:
    file.write(f"{update['update_id']}\\n")
"""


class Started:
    """A script that was started; `out` is all it has said so far, on standard output and standard error."""

    def __init__(self, child: Child, log: Path) -> None:
        self.child = child
        self._log = log

    @property
    def out(self) -> str:
        """Empty while all goes well."""
        return self._log.read_text() if self._log.exists() else ""

    def end(self, within_seconds: float = PATIENCE_SECONDS) -> int | None:
        """Wait for its end; the exit code."""
        wait_until(lambda: not self.child.is_running(), lambda: f"it still runs\n{self.out}", within_seconds)
        return self.child.exit_code


class Ticks:
    """Everything that was started ends with the `with` block."""

    def __init__(self, folder: Path, bot: Path, **settings: str) -> None:
        self.folder = folder
        self.site = ServedSite(folder, bot, **settings)
        self.environment = self.site.environment
        installation = Installation(load_config(self.environment))
        self.data_folder = installation.data_folder
        self.queue = installation.queue()
        self._children: list[Child] = []

    def __enter__(self) -> Ticks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.folder / "go").touch()
        for child in self._children:
            child.close()
        self.queue.close()

    def start(self, script: str, *arguments: str, wrapper: Sequence[str] = (), **environment: str) -> Started:
        """Start one of the scripts, by way of `wrapper` when that is given."""
        log = self.folder / f"{script}-{len(self._children)}.log"
        command = [*wrapper, *self.site.command(script, *arguments)]
        child = Child(command, log=log, environment={**self.environment, **environment})
        self._children.append(child)
        child.start()
        return Started(child, log)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        return self.site.run(script, *arguments, **environment)

    def store(self, update_id: int, chat: int | None = None, text: str = "/start") -> None:
        """Put an update into the queue without notifying the pool."""
        message = {"chat": {"id": update_id if chat is None else chat, "type": "private"}, "text": text, "date": 1}
        update = read_update(json.dumps({"update_id": update_id, "message": message}).encode())
        self.queue.ensure_schema()
        self.queue.enqueue(Update(update.payload, update.update_id, update.update_type, update.lane))

    def deliver(self, update_id: int, chat: int | None = None, text: str = "/start") -> None:
        """Store an update and notify the pool, as the webhook does."""
        self.store(update_id, chat, text)
        self.data_folder.notify_pool()

    def deliver_payment(self, update_id: int) -> None:
        """The same of a payment to be confirmed."""
        query = {"id": str(update_id), "from": {"id": update_id}, "currency": "EUR", "total_amount": 1}
        update = read_update(json.dumps({"update_id": update_id, "pre_checkout_query": query}).encode())
        self.queue.enqueue(update)
        self.data_folder.notify_pool()

    def states(self) -> dict[int, str]:
        """The state of every update."""
        return {job.update_id or 0: job.status for job in self.queue.newest(10_000)}

    def attempts(self) -> dict[int, int]:
        """How often each update was begun."""
        return {job.update_id or 0: job.attempts for job in self.queue.newest(10_000)}

    def wait_for_states(self, expected: Mapping[int, str], within_seconds: float = PATIENCE_SECONDS) -> None:
        """Return once the queue is in these states."""
        wait_until(lambda: self.states() == expected, lambda: (self.states(), self.logs()), within_seconds)

    def wait_for_file(self, name: str) -> None:
        """Return once the bot has made that file."""
        wait_until(lambda: (self.folder / name).exists() and (self.folder / name).read_text(), self.logs)

    def wait_for_ear(self) -> None:
        """Return once a pool listens for notifications."""
        wait_until(self.data_folder.notification_socket.exists, self.logs)

    def runs(self) -> list[int]:
        """The updates the counting bot was run with, in that order."""
        path = self.folder / "runs"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def logs(self) -> str:
        """What every script said, for a failed test."""
        return "\n".join(f"{log.name}: {log.read_text()}" for log in sorted(self.folder.glob("*.log")))


def php_bot() -> Path:
    """The example bot, which reads what a web server would send or standard input."""
    return REPOSITORY / "examples" / "bot.php"
