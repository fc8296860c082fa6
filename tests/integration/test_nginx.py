"""`examples/hosting/nginx.conf` in a real nginx, before a pool's own server, with the folder where files are shown."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.generators.visitor import Visitor
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.nginx import Nginx, nginx_available, start_nginx
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import SYSTEM_PYTHON, copy_plugin, request

EXAMPLE = REPOSITORY / "examples" / "hosting" / "nginx.conf"
SECRETS = {"BOT_WEBHOOK_SECRET": "secret-of-the-webhook", "BOT_TICK_TOKEN": "secret-of-the-tick"}
PRIVATE_WORDS = "words-between-two-people"
FROM_TELEGRAM = {"X_Telegram_Bot_Api_Secret_Token": SECRETS["BOT_WEBHOOK_SECRET"]}


class Uploaded(ServedSite):
    """A pool whose folder lies in the web folder `site`, with its data and settings in it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.root = folder / "site"
        self.root.mkdir()
        self.plugin = copy_plugin(self.root)
        bot = self.root / "bot.py"
        bot.write_text("")
        self.settings = {**SECRETS, **settings}
        (self.plugin / ".htenv").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        (self.plugin / ".htenv").chmod(0o600)
        super().__init__(folder, bot, BOT_DATA_DIR=str(self.plugin / ".htdata"))

    def command(self, script: str, *arguments: str) -> list[str]:
        """The same of the copy, with its own packages."""
        return [SYSTEM_PYTHON, str(self.plugin / script), *arguments]


def in_front_of(site: Uploaded) -> Nginx:
    block = EXAMPLE.read_text()
    assert block.count("127.0.0.1:8080") == 2
    return start_nginx(site.folder / "nginx", root=site.root, block=block.replace(":8080", f":{site.port}"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Uploaded]:
    need(nginx_available())
    with Uploaded(tmp_path, BOT_MONITOR_TOKEN="secret-of-the-owner") as site:
        yield site


@pytest.fixture
def nginx(site: Uploaded) -> Iterator[Nginx]:
    nginx = in_front_of(site)
    yield nginx
    nginx.stop()


def update(number: int, text: str = PRIVATE_WORDS) -> bytes:
    return json.dumps({"update_id": number, "message": {"chat": {"id": 5}, "text": text}}).encode()


def test_the_three_addresses_answer_as_the_pool_does(nginx: Nginx) -> None:
    folder = f"{nginx.url}/scalable"
    short, long = update(1), update(2, "x" * 300_000)

    stored = [request(f"{folder}/webhook_queue.py", body, **FROM_TELEGRAM) for body in (short, long)]
    owner = Visitor(f"{folder}/dashboard.py").log_in("secret-of-the-owner")
    tick = request(f"{folder}/worker.py?token={SECRETS['BOT_TICK_TOKEN']}")

    assert [answer.json()["ok"] for answer in stored] == [True, True]
    assert owner.json()["counts"]["total"] == 2
    assert 'href="/scalable/dashboard.py/' in owner.page("/jobs")
    assert tick.status == 200
    assert request(f"{folder}/webhook_queue.py", short).status == 401
    assert request(f"{folder}/webhook_queue.py", update(3, "x" * 1_500_000), **FROM_TELEGRAM).status == 413


def test_no_file_of_a_running_installation_is_shown(site: Uploaded, nginx: Nginx) -> None:
    request(f"{nginx.url}/scalable/webhook_queue.py", update(1), **FROM_TELEGRAM)
    paths = [path.relative_to(site.root).as_posix() for path in site.plugin.rglob("*")]
    assert {"scalable/.htenv", "scalable/.htdata/.ht-queue.sqlite3", "scalable/lib/queue/dialects/mysql.py"} <= set(
        paths
    )
    scripts = {f"/scalable/{name}.py" for name in ("webhook_queue", "dashboard", "worker")}
    addresses = {f"/{path}" for path in paths} - scripts
    for path in ("scalable/.htenv", "scalable/.htdata/.ht-queue.sqlite3", "scalable/config.py"):
        addresses |= {
            f"//{path}",
            f"/x/../{path}",
            f"/%73calable/{path[9:]}",
            f"/scalable/./{path[9:]}",
            f"/scalable/webhook_queue.py/../{path[9:]}",
            f"/scalable/webhook_queue.py%2f..%2f{path[9:]}",
        }

    for address in sorted(addresses):
        answer = request(f"{nginx.url}{address}")
        assert answer.status in (404, 405), (address, answer)
        assert not [word for word in (*site.settings.values(), PRIVATE_WORDS) if word.encode() in answer.body]


def test_the_files_beside_it_are_shown_as_before(site: Uploaded, nginx: Nginx) -> None:
    (site.root / "hello.txt").write_text("hello")

    assert request(f"{nginx.url}/hello.txt").body == b"hello"


def test_a_visitor_who_calls_the_site_localhost_is_a_stranger_like_others(tmp_path: Path) -> None:
    need(nginx_available())
    with Uploaded(tmp_path) as site:
        nginx = in_front_of(site)
        connection = http.client.HTTPConnection(nginx.url.removeprefix("http://"), timeout=60)

        connection.request("GET", "/scalable/dashboard.py?format=json", headers={"Host": "localhost"})
        answer = connection.getresponse()
        shown = answer.read()

        assert answer.status == 403
        assert b"jobs" not in shown
        connection.close()
        nginx.stop()
