"""How the dashboard looks and reads: on a phone, in the dark, in two languages, to a screen reader, under attack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from scalable.lib.ingest.wsgi import mount
from scalable.lib.pool.web_server import WebServer
from scalable.lib.queue.worker_registry import Heartbeat
from scalable.lib.setup.checks import CheckReport
from scalable.lib.setup.finding import error, ok, warning
from scalable.lib.telegram.update import Update
from tests.browser.conftest import OpenPage, Place
from tests.integration.test_dashboard_hostile import HOSTILE
from tests.support.generators import demo_queue as demo
from tests.support.generators.wsgi_client import Client
from tests.support.servers.chromium import DESKTOP, PHONE

PAGES = ("/", "/?span=week", "/jobs", "/jobs?status=failed&q=no+such", "/job/9", "/job/48", "/doctor", "/nothing")
CHECKED = CheckReport(
    (
        ok("python", "3.11.2 at /usr/bin/python3"),
        warning("clock", "9 s behind", "ask the host to set it"),
        error("scripts", f"/home/{'you' * 60}/webhook_queue.py, mode 644: not executable", "chmod 755 <a file>"),
    ),
    ("BOT_MONITOR_TOKEN  (set, hidden)  file",),
)


class Shown:
    """A dashboard with a week behind it, and what was opened of it."""

    def __init__(self, folder: Path) -> None:
        self.client = Client(folder, run_checks=lambda *_: CHECKED)
        demo.fill_jobs(self.client.queue)
        demo.fill_minutes(self.client.queue)
        registry = self.client.queue.workers
        for number in (1, 2):
            registry.record_heartbeat(
                Heartbeat(f"web1:4711-c0de/{number}.1", "web1", 4711 + number, 86_400, 930, 915, 11, 4, 31_000)
            )
        self._server = WebServer(mount({"dashboard.py": self.client.app}), "127.0.0.1:0")
        self._server.start()
        self.url = f"{self._server.url}/dashboard.py"

    def close(self) -> None:
        self._server.stop()
        self.client.queue.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    shown = Shown(tmp_path_factory.mktemp("shown"))
    yield shown
    shown.close()


def open_one(open_page: OpenPage, shown: Shown, place: str, token: str | None = "owner", **options: object) -> Page:
    page: Page = open_page(shown.url + place, token, expected_statuses=(403, 404), **options)
    return page


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody out, and what is merely in their way."""
    found = Axe().run(page)
    return [
        f"{each['id']} ({each['impact']}): {[node['target'] for node in each['nodes']][:3]}"
        for each in found.response["violations"]
        if each["impact"] in ("serious", "critical", "moderate")
    ]


@pytest.mark.parametrize(
    "look",
    [
        {"viewport": DESKTOP, "color_scheme": "light"},
        {"viewport": PHONE, "color_scheme": "dark", "locale": "id-ID"},
    ],
    ids=["desktop", "dark phone in Indonesian"],
)
def test_axe_finds_nothing(shown: Shown, open_page: OpenPage, look: dict[str, object]) -> None:
    assert serious(open_one(open_page, shown, "/", None, **look)) == [], "the question for the password"
    page = open_one(open_page, shown, "/", **look)
    for place in PAGES:
        page.goto(shown.url + place)
        for summary in page.locator("summary").all()[:3]:
            summary.click()
        assert serious(page) == [], place
    page.goto(shown.url + "/job/9")
    page.locator("button.danger").click()
    assert serious(page) == [], "the question before deleting"


def test_axe_would_find_something(shown: Shown, open_page: OpenPage) -> None:
    page = open_one(open_page, shown, "/")
    # Where the renewal of the page does not put it right again.
    page.evaluate(
        "const pale = new CSSStyleSheet(); pale.replaceSync('h1 { color: #eee !important; }');"
        "document.adoptedStyleSheets = [pale]; document.documentElement.lang = ''"
    )

    assert {line.split(" ")[0] for line in serious(page)} >= {"color-contrast", "html-has-lang"}


@pytest.mark.parametrize("locale", ["en-GB", "id-ID"])
def test_a_phone_of_360_pixels_scrolls_in_one_direction_only(shown: Shown, open_page: OpenPage, locale: str) -> None:
    page = open_one(open_page, shown, "/", viewport=PHONE, locale=locale)
    for place in PAGES:
        page.goto(shown.url + place)
        expect(page.locator("footer")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, place
        assert too_small(page) == [], place


def too_small(page: Page) -> list[str]:
    """What a finger does not hit."""
    found: list[str] = page.evaluate("""[...document.querySelectorAll("button, nav a, .spans a, input, select")]
        .filter((each) => each.offsetParent && !each.classList.contains("unseen"))
        .filter((each) => each.getBoundingClientRect().height < 28)
        .map((each) => each.outerHTML.slice(0, 80))""")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_reader(shown: Shown, open_page: OpenPage, scheme: str) -> None:
    page = open_one(open_page, shown, "/", color_scheme=scheme)

    def brightness(what: str) -> float:
        text = page.evaluate(f"getComputedStyle(document.body).{what}")
        return sum(int(part) for part in text[4:-1].split(",")) / 3

    assert (brightness("backgroundColor") > 128) is (scheme == "light")
    assert (brightness("color") < 128) is (scheme == "light")


def test_the_real_servers_show_it_in_the_dark_on_a_phone_and_live(place: Place, open_page: OpenPage) -> None:
    page = open_page(place.url, viewport=PHONE, color_scheme="dark", locale="id-ID")
    expect(page.locator(".counts .done dd")).to_have_text("0")

    place.send()

    expect(page.locator(".counts .done dd")).to_have_text("1")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert serious(page) == []


def test_the_reader_reads_indonesian_and_may_switch(shown: Shown, open_page: OpenPage) -> None:
    page = open_one(open_page, shown, "/", locale="id-ID")
    expect(page.get_by_role("heading", name="Grafik")).to_be_visible()
    assert page.locator("#jobs time").first.inner_text().endswith("lalu")

    page.get_by_role("link", name="EN", exact=True).click()
    expect(page.get_by_role("heading", name="Charts")).to_be_visible()
    page.goto(shown.url + "/jobs")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    page.get_by_role("link", name="ID", exact=True).click()
    assert page.url == shown.url + "/jobs"
    expect(page.get_by_role("heading", name="Pekerjaan")).to_be_visible()


def test_the_whole_page_weighs_less_than_a_small_picture(shown: Shown, open_page: OpenPage) -> None:
    """With everything it needs, on a first visit, as it goes over the wire."""
    page = open_page(shown.url, "owner")
    client = page.context.new_cdp_session(page)
    sizes: list[float] = []
    client.send("Network.enable")
    client.send("Network.setCacheDisabled", {"cacheDisabled": True})
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))

    page.reload()
    page.wait_for_load_state("networkidle")

    assert 20_000 < sum(sizes) < 60_000
    sizes.clear()
    client.send("Network.setCacheDisabled", {"cacheDisabled": False})
    page.reload()
    page.wait_for_load_state("networkidle")
    assert sum(sizes) < 12_000, "what does not change is kept"


def test_hostile_content_does_not_run_and_does_not_break_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    shown = Shown(tmp_path)
    queue = shown.client.queue
    ids = []
    for number, text in enumerate(HOSTILE):
        payload = json.dumps({"message": {"text": text, text[:500]: text}})
        ids.append(queue.enqueue(Update(payload, 900 + number, "message", f"poll:{number}")).job_id)
    while jobs := queue.claim("<img src=x onerror=alert(1)>", 600):
        queue.fail(jobs[0].lease, HOSTILE[jobs[0].id % len(HOSTILE)] + "\nthe end")
    page = open_page(shown.url + "/jobs", "owner", viewport=PHONE)

    for job_id in ids:
        page.goto(f"{shown.url}/job/{job_id}")
        assert page.evaluate("document.documentElement.scrollWidth") == 360, HOSTILE[ids.index(job_id)][:40]
        expect(page.get_by_role("button", name="Delete")).to_be_visible()
    page.goto(shown.url + "/")
    page.wait_for_timeout(2500)  # a live part came in, too
    assert "owned" not in page.title()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("img").count() == 1, "the icon, and none of theirs"
    shown.close()
