"""A site as an owner has it: `scalable/` alone beside a bot, packages vendored, settings in a file, served by Apache.

Everything of it runs as the web user where the tests run as root, with the machine's own Python, as on a shared host.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.support.places import REPOSITORY
from tests.support.servers.apache import CUSTOMER, CUSTOMERS, SHORT_PATH, WEB_USER, Apache, start_apache
from tests.support.servers.children import Child, tail
from tests.support.waiting import PATIENCE_SECONDS

VENDOR_CACHE = REPOSITORY / ".cache" / "vendor"
SYSTEM_PYTHON = "/usr/bin/python3"


def vendored_packages() -> Path:
    """A folder with the pinned packages, made once for every state of requirements.txt."""
    requirements = REPOSITORY / "requirements.txt"
    folder = VENDOR_CACHE / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-compile",
                "--target",
                str(unfinished),
                "-r",
                str(requirements),
            ],
            check=True,
            timeout=300,
        )
        unfinished.rename(folder)
    return folder


@lru_cache(maxsize=1)
def _used_plugin() -> Path:
    """What copy_plugin copies, put together once in a run; removed at its end.

    Compiled, as on a host where every script has run once: else each of the first processes of a site does that anew,
    several at a time, for a second of the processor each.
    """
    home = Path(tempfile.mkdtemp(prefix="plugin-"))
    atexit.register(shutil.rmtree, home)
    plugin = home / "scalable"
    shutil.copytree(
        REPOSITORY / "scalable", plugin, ignore=shutil.ignore_patterns("__pycache__", ".htenv", ".htdata", "vendor")
    )
    shutil.copytree(vendored_packages(), plugin / "vendor", ignore=shutil.ignore_patterns("bin"))
    compiler = [SYSTEM_PYTHON, "-m", "compileall", "-q", str(plugin)]
    subprocess.run(compiler, check=True, timeout=120, env={"PATH": SHORT_PATH})
    return plugin


def copy_plugin(site: Path) -> Path:
    """`scalable/` as it is in the project, with its packages, inside `site`; nothing else of the project.

    Without the programs that pip puts beside the packages, as in a release.
    """
    plugin = site / "scalable"
    shutil.copytree(_used_plugin(), plugin)
    return plugin


@dataclass(frozen=True)
class Answer:
    """What the web server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def all_headers(self, name: str) -> list[str]:
        """Every header of this name: there may be several cookies."""
        return [value for each, value in self.pairs if each.lower() == name.lower()]


def request(url: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
    """One HTTP request, redirects not followed; every status is an answer, no answer at all is an error."""
    opener = urllib.request.build_opener(_NoRedirect)
    asked = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
    asked.method = method or ("GET" if body is None else "POST")
    try:
        with opener.open(asked, timeout=60) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read(), tuple(answer.headers.items()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read(), tuple(error.headers.items()))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def wait_until(
    condition: Callable[[], object], describe: Callable[[], object], timeout_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once `condition()` is true; after the time-out fail with what `describe()` shows."""
    began = looked = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now > began + timeout_seconds:
            raise AssertionError(f"not reached in {timeout_seconds:g} s; found: {describe()}")
        # A look by CGI takes a processor for as long as the work does that is waited for: half of the time is for that.
        time.sleep(min(max(0.05, now - looked), 0.5))
        looked = time.monotonic()


class Site:
    """One installation behind a running Apache; `start_pool` adds the workers. `apache` are options of start_apache."""

    def __init__(
        self,
        folder: Path,
        bot: Path,
        settings: Mapping[str, str],
        allow_override: str = "All",
        plugin: Callable[[Path], Path] = copy_plugin,
        **apache: Any,
    ) -> None:
        self.root = folder / "site"
        self.root.mkdir(mode=0o755)
        self.owner = (CUSTOMER, CUSTOMERS) if apache.get("suexec") else (WEB_USER, WEB_USER)
        self.bot = shutil.copy(bot, self.root / f"bot{bot.suffix}")
        self.plugin = plugin(self.root)
        self.journal = self.root / ".ht-journal"
        self.pool_log = folder / "pool.log"
        settings = {"BOT_LEGACY_PATH": f"../bot{bot.suffix}", "BOT_MONITOR_TOKEN": "let-me-in", **settings}
        self.settings = settings
        settings_file = self.plugin / ".htenv"
        settings_file.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
        settings_file.chmod(0o600)
        self.apache: Apache = start_apache(folder / "apache", site=self.root, allow_override=allow_override, **apache)
        self.webhook_url = f"{self.apache.url}/scalable/webhook_queue.py"
        self.dashboard_url = f"{self.apache.url}/scalable/dashboard.py?token=let-me-in"
        self._pool: Child | None = None

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command that runs one of the scripts as the owner of the site."""
        user, group = self.owner
        owner = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--pdeathsig", "KILL", "--"]
        return [*(owner if os.geteuid() == 0 else []), SYSTEM_PYTHON, str(self.plugin / script), *arguments]

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts to its end, as a shell on the host would."""
        return subprocess.run(
            self.command(script, *arguments),
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment(),
            cwd=self.root,
            check=False,
        )

    def start_pool(self, **settings: str) -> Child:
        """The running pool; `settings` are variables of its environment."""
        environment = {**self._environment(), **settings}
        self._pool = Child(
            self.command("worker_pool.py"), log=self.pool_log, environment=environment, death_signal="KILL"
        )
        self._pool.start()
        return self._pool

    def _environment(self) -> dict[str, str]:
        return {"PATH": SHORT_PATH, "HOME": str(self.root), "BOT_JOURNAL": str(self.journal)}

    def send(self, update: object, **headers: str) -> Answer:
        """Deliver one update as Telegram does."""
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        return request(self.webhook_url, body, Content_Type="application/json", **headers)

    def overview(self) -> Any:
        """The dashboard's JSON."""
        answer = request(self.dashboard_url + "&format=json")
        assert answer.status == 200, (answer, self.logs())
        return answer.json()

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state, from the dashboard."""
        counts: dict[str, int] = self.overview()["counts"]
        return counts

    def wait_for_counts(self, timeout_seconds: float = PATIENCE_SECONDS, **expected: int) -> None:
        """Return once the dashboard shows these counts."""
        wait_until(
            lambda: expected.items() <= self.counts().items(), lambda: (self.overview(), self.logs()), timeout_seconds
        )

    def runs(self) -> list[dict[str, Any]]:
        """What the bot itself wrote down: a line for every run."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def logs(self) -> str:
        """The end of both logs, for a person to read in a failed test."""
        return "\n".join(tail(log) for log in (self.apache.error_log, self.pool_log) if log.exists())

    def stop(self) -> None:
        """End the pool and Apache."""
        if self._pool is not None:
            self._pool.close()
        self.apache.stop()
