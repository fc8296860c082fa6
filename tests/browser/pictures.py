"""Takes the pictures of the README: `make pictures`. With a folder, takes those and more to look at, into that folder.

All people in them are invented; the clock of the browser is in Jakarta, and Telegram is not asked.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.wsgi import mount
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue.notes import WEBHOOK
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.telegram.bot_api import BotApi
from tests.support.generators import demo_queue as demo
from tests.support.generators.wsgi_client import Client
from tests.support.places import REPOSITORY
from tests.support.servers.chromium import DESKTOP, PHONE, running_chromium

DOCS = REPOSITORY / "docs"
SCALE = {"device_scale_factor": 1.5}
# Name → path, and how the browser is.
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "overview": ("/?span=day", {"viewport": {"width": 1100, "height": 850}}),
    "phone": ("/", {"viewport": PHONE, "color_scheme": "dark", "locale": "id-ID"}),
    "job": ("/job/27", {"viewport": {"width": 1100, "height": 820}}),
    "overview-dark": ("/", {"viewport": DESKTOP, "color_scheme": "dark"}),
    "overview-week": ("/?span=week", {"viewport": DESKTOP}),
    "overview-without-scripts": ("/", {"viewport": DESKTOP, "java_script_enabled": False}),
    "jobs": ("/jobs", {"viewport": DESKTOP}),
    "jobs-phone": ("/jobs?status=failed", {"viewport": PHONE, **SCALE}),
    "job-phone": ("/job/9", {"viewport": PHONE, "color_scheme": "dark", **SCALE}),
    "job-blocked": ("/job/48", {"viewport": DESKTOP}),
    "login": ("/?token=wrong", {"viewport": DESKTOP}),
}
FOR_README = ("overview", "phone", "job")


def main(folder: Path | None) -> None:
    """Write them as PNG files: all of them into the folder, or those of the README where it looks for them."""
    wanted = FOR_README if folder is None else tuple(PICTURES)
    folder = folder or DOCS
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, running_chromium() as browser:
        client = Client(Path(data), queue_order="telegram", make_api=_no_telegram)
        _fill(client)
        server = WebServer(mount({"dashboard.py": client.app}), "127.0.0.1:0")
        server.start()
        for name in wanted:
            path, options = PICTURES[name]
            _take(browser, f"{server.url}/dashboard.py", path, options, folder / f"{name}.png", name not in FOR_README)
        server.stop()
        client.queue.close()


def _no_telegram(timeout_seconds: float) -> BotApi:
    raise ConfigurationError("pictures are taken without Telegram")


def _fill(client: Client) -> None:
    queue = client.queue
    demo.fill_jobs(queue)
    demo.fill_minutes(queue)
    now = int(time.time())
    seen = WebhookInfo(
        "https://example.com/scalable/webhook_queue.py",
        0,
        now - 90_000,
        "Wrong response from the webhook: 503 Service Unavailable",
        10,
        now,
    )
    queue.notes.write(WEBHOOK, seen.to_text())
    registry = queue.workers
    for number in range(1, 5):
        runs = 9_321 - 17 * number
        registry.record_heartbeat(
            Heartbeat(f"web1:4711-c0de/{number}.1", "web1", 4711 + number, 86_400, runs, runs - 9, 6, 3, 31_000)
        )


def _take(browser: Browser, url: str, path: str, options: dict[str, Any], file: Path, is_whole: bool) -> None:
    context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Asia/Jakarta", **options})
    page = context.new_page()
    if "token=" not in path:
        page.goto(f"{url}?token=owner")
    page.goto(url + path)
    page.wait_for_timeout(1000)
    page.screenshot(path=str(file), full_page=is_whole)
    context.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
