"""An installation served by the pool itself: `worker_pool.py --serve`, straight from the project's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, accepts_connections, free_port, tail, wait_until_ready
from tests.support.servers.site import Answer, request, wait_until
from tests.support.waiting import PATIENCE_SECONDS


class ServedSite:
    """Runs from `with`; `settings` are environment variables."""

    def __init__(self, folder: Path, bot: Path, **settings: str) -> None:
        self.folder = folder
        self.log = folder / "pool.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.webhook_url = f"{self.url}/scalable/webhook_queue.py"
        self.dashboard_url = f"{self.url}/scalable/dashboard.py"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BOT_CONFIG": "",
            "BOT_LEGACY_PATH": str(bot),
            "BOT_DATA_DIR": str(folder / "data"),
            "BOT_JOURNAL": str(folder / "journal"),
            "BOT_WORKER_SLEEP": "0.1",
            "BOT_WORKER_POOL_SIZE": "2",
            "BOT_JOB_RETRY_BASE": "1",
            **settings,
        }
        self._query: str | None = None
        self.pool = Child(self.pool_command(), log=self.log, environment=self.environment)

    @property
    def token(self) -> str:
        """The owner's password; the one that the pool invented where the settings have none."""
        return self.environment.get("BOT_MONITOR_TOKEN") or self.invented_token.read_text().strip()

    @property
    def invented_token(self) -> Path:
        """Where a pool that serves keeps the password it invented."""
        return Path(self.environment["BOT_DATA_DIR"]) / ".ht-monitor-token"

    @property
    def query(self) -> str:
        """Goes with every look at the JSON: `&token=…`, the owner's unless a test says otherwise."""
        return f"&{urlencode({'token': self.token})}" if self._query is None else self._query

    @query.setter
    def query(self, query: str) -> None:
        self._query = query

    def owner(self) -> Visitor:
        """Its owner, who has logged in."""
        return Visitor(self.dashboard_url).log_in(self.token)

    def command(self, script: str, *arguments: str) -> list[str]:
        """The command that runs one of the scripts."""
        return [sys.executable, str(REPOSITORY / "scalable" / script), *arguments]

    def pool_command(self) -> list[str]:
        """The command that runs the pool."""
        return self.command("worker_pool.py", "--serve", f"127.0.0.1:{self.port}")

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts to its end with the same settings."""
        return subprocess.run(
            self.command(script, *arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**self.environment, **environment},
            cwd=self.folder,
        )

    def __enter__(self) -> ServedSite:
        self.pool.start()
        wait_until_ready(self.pool, lambda: accepts_connections(self.port), what="the pool", log=self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.close()

    def send(self, update: object, **headers: str) -> Answer:
        """Deliver one update as Telegram does."""
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        return request(self.webhook_url, body, Content_Type="application/json", **headers)

    def overview(self) -> Any:
        """The dashboard's JSON."""
        answer = request(f"{self.dashboard_url}?format=json{self.query}")
        assert answer.status == 200, (answer, tail(self.log))
        return answer.json()

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        counts: dict[str, int] = self.overview()["counts"]
        return counts

    def wait_for_counts(self, timeout_seconds: float = PATIENCE_SECONDS, **expected: int) -> None:
        """Return once the dashboard shows these counts."""
        wait_until(
            lambda: expected.items() <= self.counts().items(),
            lambda: (self.overview(), tail(self.log)),
            timeout_seconds,
        )
