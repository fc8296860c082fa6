"""The request that a PHP bot finds is the one its webhook got: query, host, address, DOCUMENT_ROOT, .user.ini.

F2 and F5 are the faults of the first version that these are the right values of.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.installation import Installation
from scalable.lib.queue.notes import WEBHOOK, WEBHOOK_BEFORE
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.runners.choose import BotSettings, create_runner
from scalable.lib.runners.outcome import Kind
from scalable.lib.setup.config import load_config
from scalable.lib.setup.data_folder import DataFolder
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.servers.apache import apache_available, start_apache

MODES = ("cli", "cgi", "fastcgi", "fpm")
UPDATE = '{"update_id":1}'
WEBHOOK_URL = "https://shop.example/shop/scalable/webhook_queue.py"
FACTS = """echo json_encode([$_SERVER['HTTP_HOST'], $_SERVER['HTTPS'] ?? '', $_SERVER['SERVER_NAME'],
    $_SERVER['REQUEST_URI'], $_SERVER['DOCUMENT_ROOT'], $_SERVER['PHP_SELF'], $_GET, $_SERVER['QUERY_STRING'],
    $_SERVER['REQUEST_METHOD'], $_SERVER['CONTENT_TYPE'], $_SERVER['SCRIPT_FILENAME']]);"""


class Site:
    """A site, `www`, with a bot in its folder `shop`, and the settings beside it."""

    def __init__(self, home: Path, mode: str, fpm_socket: str = "") -> None:
        self.www = home / "www"
        self.bot = self.www / "shop" / "bot.php"
        self.data = home / "data"
        self.scalable = self.www / "shop" / "scalable"
        self.scalable.mkdir(parents=True)
        self.data.mkdir(mode=0o700)
        self.mode = mode
        self._fpm_socket = fpm_socket

    def environment(self, **more: str) -> dict[str, str]:
        """The settings of this installation."""
        mode = {"fpm": "fastcgi"}.get(self.mode, self.mode)
        return {
            "BOT_LEGACY_MODE": mode,
            "BOT_DATA_DIR": str(self.data),
            "BOT_FASTCGI_SOCKET": self._fpm_socket,
            "BOT_WEBHOOK_SECRET": "s3cret_-",
            **more,
        }

    def settings(self, **more: str) -> BotSettings:
        return load_config(self.environment(**more), self.scalable).bot

    def answer(self, code: str, **more: str) -> bytes:
        """What a bot with this code answers to one update."""
        self.bot.write_text("<?php " + code)
        runner = create_runner(self.settings(**more), {})
        try:
            outcome = outcome_of(runner, UPDATE)
        finally:
            runner.close()
        assert outcome.kind is Kind.SUCCEEDED, outcome.explanation()
        return outcome.answer


@pytest.fixture(params=MODES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site whose bot is run in each mode."""
    socket = ""
    if request.param == "fpm":
        socket = str(request.getfixturevalue("fpm").socket)
    else:
        program = "php" if request.param == "cli" else "php-cgi"
        need(None if shutil.which(program) else f"{program} is not installed")
    return Site(tmp_path, request.param, socket)


# The query (F2)

RAN = "file_put_contents(__DIR__.'/ran', file_get_contents('php://input').\"\\n\", FILE_APPEND);"


def test_f2_a_bot_that_wants_a_key_in_its_address_gets_it(site: Site):
    site.answer(f'if(($_GET["s"]??"")!=="k")exit; {RAN}', BOT_LEGACY_PATH="../bot.php?s=k")

    assert (site.bot.parent / "ran").read_text() == UPDATE + "\n"


@pytest.mark.parametrize(
    ("query", "got"),
    [
        ("s=k", {"s": "k"}),
        ("s=k&shop=7&list[]=a&list[]=b", {"s": "k", "shop": "7", "list": ["a", "b"]}),
        ("key=%C3%A4%20b%26c", {"key": "ä b&c"}),
        ("webhook", {"webhook": ""}),
        ("a=1?b=2", {"a": "1?b=2"}),
    ],
)
def test_a_query_of_any_kind_is_passed_on(site: Site, query: str, got: dict[str, object]):
    found = json.loads(site.answer(FACTS, BOT_LEGACY_PATH=f"../bot.php?{query}"))

    assert found[6] == got
    assert found[7] == query
    assert found[3] == f"/bot.php?{query}"
    assert found[10] == str(site.bot)


def test_a_key_in_the_address_of_the_bot_is_shown_to_nobody(tmp_path: Path):
    site = Site(tmp_path, "cli")
    config = load_config(site.environment(BOT_LEGACY_PATH="../bot.php?s=hush"), site.scalable)
    site.bot.write_text("<?php")

    (shown,) = [r.shown() for r in config.readings if r.setting.name == "BOT_LEGACY_PATH"]

    assert shown == "../bot.php?…"
    assert "hush" not in repr(config.bot)
    assert "hush" not in create_runner(config.bot, {}).check()


# The address (F5)


def test_f5_a_link_that_a_bot_builds_of_its_host_leads_to_the_webhooks_host(site: Site):
    """F5: the host of the webhook."""
    DataFolder(site.data).remember_address(webhook=WEBHOOK_URL)

    link = site.answer("echo ($_SERVER['HTTPS'] ?? '') ? 'https' : 'http', '://', $_SERVER['HTTP_HOST'], '/pay';")

    assert link == b"https://shop.example/pay"


def test_site_and_path_are_those_of_the_webhook(site: Site):
    """F5: of the kind, all that a bot may build an address of."""
    DataFolder(site.data).remember_address(webhook=WEBHOOK_URL)

    found = json.loads(site.answer(FACTS, BOT_LEGACY_PATH="../bot.php?s=k"))

    assert found == [
        *("shop.example", "on", "shop.example", "/shop/bot.php?s=k", str(site.www), "/shop/bot.php"),
        *({"s": "k"}, "s=k", "POST", "application/json", str(site.bot)),
    ]


@pytest.mark.parametrize(
    ("noted", "host", "uri"),
    [
        ({"webhook": "https://a.example:8443/scalable/webhook_queue.py"}, "a.example:8443", "/bot.php"),
        (
            {"request": "https://b.example/x", "before": "https://c.example/hooks/bot.php"},
            "b.example",
            "/hooks/bot.php",
        ),
        ({"webhook": "https://a.example/x", "request": "https://b.example/x"}, "a.example", "/bot.php"),
        ({"before": "https://c.example/shop/bot.php"}, "c.example", "/shop/bot.php"),
    ],
)
def test_what_is_known_of_the_address_is_used(site: Site, noted: dict[str, str], host: str, uri: str):
    """F5: of the kind, a port, a path, an address of before."""
    DataFolder(site.data).remember_address(**noted)

    found = json.loads(site.answer(FACTS))

    assert (found[0], found[3]) == (host, uri)


def test_an_address_that_is_learnt_later_is_in_the_next_request(site: Site):
    """F5: of the kind, it is learnt later."""
    site.bot.write_text("<?php echo $_SERVER['HTTP_HOST'];")
    runner = create_runner(site.settings(), {})

    before = outcome_of(runner, UPDATE).answer
    DataFolder(site.data).remember_address(webhook=WEBHOOK_URL)
    after = outcome_of(runner, UPDATE).answer
    runner.close()

    assert (before, after) == (b"localhost", b"shop.example")


def test_a_bot_that_requires_by_document_root_runs(site: Site):
    (site.www / "core.php").write_text("<?php echo 'core';")
    DataFolder(site.data).remember_address(webhook=WEBHOOK_URL)

    assert site.answer("require $_SERVER['DOCUMENT_ROOT'].'/core.php';") == b"core"


def test_what_telegram_says_of_the_webhook_is_noted_for_the_runners_by_the_maintenance(tmp_path: Path):
    site = Site(tmp_path, "cli")
    site.bot.write_text("<?php echo $_SERVER['HTTP_HOST'], $_SERVER['REQUEST_URI'];")
    installation = Installation(load_config(site.environment(), site.scalable))
    queue = installation.queue()
    queue.ensure_schema()
    queue.notes.write(WEBHOOK, WebhookInfo(WEBHOOK_URL + "?hush=1").to_text())
    queue.notes.write(WEBHOOK_BEFORE, "https://old.example/hooks/bot.php?s=hush")
    installation.maintenance().every_minute()

    assert outcome_of(installation.create_runner(), UPDATE).answer == b"shop.example/hooks/bot.php"
    assert "hush" not in installation.data_folder.address_note.read_text()


@pytest.mark.parametrize(
    ("host", "secret", "noted"),
    [
        ("shop.example", "s3cret_-", "https://shop.example/scalable/webhook_queue.py"),
        ("shop.example:8443", "s3cret_-", "https://shop.example:8443/scalable/webhook_queue.py"),
        ("127.0.0.1:8080", "s3cret_-", None),
        ("localhost", "s3cret_-", None),
        ("shop.example", "", None),  # anybody may have sent that
    ],
)
def test_the_webhook_notes_the_address_it_was_called_at(tmp_path: Path, host: str, secret: str, noted: str | None):
    site = Site(tmp_path, "cli")
    installation = Installation(load_config(site.environment(BOT_WEBHOOK_SECRET=secret), site.scalable))
    installation.queue().ensure_schema()
    webhook = installation.create_webhook(lambda: None, None)

    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "HTTP_HOST": host,
        "SCRIPT_NAME": "/scalable/webhook_queue.py",
        "CONTENT_LENGTH": str(len(UPDATE)),
        "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": secret,
        "wsgi.input": io.BytesIO(UPDATE.encode()),
    }
    list(webhook(environ, lambda status, _headers, _error=None: statuses.append(status)))

    file = installation.data_folder.address_note
    assert statuses == ["200 OK"]
    assert (json.loads(file.read_text())["request"] if file.exists() else None) == noted


# .user.ini


def asked_by_apache(site: Path, path: str) -> bytes:
    apache = start_apache(site.parent / "apache", site=site, handler_php="cgi")
    connection = http.client.HTTPConnection(apache.url.rpartition("/")[2], timeout=60)
    try:
        connection.request("POST", path, UPDATE)
        return connection.getresponse().read()
    finally:
        connection.close()
        apache.stop()


@pytest.fixture
def public_home() -> Iterator[Path]:
    """Not in tmp_path: pytest closes that to the web user when another run begins."""
    home = Path(tempfile.mkdtemp(prefix="sites-"))
    home.chmod(0o711)
    yield home
    shutil.rmtree(home)


@pytest.mark.parametrize("mode", ["cli", "cgi", "fastcgi"])
def test_user_ini_files_of_the_parents_apply_as_under_the_web_server(public_home: Path, mode: str):
    need(apache_available(with_php=True))
    site = Site(public_home, mode)
    (public_home / ".user.ini").write_text("precision = 3\n")  # above the site: for nobody
    (site.www / ".user.ini").write_text(
        '; of the site\nmemory_limit = 77M\nprecision = 9 ; digits\nuser_agent = "a b; c"\nextension = no_such.so\n'
    )
    (site.bot.parent / ".user.ini").write_text("precision=11\nerror_reporting = E_ALL & ~E_NOTICE\n")
    DataFolder(site.data).remember_address(webhook=WEBHOOK_URL)
    names = "['memory_limit', 'precision', 'user_agent', 'error_reporting']"

    ours = json.loads(site.answer(f"echo json_encode(array_map('ini_get', {names}));"))

    assert ours == ["77M", "11", "a b; c", str(32767 & ~8)]
    assert ours == json.loads(asked_by_apache(site.www, "/shop/bot.php"))
