"""A headless Chromium, Debian's own, and pages that complain: whatever a browser reports as wrong fails the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PROGRAM = Path("/usr/bin/chromium")
# Off the network but for this machine, nothing in the background; root has no sandbox.
OPTIONS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--mute-audio",
)
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 740}


def chromium_available() -> str | None:
    """None when it can be started here, otherwise the reason in one line."""
    return None if PROGRAM.exists() else f"Chromium: {PROGRAM} not installed: python3 tests/install.py"


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One browser; each test takes contexts of its own from it."""
    options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(PROGRAM), args=options)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page with what went wrong in it. `expected_statuses`: refusals that the test is about."""

    def __init__(self, context: BrowserContext, expected_statuses: tuple[int, ...] = ()) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._expected = tuple(f"status of {status} " for status in expected_statuses)
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(status in text for status in self._expected):
            self.problems.append(f"{kind}: {text}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def check(self) -> None:
        """Nothing went wrong, and nothing was asked of another machine."""
        elsewhere = [url for url in self.requests if urlsplit(url).hostname != "127.0.0.1"]
        assert (self.problems, elsewhere) == ([], [])
