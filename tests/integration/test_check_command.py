"""The checks, as an owner runs it: every setting with its source, every check, exit code 0 or 2, no secret."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.fakes.listener import Listener
from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.galera import GaleraCluster
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import Site, wait_until

PY_BOT = REPOSITORY / "examples" / "bot.py"
PHP_BOT = REPOSITORY / "examples" / "bot.php"


def check(folder: Path, bot: Path = PY_BOT, **settings: str) -> subprocess.CompletedProcess[str]:
    return ServedSite(folder, bot, **settings).run("config.py")


def line_about(subject: str, finished: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in finished.stdout.splitlines() if line.split(maxsplit=1)[1:] and f" {subject}:" in line)


def mysql(servers: Servers, name: str, **changes: str) -> dict[str, str]:
    address = servers.fresh_database(name)
    return {
        "BOT_DB_HOST": str(address.socket),
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
        **changes,
    }


def test_a_right_installation_gets_0_and_every_setting_with_its_source(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BOT_MONITOR_LIMIT=7\n")
    settings.chmod(0o600)

    finished = check(tmp_path, BOT_CONFIG=str(settings))

    lines = [line.split() for line in finished.stdout.splitlines()]
    assert (finished.returncode, finished.stderr) == (0, "")
    assert ["BOT_MONITOR_LIMIT", "7", "file"] in lines
    assert ["BOT_WORKER_POOL_SIZE", "2", "environment"] in lines
    assert ["BOT_JOB_RETRY_MAX", "300", "default"] in lines
    assert "Everything needed is in place." in finished.stdout


def test_it_makes_the_private_data_folder_and_the_table_and_shows_the_depth(tmp_path: Path) -> None:
    first = check(tmp_path)
    second = check(tmp_path)

    assert "made just now" in line_about("table", first)
    assert "made just now" not in line_about("table", second)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert "0 pending, 0 processing, 0 done, 0 failed" in line_about("queue", second)


@pytest.mark.parametrize(
    ("name", "product", "claims"),
    [
        ("mariadb-10.5", "MariaDB 10.5", "conditional UPDATE"),
        ("mariadb-10.11", "MariaDB 10.11", "SKIP LOCKED"),
        ("mysql-9.7", "MySQL 9.7", "SKIP LOCKED"),
    ],
)
def test_it_names_the_server_its_version_and_how_jobs_are_claimed(
    tmp_path: Path, servers: Servers, name: str, product: str, claims: str
) -> None:
    finished = check(tmp_path, **mysql(servers, name))

    assert finished.returncode == 0
    assert product in line_about("database", finished)
    assert claims in line_about("database", finished)


def test_it_says_which_node_of_a_galera_cluster_answers_and_how_that_is(tmp_path: Path, cluster: GaleraCluster) -> None:
    address = cluster.address(1, cluster.create_database())
    finished = check(
        tmp_path,
        BOT_DB_HOST=f"{address.host}:{address.port}",
        BOT_DB_NAME=address.database,
        BOT_DB_USER=address.user,
        BOT_DB_PASS=address.password,
    )

    assert finished.returncode == 0
    assert line_about("cluster", finished) == "ok       cluster: Galera node node-1, 3 in the cluster, Synced"
    assert "conditional UPDATE" in line_about("database", finished)


def test_secrets_are_never_shown(tmp_path: Path, servers: Servers) -> None:
    hidden = {"BOT_MONITOR_TOKEN": "hush-monitor", "BOT_WEBHOOK_SECRET": "hush-webhook"}

    right = check(tmp_path, **mysql(servers, "mariadb-10.11"), **hidden)
    wrong = check(tmp_path, **mysql(servers, "mariadb-10.11", BOT_DB_PASS="hush-database"), **hidden)

    assert "hush" not in right.stdout + right.stderr + wrong.stdout + wrong.stderr
    assert "not-a-secret" not in right.stdout + right.stderr
    assert "(set, hidden)" in right.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BOT_DB_PASS": "wrong"}, "check BOT_DB_USER and BOT_DB_PASS"),
        ({"BOT_DB_NAME": "bot_that_is_not_there"}, "check BOT_DB_NAME, or create the database"),
        ({"BOT_DB_HOST": "127.0.0.1:1"}, "check BOT_DB_HOST"),
        ({"BOT_DB_HOST": "/no/such.sock"}, "check BOT_DB_HOST"),
    ],
    ids=["wrong password", "no such database", "nobody listens", "no such socket"],
)
@pytest.mark.parametrize("name", ["mariadb-10.11", "mysql-9.7"])
def test_an_unreachable_database_is_an_error_that_says_what_to_check(
    tmp_path: Path, servers: Servers, name: str, changes: dict[str, str], message: str
) -> None:
    finished = check(tmp_path, **mysql(servers, name, **changes))

    assert finished.returncode == 2
    assert line_about("database", finished).startswith("error")
    assert message in line_about("database", finished)


@pytest.mark.parametrize(
    ("settings", "subject", "message"),
    [
        ({"BOT_LEGACY_PATH": "../no-bot.php"}, "bot", "there is no bot at"),
        ({"BOT_LEGACY_PATH": "../README.md"}, "bot", "neither .php nor .py and not executable"),
        ({"BOT_LEGACY_PATH": str(PHP_BOT), "BOT_PHP_BINARY": "/bin/true"}, "php", "BOT_PHP_BINARY='/bin/true'"),
        (
            {"BOT_LEGACY_PATH": str(PHP_BOT), "BOT_LEGACY_MODE": "cli", "BOT_PHP_BINARY": "php-cgi"},
            "php",
            "command-line",
        ),
        ({"BOT_DATA_DIR": "/proc/nowhere"}, "data folder", "BOT_DATA_DIR='/proc/nowhere'"),
        ({"BOT_DATA_DIR": str(PHP_BOT)}, "data folder", "cannot be made"),
    ],
)
def test_what_is_missing_is_an_error_that_names_it(
    tmp_path: Path, settings: dict[str, str], subject: str, message: str
) -> None:
    finished = check(tmp_path, **settings)

    assert finished.returncode == (2 if subject == "data folder" else 4), "as the pool would end"
    assert line_about(subject, finished).startswith("error")
    assert message in line_about(subject, finished)


def test_wrong_settings_are_all_told_at_once(tmp_path: Path) -> None:
    finished = check(tmp_path, BOT_WORKER_POOL_SIZE="four", BOT_JOB_RETRY_BASE="0", BOT_DB_HOST="localhost")

    assert finished.returncode == 2
    assert "BOT_WORKER_POOL_SIZE='four' (environment): expected a whole number from 1 to 64" in finished.stdout
    assert "BOT_JOB_RETRY_BASE='0' (environment): expected a whole number from 1 to 86400" in finished.stdout
    for name in ("BOT_DB_NAME", "BOT_DB_USER", "BOT_DB_PASS"):
        assert f"{name} is missing: BOT_DB_HOST is set" in finished.stdout


def test_what_others_may_read_is_a_warning(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BOT_MONITOR_LIMIT=7\n")
    settings.chmod(0o644)
    (tmp_path / "data" / "of-the-owner").mkdir(parents=True)
    (tmp_path / "data").chmod(0o755)

    finished = check(tmp_path, BOT_CONFIG=str(settings))

    assert finished.returncode == 0
    assert line_about("settings file", finished).startswith("warning")
    assert line_about("data folder", finished).startswith("warning")


def test_what_others_may_write_is_an_error(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BOT_MONITOR_LIMIT=7\n")
    settings.chmod(0o666)
    (tmp_path / "data" / "of-the-owner").mkdir(parents=True)
    (tmp_path / "data").chmod(0o777)

    finished = check(tmp_path, BOT_CONFIG=str(settings))

    assert finished.returncode == 2
    assert line_about("settings file", finished).startswith("error")
    assert "mode 777: others may write here" in line_about("data folder", finished)


def test_a_process_that_would_use_another_database_stops_and_names_both(
    make_site: Callable[..., Site], servers: Servers
) -> None:
    """The usual way: variables that reach the web server and not cron."""
    address = servers.fresh_database("mariadb-10.11")
    site = make_site(PY_BOT, "sqlite")
    assert site.send({"update_id": 1}).status == 200

    settings = site.plugin / ".htenv"
    settings.write_text(
        f"BOT_LEGACY_PATH=../bot.py\nBOT_DB_HOST=127.0.0.1:{address.port}\nBOT_DB_NAME={address.database}\n"
        f"BOT_DB_USER={address.user}\nBOT_DB_PASS={address.password}\n"
    )

    for script in ("worker_pool.py", "worker.py", "dashboard.py", "config.py"):
        finished = site.run(script)
        said = finished.stdout + finished.stderr

        assert finished.returncode == 2
        assert f"MySQL database '{address.database}'" in said
        assert "the embedded SQLite file" in said
    assert site.send({"update_id": 2}).status == 503


def test_a_running_pool_and_its_workers_are_seen_in_the_shell_and_on_its_own_page(tmp_path: Path) -> None:
    settings = {"BOT_MONITOR_TOKEN": "let-me-in", "BOT_WEBHOOK_SECRET": "hush-hush", "BOT_TOKEN": TOKEN}
    with FakeBotApi() as telegram, ServedSite(tmp_path, PY_BOT, BOT_API_URL=telegram.url, **settings) as site:
        telegram.webhook_url = site.webhook_url
        owner = Visitor(site.dashboard_url).log_in("let-me-in")
        site.query = "&token=let-me-in"
        wait_until(lambda: len(site.overview()["workers"]) == 2, site.overview)

        finished = site.run("config.py", "--url", f"{site.url}/scalable")
        by_telegram = site.run("config.py", "--url")
        page = owner.page("/doctor")

    assert finished.returncode == 0, finished
    for text in (finished.stdout, by_telegram.stdout, page):
        assert re.search(r"^ok +pool: runs as process \d+, and answers CGI requests, too", text, re.MULTILINE)
        assert re.search(r"^ok +workers: 2 alive, 0 of them running the bot", text, re.MULTILINE)
        assert re.search(r"^ok +secret: the header arrives", text, re.MULTILINE)
        assert "hush" not in text
        assert "let-me-in" not in text
    assert "under a web server without a name (WSGI)" in page


@pytest.mark.parametrize(("token", "status"), [("let-me-look", 403), (None, 403), ("let-me-in", 200)])
def test_the_page_is_for_the_owner(tmp_path: Path, token: Optional[str], status: int) -> None:
    settings = {"BOT_MONITOR_TOKEN": "let-me-in", "BOT_MONITOR_READ_TOKEN": "let-me-look"}
    with ServedSite(tmp_path, PY_BOT, **settings) as site:
        visitor = Visitor(site.dashboard_url)
        if token:
            visitor.log_in(token)
        answer = visitor.get("/doctor")

    assert answer.status == status
    assert (b"To copy into a question" in answer.body) is (status == 200)


@pytest.fixture
def evil() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.mark.parametrize("header", ["Host", "X_Forwarded_Host", "Forwarded"])
@pytest.mark.parametrize("telegram_says", ["", "https://elsewhere.example/webhook_queue.py?x", "not an address"])
def test_the_page_asks_nothing_where_a_request_says(
    tmp_path: Path, evil: Listener, header: str, telegram_says: str
) -> None:
    """A request that named another host got BOT_WEBHOOK_SECRET sent there."""
    settings = {"BOT_WEBHOOK_SECRET": "hush-hush-hush-hush", "BOT_TOKEN": TOKEN}
    named = {"Forwarded": f"host={evil.place};proto=http"}.get(header, evil.place)
    with FakeBotApi() as telegram, ServedSite(tmp_path, PY_BOT, BOT_API_URL=telegram.url, **settings) as site:
        telegram.webhook_url = telegram_says
        answer = site.owner().get("/doctor", **{header: named})

    assert answer.status == 200, answer
    assert evil.seen() == []
    assert evil.place not in answer.body.decode()
    assert re.search(r"^warning +address: ", answer.body.decode(), re.MULTILINE)


def test_it_asks_where_telegram_has_the_webhook_and_there_alone(tmp_path: Path, evil: Listener) -> None:
    settings = {"BOT_WEBHOOK_SECRET": "hush-hush-hush-hush", "BOT_TOKEN": TOKEN}
    with FakeBotApi() as telegram, ServedSite(tmp_path, PY_BOT, BOT_API_URL=telegram.url, **settings) as site:
        telegram.webhook_url = site.webhook_url
        page = site.owner().page("/doctor", Host=evil.place)

    assert re.search(r"^ok +secret: the header arrives", page, re.MULTILINE)
    assert evil.seen() == []


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "@", "[::1", "127.0.0.1:99999"])
def test_a_host_header_that_is_none_is_passed_over(tmp_path: Path, host: str) -> None:
    with ServedSite(tmp_path, PY_BOT) as site:
        answer = site.owner().get("/doctor", Host=host)

    assert answer.status in (200, 400), answer
    assert b"webhook: " not in answer.body
