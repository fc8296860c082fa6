"""Somebody new, who types the commands of a document, and has a host, cron and a Telegram to do it with.

Knows how to type commands and what stands for the invented places in them; not what the documents say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.places import REPOSITORY
from tests.support.servers.apache import SHORT_PATH, start_apache
from tests.support.servers.children import free_port
from tests.support.servers.cron import Cron
from tests.support.servers.release import as_owner, build_release
from tests.support.servers.site import Answer, request, wait_until

# Nothing of the tests' own virtual environment or caches goes along.
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".cache", "__pycache__", ".*_cache", ".hypothesis", ".htdata", "vendor", "dist"
)
# Commands that go on until Ctrl-C: what they have said once they are at work, and at their end.
LASTING = {
    "make run": ("Ctrl-C ends it.", "pool stopped exit_code=0"),
    "python3 scalable/worker_pool.py": ("pool started", "pool stopped exit_code=0"),
    "python3 scalable/webhook_queue.py poll": ("polling began", "polling ended"),
}


class Newcomer:
    """A fresh clone in `project`, the web folder of an owner behind Apache, and a Telegram with one bot."""

    def __init__(self, folder: Path, telegram: FakeBotApi) -> None:
        self.telegram = telegram
        self.project, self.home = folder / "project", folder / "home"
        self.site = self.home / "public_html"
        self.site.mkdir(parents=True)
        shutil.copy(REPOSITORY / "examples" / "bot.php", self.site)
        shutil.copy(REPOSITORY / "examples" / "updates" / "message-start.json", self.site / "update.json")
        self.apache = start_apache(folder / "apache", site=self.site, handler_php="cgi")
        if os.geteuid() == 0:
            shutil.chown(self.home, self.site.owner(), self.site.group())
        self.cron = Cron(self.home, {"/home/you": str(self.home)})
        self.cron_line = ""
        self.port = free_port()
        self._folder = self.site
        self._lasting: list[tuple[str, subprocess.Popen[str], Path]] = []

    def clone(self) -> None:
        """The project as a new clone has it, and the newcomer in it."""
        shutil.copytree(REPOSITORY, self.project, ignore=LEFT_BEHIND)
        identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        for command in (["init", "-q"], ["add", "--all"], [*identity, "commit", "-q", "-m", "All of it"]):
            subprocess.run(["git", "-C", str(self.project), *command], check=True, timeout=60)
        self._folder = self.project

    def take_release(self) -> None:
        """The zip of this project in the web folder, and the newcomer there."""
        self.upload(build_release(self.home.parent / "dist"))
        self._folder = self.site

    def upload(self, release: Path) -> None:
        """As by the panel's file manager."""
        target = self.site / release.name
        shutil.copyfile(release, target)
        target.chmod(0o644)

    def write_settings(self, **settings: str) -> None:
        """Add lines to scalable/.htenv, as in the panel's editor."""
        with (self.site / "scalable" / ".htenv").open("a") as file:
            file.write("".join(f"{name}={value}\n" for name, value in settings.items()))

    def use_token(self) -> None:
        """The settings of a bot of this Telegram, unless they are there."""
        if not self.setting("BOT_TOKEN"):
            self.write_settings(BOT_TOKEN=TOKEN, BOT_API_URL=self.telegram.url)

    def setting(self, name: str) -> str:
        """What scalable/.htenv says."""
        found = re.findall(rf"^{name}=(.*)$", (self.site / "scalable" / ".htenv").read_text(), re.MULTILINE)
        return str(found[-1]) if found else ""

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, or until it is at work when it goes on; `cd` counts for the next one."""
        if command in LASTING:
            return self._start(command)
        if found := re.fullmatch(r"cd (\S+)", self._adapted(command)):
            self._folder = Path(found[1])
        return self._shell(command)

    def write(self, name: str, text: str) -> None:
        """A file of theirs alone, in their home folder, with the invented places as they are here."""
        path = self.home / name
        path.write_text(self._adapted(text))
        path.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(path, self.site.owner(), self.site.group())

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """One command that is in no document, in the web folder."""
        folder, self._folder = self._folder, self.site
        try:
            return self._shell(command)
        finally:
            self._folder = folder

    def let_a_minute_pass(self) -> None:
        """What cron does then: starts its line, unless the one before is still at work."""
        if self.cron_line and not self.cron.is_at_work():
            self.cron.start(self.cron_line)
            health = "python3 scalable/worker_pool.py --health"
            wait_until(lambda: "no worker" not in self.run(health).stdout, lambda: self.run(health))

    def send(self, update: dict[str, Any]) -> Answer:
        """Telegram brings an update to where the webhook was set."""
        address = urllib.parse.urlsplit(self.telegram.webhook_url)
        secret = {"X_Telegram_Bot_Api_Secret_Token": self.setting("BOT_WEBHOOK_SECRET")}
        return request(self.apache.url + address.path, json.dumps(update).encode(), **secret)

    def counts(self) -> Any:
        """How many jobs are in each state."""
        return json.loads(self.run("python3 scalable/dashboard.py --json --exact").stdout)["counts"]

    def press_ctrl_c(self) -> None:
        """End what goes on, the last one first, and see that it ends in order."""
        while self._lasting:
            command, process, log = self._lasting.pop()
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
            assert LASTING[command][1] in log.read_text(), log.read_text()

    def close(self) -> None:
        """End everything that is left."""
        for _, process, _ in self._lasting:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if (self.site / "scalable" / "worker_pool.py").exists():
            self.run("python3 scalable/worker_pool.py --stop --at-once")
        self.cron.end()
        self.apache.stop()

    def _start(self, command: str) -> subprocess.CompletedProcess[str]:
        log = self.home.parent / f"lasting-{len(self._lasting)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                self._command(self._adapted(command)),
                cwd=self._folder,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._lasting.append((command, process, log))
        wait_until(lambda: LASTING[command][0] in log.read_text(), log.read_text, timeout_seconds=240)
        return subprocess.CompletedProcess(command, 0, log.read_text(), "")

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(self._adapted(command)),
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def _command(self, text: str) -> list[str]:
        command = ["bash", "-e", "-c", text]
        return command if self._folder == self.project else as_owner(command)

    def _environment(self) -> dict[str, str]:
        if self._folder != self.project:
            return {"PATH": SHORT_PATH, "HOME": str(self.home), "LANG": "C.UTF-8"}
        return {name: value for name, value in os.environ.items() if re.match(r"PIP_|PATH$|HOME$", name)}

    def _adapted(self, commands: str) -> str:
        """The invented places as they are here: folder, address, port, Telegram, token, password."""
        replaced: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
            (r"/home/you\b", str(self.home)),
            (r"(--url |curl '|^url = \")https://example\.com", rf"\g<1>{self.apache.url}"),
            (r"127\.0\.0\.1:8080", f"127.0.0.1:{self.port}"),
            (r"^make run$", f"make run LISTEN=127.0.0.1:{self.port}"),
            (r"https://api\.telegram\.org/bot123456:YOUR-BOT-TOKEN", f"{self.telegram.url}/bot{TOKEN}"),
            (r"token=…", lambda _: "token=" + self.setting("BOT_MONITOR_TOKEN")),
            (r"(dashboard\.py delete \d+)$", r"\1 --yes"),  # nobody is there to answer the question
            (r"^\.venv/bin/python", f"cd {REPOSITORY} && .venv/bin/python"),
        ]
        for written, really in replaced:
            commands = re.sub(written, really, commands, flags=re.MULTILINE)
        return commands
