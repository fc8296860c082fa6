"""`config.py init` and `uninstall`, as an owner runs them beside a bot, and the way of an owner without a shell."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import select
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.apache import SHORT_PATH, WEB_USER
from tests.support.servers.databases import Servers
from tests.support.servers.site import copy_plugin

PY_BOT = REPOSITORY / "examples" / "bot.py"
INVENTED = ("BOT_WEBHOOK_SECRET", "BOT_MONITOR_TOKEN")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A web folder with a bot and the plugin, not set up."""
    site = tmp_path / "example.com" / "public_html" / "shop"
    site.mkdir(parents=True)
    shutil.copy(PY_BOT, site / "bot.py")
    copy_plugin(site)
    return site


@pytest.fixture
def telegram() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        yield api


def run(site: Path, *arguments: str, script: str = "config.py", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(site / "scalable" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
        env={"PATH": os.environ["PATH"], "BOT_LEGACY_PATH": "../bot.py", **variables},
    )


def at_a_terminal(site: Path, *answers: str) -> str:
    """What `init` shows to somebody who sits there and answers."""
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = [sys.executable, str(site / "scalable" / "config.py"), "init"]
        os.execve(sys.executable, arguments, {"PATH": os.environ["PATH"], "BOT_LEGACY_PATH": "../bot.php"})
    shown = b""
    left = list(answers)
    try:
        while part := _read(terminal):
            shown += part
            if left and shown.count(b"Its value") == len(answers) - len(left) + 1:
                os.write(terminal, left.pop(0).encode() + b"\n")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return shown.decode()


def _read(terminal: int) -> bytes:
    ready, _, _ = select.select([terminal], [], [], 60)
    assert ready, "it says nothing any more"
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux tells the end of the other side like that
        return b""


def settings(site: Path) -> dict[str, str]:
    lines = (site / "scalable" / ".htenv").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]", line))


def everything(site: Path) -> dict[str, tuple[int, str]]:
    """Mode and hash of every file, but those a database, Python and the check itself write."""
    return {
        str(path.relative_to(site)): (path.stat().st_mode, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in site.rglob("*")
        if path.is_file() and not {".htdata", "__pycache__"} & set(path.parts)
    }


def test_it_makes_private_settings_with_fresh_passwords_and_shows_none_of_them(site: Path) -> None:
    done = run(site, "init")

    made = settings(site)
    assert done.returncode == 0, done
    assert set(made) == set(INVENTED)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", password) for password in made.values())
    assert len(set(made.values())) == 2
    assert stat.S_IMODE((site / "scalable" / ".htenv").stat().st_mode) == 0o600
    assert not [password for password in made.values() if password in done.stdout + done.stderr]
    assert "table: bot_jobs" in done.stdout
    assert "made just now" in done.stdout
    assert "Everything needed is in place." in done.stdout


def test_another_installation_gets_other_passwords(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(site, other)

    run(site, "init")
    run(other, "init")

    assert set(settings(site).values()).isdisjoint(settings(other).values())


def test_repeating_it_changes_nothing(site: Path) -> None:
    run(site, "init")
    before = everything(site)

    again = run(site, "init")

    assert again.returncode == 0
    assert everything(site) == before
    assert " written to " not in again.stdout
    about_scripts = [line for line in again.stdout.splitlines() if " scripts: " in line]
    assert ["executable, Unix line ends" in line for line in about_scripts] == [True], "the check's own line alone"


def test_what_the_owner_wrote_stays_and_only_what_is_missing_is_added(site: Path) -> None:
    file = site / "scalable" / ".htenv"
    file.write_text("# mine\nBOT_MONITOR_TOKEN='my own'\nBOT_WORKER_POOL_SIZE=2\nBOT_LOG_LEVEL=WARNING")
    file.chmod(0o644)

    done = run(site, "init")

    lines = file.read_text().splitlines()
    assert lines[:4] == ["# mine", "BOT_MONITOR_TOKEN='my own'", "BOT_WORKER_POOL_SIZE=2", "BOT_LOG_LEVEL=WARNING"]
    assert [line.partition("=")[0] for line in lines[4:]] == ["BOT_WEBHOOK_SECRET"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "BOT_WEBHOOK_SECRET is new: updates without it are refused" in done.stdout


def test_a_name_with_nothing_after_it_and_one_of_the_environment_are_decisions_too(site: Path) -> None:
    file = site / "scalable" / ".htenv"
    file.write_text("BOT_WEBHOOK_SECRET=\n")
    file.chmod(0o600)

    run(site, "init", BOT_MONITOR_TOKEN="of the environment")

    assert file.read_text() == "BOT_WEBHOOK_SECRET=\n"


def test_settings_it_cannot_read_are_told_and_not_touched(site: Path) -> None:
    file = site / "scalable" / ".htenv"
    file.write_text("BOT_MONITOR_TOKEN\n")

    done = run(site, "init")

    assert done.returncode == 2
    assert "line 1: expected NAME=value" in done.stderr
    assert file.read_text() == "BOT_MONITOR_TOKEN\n"


def test_a_php_bot_that_reads_its_update_from_the_request_is_run_as_it_is_used_to(site: Path) -> None:
    need(None if shutil.which("php-cgi") else "php-cgi is not installed: python3 tests/install.py")
    (site / "bot.php").write_text("<?php $update = json_decode(file_get_contents('php://input'));\n")

    done = run(site, "init", BOT_LEGACY_PATH="../bot.php")

    assert set(settings(site)) == set(INVENTED), "how it is run is seen again whenever a worker starts"
    assert done.returncode == 0
    assert re.search(r"^ok +bot: will be run as: \S+php-cgi\S*, kept running by the worker", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    "code",
    [
        'if(($_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"]??"")!=="hush-mine")exit;',
        "require 'config.php'; hash_equals(SECRET, $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] ?? '') or die;",
        "$key = 'hush-mine'; if ($key != $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']) { header('x'); exit; }",
    ],
)
def test_f4_the_secret_that_the_bot_compares_is_kept_and_not_shown(site: Path, code: str) -> None:
    (site / "config.php").write_text("<?php const SECRET = 'hush-mine';")
    (site / "bot.php").write_text(f"<?php {code} file_get_contents('php://input');")

    done = run(site, "init", BOT_LEGACY_PATH="../bot.php")

    assert settings(site)["BOT_WEBHOOK_SECRET"] == "hush-mine"
    assert done.returncode == 0, done
    assert "BOT_WEBHOOK_SECRET is the one that the bot compares (bot.php, line 1)" in done.stdout
    assert "BOT_WEBHOOK_SECRET is new" not in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_f4_a_secret_that_is_not_in_the_source_is_not_invented(site: Path) -> None:
    code = (
        "if ($_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] !== getenv('S')) exit; file_get_contents('php://input');"
    )
    (site / "bot.php").write_text(f"<?php {code}")

    done = run(site, "init", BOT_LEGACY_PATH="../bot.php")

    assert "BOT_WEBHOOK_SECRET" not in settings(site)
    assert "BOT_WEBHOOK_SECRET stays empty: the bot compares the secret token itself (bot.php, line 1)" in done.stdout
    assert done.returncode == 4, "its updates would wait"

    with (site / "scalable" / ".htenv").open("a") as file:
        file.write("BOT_WEBHOOK_SECRET=hush-owners\n")
    again = run(site, "init", BOT_LEGACY_PATH="../bot.php")
    assert again.returncode == 0, again
    assert "hush" not in again.stdout


def test_f4_at_a_terminal_the_owner_is_asked_for_it(site: Path) -> None:
    code = (
        "if ($_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'] !== getenv('S')) exit; file_get_contents('php://input');"
    )
    (site / "bot.php").write_text(f"<?php {code}")

    shown = at_a_terminal(site, "not possible!", "hush-owners")

    assert settings(site)["BOT_WEBHOOK_SECRET"] == "hush-owners"
    assert "Telegram takes 1 to 256 of A-Z" in shown
    assert "hush" not in shown


def test_f1_a_bot_that_reads_its_update_in_another_file_is_run_as_under_its_web_server(site: Path) -> None:
    (site / "lib.php").write_text("<?php if (file_get_contents('php://input') === '') die('Input is empty!');")
    (site / "bot.php").write_text('<?php require __DIR__."/lib.php";')

    done = run(site, "init", BOT_LEGACY_PATH="../bot.php")

    assert done.returncode == 0, done
    assert "kept running by the worker (FastCGI)" in done.stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while (true) { foreach (getUpdates() as $u) run($u); }", "fetches its updates itself"),
        ("if(($_GET['s']??'')!=='k')exit; file_get_contents('php://input');", "does nothing without its query"),
        ("if (PHP_SAPI !== 'litespeed') exit; file_get_contents('php://input');", "asks which interface PHP has"),
    ],
)
def test_where_nothing_is_certain_to_run_the_bot_it_says_so_and_fails(site: Path, code: str, words: str) -> None:
    (site / "bot.php").write_text(f"<?php {code}")

    done = run(site, "init", BOT_LEGACY_PATH="../bot.php")

    assert done.returncode == 4
    assert f"error    bot: the bot {words}" in done.stdout
    assert "1 thing to put right." in done.stdout


def test_modes_and_line_ends_that_suexec_refuses_are_put_right(site: Path) -> None:
    plugin = site / "scalable"
    script = plugin / "webhook_queue.py"
    right = script.read_bytes()
    script.write_bytes(b"\xef\xbb\xbf" + right.replace(b"\n", b"\r\n"))
    script.chmod(0o664)
    plugin.chmod(0o777)
    (plugin / "lib").chmod(0o775)

    done = run(site, "init")

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (script, plugin, plugin / "lib")}
    assert list(modes.values()) == [0o755, 0o755, 0o755]
    assert script.read_bytes().partition(b"\n")[2] == right.partition(b"\n")[2]
    assert "scalable/webhook_queue.py: mode 755 instead of 664" in done.stdout
    assert [path for path in plugin.rglob("*") if path.stat().st_mode & 0o022] == []


def test_the_first_line_names_the_python_that_ran_it_where_the_web_server_would_find_another(site: Path) -> None:
    run(site, "init")

    first = (site / "scalable" / "webhook_queue.py").read_text().partition("\n")[0]
    started = subprocess.run(
        [str(site / "scalable" / "config.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": SHORT_PATH, "BOT_LEGACY_PATH": "../bot.py"},
    )
    assert first == f"#!{sys.executable} -S"
    assert f"at {sys.executable}" in started.stdout


def test_commands_for_this_very_host_are_shown_and_work_as_shown(site: Path, telegram: FakeBotApi) -> None:
    telegram.webhook_url = "https://bots.example.com/shop/bot.py?key=1"
    variables = {"BOT_TOKEN": TOKEN, "BOT_API_URL": telegram.url}

    shown = run(site, "init", **variables).stdout

    plugin = site / "scalable"
    assert f"  * * * * * {sys.executable} {plugin}/worker_pool.py --ensure >> " in shown
    assert f"  * * * * * {sys.executable} {plugin}/worker_pool.py --cron >> " in shown
    assert f"  * * * * * {sys.executable} {plugin}/worker.py --drain --max-seconds 50 >> " in shown
    assert shown.index(" --ensure >> ") < shown.index(" --cron >> ") < shown.index(" --drain ")
    put, back = re.findall(r"^  (\S+ \S+webhook_queue\.py .+)$", shown, re.MULTILINE)
    ours = "https://bots.example.com/shop/scalable/webhook_queue.py"
    assert "key=1" not in back  # every user of the machine can read a command
    for line, expected in ((put, ours), (back, "https://bots.example.com/shop/bot.py?key=1")):
        done = subprocess.run(
            ["sh", "-c", line],
            input=expected + "\n",  # for the one that asks
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": SHORT_PATH, "BOT_LEGACY_PATH": "../bot.py", **variables},
        )
        assert done.returncode == 0, done
        assert telegram.webhook_url == expected


def test_without_a_token_the_addresses_are_guessed_from_the_folders(site: Path) -> None:
    shown = run(site, "init").stdout

    assert "webhook_queue.py set https://example.com/shop/scalable/webhook_queue.py" in shown
    assert "webhook_queue.py rollback https://example.com/shop/bot.py" in shown
    assert "need BOT_TOKEN in" in shown


def test_another_user_than_the_owner_is_refused(site: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to somebody else")
    shutil.chown(site / "scalable", WEB_USER)

    done = run(site, "init")

    assert done.returncode == 2
    assert "run it as the owner" in done.stderr
    assert not (site / "scalable" / ".htenv").exists()


def test_without_a_shell_the_renamed_example_is_enough_also_as_windows_saves_it(site: Path) -> None:
    plugin = site / "scalable"
    text = (plugin / ".htenv.example").read_text()
    filled = re.sub(r"(?m)^#BOT_MONITOR_TOKEN=$", "BOT_MONITOR_TOKEN=invented by me", text)
    (plugin / ".htenv.example").unlink()
    (plugin / ".htenv").write_bytes(b"\xef\xbb\xbf" + filled.replace("\n", "\r\n").encode())

    done = run(site)

    assert filled != text
    assert done.returncode == 0
    assert re.search(r"^BOT_MONITOR_TOKEN +\(set, hidden\) +file$", done.stdout, re.MULTILINE)


def test_uninstall_tells_the_steps_and_removes_nothing(site: Path) -> None:
    run(site, "init")
    before = everything(site)

    done = run(site, "uninstall")

    assert done.returncode == 0
    assert everything(site) == before
    assert (site / "scalable" / ".htdata" / ".ht-queue.sqlite3").exists()
    steps = done.stdout.splitlines()
    assert "webhook_queue.py rollback https://example.com/shop/bot.py" in steps[0]
    assert "Left now: 0 pending, 0 processing, 0 failed." in steps[1]
    assert "worker_pool.py --stop" in steps[2]
    assert f"the lines with {site}/scalable out of the crontab" in steps[3]
    assert f"delete the folder {site}/scalable." in steps[4]
    assert steps[-1] == "Nothing was removed."


def test_uninstall_names_the_tables_of_a_server(site: Path, servers: Servers) -> None:
    address = servers.fresh_database("mariadb-10.11")

    done = run(
        site,
        "uninstall",
        BOT_DB_HOST=str(address.socket),
        BOT_DB_NAME=address.database,
        BOT_DB_USER=address.user,
        BOT_DB_PASS=address.password,
    )

    assert "the tables bot_jobs bot_jobs_meta bot_jobs_workers bot_jobs_minutes of MySQL database" in done.stdout
    assert address.password not in done.stdout
