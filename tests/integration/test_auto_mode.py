"""Bots as their owners wrote them, with default settings: each runs its update, or the queue is held with the reason.

None may end as done without having run. `RAN` is how a bot shows that it ran: it keeps the update that it got.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.generators.bots import shell_bot
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.children import tail
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import request, wait_until

RAN = 'file_put_contents(__DIR__."/ran", file_get_contents("php://input")."\\n", FILE_APPEND);'
LIB = (
    "<?php class Input { static function read() { $text = file_get_contents('php://input'); "
    "if ($text === '') throw new Exception('Input is empty!'); "
    "file_put_contents(__DIR__.'/ran', $text.\"\\n\", FILE_APPEND); } }"
)
READ_BY_LIB = "try { Input::read(); } catch (Exception $e) { error_log($e->getMessage()); }"
POLLS = "<?php while (true) { foreach ($bot->getUpdates() as $update) run($update); }"


@pytest.fixture(autouse=True)
def _php_cgi_is_there() -> None:
    need(None if shutil.which("php-cgi") else "php-cgi is not installed: python3 tests/install.py")


def write(folder: Path, source: str, **files: str) -> Path:
    """The bot, and files beside it: lib_php="…" is lib.php, vendor__autoload_php is vendor/autoload.php."""
    for name, text in {"bot_php": source, **files}.items():
        file = folder / "site" / name.replace("__", "/").replace("_php", ".php")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "site" / "bot.php"


def runs(folder: Path) -> list[int]:
    """The updates that the bot kept, in the order of their runs."""
    file = folder / "site" / "ran"
    return [json.loads(line)["update_id"] for line in file.read_text().splitlines()] if file.exists() else []


def update(number: int) -> dict[str, object]:
    return {"update_id": number, "message": {"message_id": number, "date": 1, "chat": {"id": 7, "type": "private"}}}


def held(site: ServedSite) -> str:
    """Why the queue is held, empty when it is not."""
    reasons = request(f"{site.dashboard_url}?format=health{site.query}").json()["reasons"]
    return next((reason["text"] for reason in reasons if reason["code"] == "held"), "")


def wait_until_held(site: ServedSite) -> str:
    wait_until(lambda: held(site), lambda: tail(site.log))
    return held(site)


# Bots that run


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (f'<?php require __DIR__."/lib.php"; {READ_BY_LIB}', {"lib_php": LIB}),
        (
            f'<?php require __DIR__."/vendor/autoload.php"; {READ_BY_LIB}',
            {
                "vendor__autoload_php": '<?php spl_autoload_register(fn ($c) => require dirname(__DIR__)."/$c.php");',
                "Input_php": LIB,
            },
        ),
        (f"<?php define('ROOT', dirname(__FILE__)); include ROOT . '/lib.php'; {READ_BY_LIB}", {"lib_php": LIB}),
        (f"<?php if (PHP_SAPI === 'cli') exit; {RAN}", {}),
        (f"<?php if ($_SERVER['REQUEST_METHOD'] !== 'POST') {{ echo 'Hello, browser'; exit; }} {RAN}", {}),
        (f"<?php session_start(); {RAN} echo 'ok';", {}),
        (f"<?php if (isset($_GET['setup'])) {{ setWebhook(); exit; }} {RAN}", {}),
    ],
)
def test_f1_a_bot_runs_its_update_wherever_it_reads_it(tmp_path: Path, source: str, files: dict[str, str]) -> None:
    with ServedSite(tmp_path, write(tmp_path, source, **files)) as site:
        site.send(update(1))
        site.wait_for_counts(done=1)

        assert runs(tmp_path) == [1], tail(site.log)
        assert held(site) == ""


@pytest.mark.parametrize(
    "otherwise",
    [
        "if ($_SERVER['REQUEST_METHOD'] !== 'POST')",
        "if (file_get_contents('php://input') === '')",
        "if (!isset($_SERVER['REQUEST_METHOD']) || $_SERVER['REQUEST_METHOD'] == 'GET')",
        "if (php_sapi_name() === 'cli')",
    ],
)
def test_f14_a_bot_that_sets_its_webhook_without_a_post_sees_a_post(tmp_path: Path, otherwise: str) -> None:
    source = f"<?php {otherwise} {{ setWebhook(); exit; }} {RAN} function setWebhook() {{ touch(__DIR__.'/set'); }}"

    with ServedSite(tmp_path, write(tmp_path, source)) as site:
        site.send(update(1))
        site.wait_for_counts(done=1)

    assert runs(tmp_path) == [1]
    assert not (tmp_path / "site" / "set").exists()


def test_f4_a_bot_that_compares_the_secret_gets_its_own(tmp_path: Path) -> None:
    source = f'<?php if(($_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"]??"")!=="mine")exit; {RAN}'

    with ServedSite(tmp_path, write(tmp_path, source), BOT_WEBHOOK_SECRET="mine") as site:
        site.send(update(1), X_Telegram_Bot_Api_Secret_Token="mine")
        site.wait_for_counts(done=1)

    assert runs(tmp_path) == [1]


# Bots that are held


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (POLLS, "fetches its updates itself"),
        (f'<?php if(($_GET["s"]??"")!=="k")exit; {RAN}', "does nothing without its query"),
        (
            f'<?php if(($_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"]??"")!=="mine")exit; {RAN}',
            "BOT_WEBHOOK_SECRET is another one",
        ),
        (f"<?php if (PHP_SAPI !== 'apache2handler') exit; {RAN}", "asks which interface PHP has"),
    ],
)
def test_f2_f4_what_is_not_certain_to_run_waits_and_goes_on_by_itself(tmp_path: Path, source: str, words: str) -> None:
    """Given a bot that would end without a word on every update, and an owner who puts it right."""
    bot = write(tmp_path, source)
    secret = {"X_Telegram_Bot_Api_Secret_Token": "ours"}
    with ServedSite(tmp_path, bot, BOT_WEBHOOK_SECRET="ours") as site:
        for number in (1, 2, 3):
            site.send(update(number), **secret)
        reason = wait_until_held(site)

        assert words in reason
        assert site.counts()["pending"] == 3
        page = site.owner().page()
        assert words in page
        check = site.run("config.py")
        assert (check.returncode, "error    bot: the bot" in check.stdout) == (4, True), check
        health = site.run("worker_pool.py", "--health")
        assert (health.returncode, words in health.stdout) == (1, True)
        assert "no worker is alive" not in health.stdout

        write(tmp_path, f"<?php {RAN}")
        site.wait_for_counts(done=3)
        wait_until(lambda: held(site) == "", lambda: held(site))
        assert [(job["status"], job["attempts"]) for job in site.overview()["jobs"]] == [("done", 1)] * 3
    assert runs(tmp_path) == [1, 2, 3]


def test_a_bot_that_becomes_unsuitable_under_a_running_pool_is_not_run(tmp_path: Path) -> None:
    bot = write(tmp_path, f"<?php {RAN}")
    with ServedSite(tmp_path, bot) as site:
        site.send(update(1))
        site.wait_for_counts(done=1)

        write(tmp_path, POLLS)
        site.send(update(2))
        wait_until_held(site)

        assert site.counts()["pending"] == 1
        assert [job["attempts"] for job in site.overview()["jobs"] if job["status"] == "pending"] == [0]
        write(tmp_path, f"<?php {RAN}")
        site.wait_for_counts(done=2)
    assert runs(tmp_path) == [1, 2]


def test_a_mode_that_the_owner_names_lets_it_run(tmp_path: Path) -> None:
    bot = write(
        tmp_path, f"<?php if (!$_SERVER) getUpdates(); $all = fn () => 1; {RAN.replace('php://input', 'php://stdin')}"
    )
    with ServedSite(tmp_path, bot, BOT_LEGACY_MODE="cli") as site:
        site.send(update(1))
        site.wait_for_counts(done=1)

    assert runs(tmp_path) == [1]


def test_a_pool_that_holds_its_updates_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with ServedSite(tmp_path, write(tmp_path, POLLS)) as site:
        wait_until_held(site)
        os.kill(site.pool.pid, signal.SIGTERM)
        wait_until(lambda: not site.pool.is_running(), lambda: tail(site.log))

        assert site.pool.exit_code == 0


@pytest.mark.parametrize("command", [("worker_pool.py", "--cron", "--max-seconds", "8"), ("worker.py", "--drain")])
def test_a_tick_and_a_drain_hold_them_too_tell_it_and_the_next_one_goes_on(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    site = ServedSite(tmp_path, write(tmp_path, POLLS))
    post_by_hand(site, 1)

    done = site.run(*command)

    assert done.returncode == 4, done
    assert "fetches its updates itself" in done.stderr
    assert "fetches its updates itself" in site.run("worker_pool.py", "--health").stdout

    write(tmp_path, f"<?php {RAN}")
    assert site.run(*command).returncode == 0
    assert runs(tmp_path) == [1]
    assert "fetches" not in site.run("worker_pool.py", "--health").stdout


def post_by_hand(site: ServedSite, number: int) -> None:
    """Store an update as the web server's own process does, without a pool."""
    from scalable.lib.installation import open_installation
    from scalable.lib.telegram.update import Update

    queue = open_installation(site.environment).queue()
    queue.ensure_schema()
    queue.enqueue(Update(json.dumps(update(number)), number, "chat:7"))
    queue.close()


def test_alerts_tell_that_updates_are_held(tmp_path: Path) -> None:
    with FakeBotApi() as telegram:
        settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_ALERT_CHAT_ID": "5"}
        with ServedSite(tmp_path, write(tmp_path, POLLS), **settings) as site:
            wait_until_held(site)
            wait_until(lambda: "sendmessage" in telegram.methods(), telegram.methods)

        [call] = [call for call in telegram.calls if call.method == "sendmessage"]
        assert "no update is run since" in call.parameters["text"]
        assert "fetches its updates itself" in call.parameters["text"]


# A host without php-cgi of the right version


def other_php(folder: Path) -> str:
    """PHP's command-line program, which says it is of a version that no php-cgi here has."""
    code = f"""case "$1" in
-v) echo "PHP 5.6.40 (cli) (built: today)" ;;
*) exec {shutil.which("php")} "$@" ;;
esac"""
    return str(shell_bot(folder, code, "php56"))


def test_without_php_cgi_a_bot_that_insists_on_its_web_server_is_posted_to_where_its_webhook_was(
    tmp_path: Path,
) -> None:
    """Given a bot at its own web server (PHP's built-in one would be `cli-server`), known from the old webhook."""
    bot = write(tmp_path, f"<?php if (PHP_SAPI === 'cli') exit; {RAN}")
    with FakeBotApi() as telegram:
        settings = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url, "BOT_PHP_BINARY": other_php(tmp_path)}
        telegram.webhook_url = "https://127.0.0.1:1/site/bot.php?key=hush"
        site = ServedSite(tmp_path, bot, **settings)
        before = site.run("config.py")
        site.run("webhook_queue.py", "set", "https://127.0.0.1:1/scalable/webhook_queue.py")

        after = site.run("config.py")

    assert before.returncode == 4
    assert "asks which interface PHP has (bot.php, line 1)" in before.stdout
    assert after.returncode == 0, after
    assert "https://127.0.0.1:1/site/bot.php" in after.stdout
    assert "hush" not in after.stdout


def test_the_example_bot_runs_by_default(tmp_path: Path) -> None:
    with ServedSite(tmp_path, REPOSITORY / "examples" / "bot.php") as site:
        site.send(update(1))
        site.wait_for_counts(done=1)
