"""The doors in PHP: webhook, page and tick where the web server runs PHP; with a pool, without one, with nothing."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.conftest import database_settings
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.door_hosts import KINDS, OWNER, TICK, DoorHost, door_host
from tests.support.servers.site import request

BOT = REPOSITORY / "examples" / "bot.py"
MakeHost = Callable[..., DoorHost]


@pytest.fixture
def make_host(servers: Servers) -> Iterator[MakeHost]:
    """Makes hosts: make_host(kind, database, lines of PHP-FPM, NAME=value …)."""
    home = Path(tempfile.mkdtemp(prefix="doors-"))
    home.chmod(0o711)
    bot = home / "bot.py"
    bot.write_text("import sys\nsys.stdin.read()\n")
    with ExitStack() as stack:

        def make(kind: str, database: str = "sqlite", pool: str = "", **settings: str) -> DoorHost:
            folder = home / f"host{len(list(home.iterdir()))}"
            folder.mkdir()
            folder.chmod(0o711)
            settings = {**database_settings(servers, database), **settings}
            return stack.enter_context(door_host(kind, folder, bot, pool, **settings))

        yield make
    shutil.rmtree(home)


def update(number: int, text: str = "hello") -> dict[str, object]:
    return {"update_id": number, "message": {"message_id": 1, "chat": {"id": 5}, "text": text}}


def look_at_all_three(host: DoorHost) -> None:
    stored = [host.send(update(1)), host.send(update(2, "x" * 300_000)), host.send(update(1))]
    assert [answer.status for answer in stored] == [200, 200, 200], (stored, host.site.logs())
    ids = [answer.json()["queued_job_id"] for answer in stored]
    assert ids[0] == ids[2] != ids[1]
    assert stored[0].headers["Content-Type"] == "application/json; charset=utf-8"
    assert "X-Powered-By" not in stored[0].headers
    assert host.send(update(3), secret="another").status == 401
    assert host.send(b"{").status == 400
    assert host.send(update(4, "x" * 1_500_000)).status == 413
    assert request(f"{host.url}/webhook_queue.php").status == 405

    owner = host.owner()
    assert owner.json()["counts"]["total"] == 2
    assert 'href="/scalable/dashboard.php/' in owner.page("/jobs")
    assert owner.press("pause").status == 200, "it asks"
    pressed = owner.press("pause", sure="yes")
    assert (pressed.status, pressed.headers["Location"].partition("?")[0]) == (303, "/scalable/dashboard.php/")
    assert owner.json()["paused"] is not None
    assert owner.press("resume").status == 303
    assert owner.post({"csrf": "0" * 64, "action": "pause"}).status == 403
    style = request(f"{host.url}/dashboard.php/static/dashboard.css")
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert request(f"{host.url}/dashboard.php", method="HEAD").body == b""

    assert request(f"{host.url}/worker.php").status == 403
    assert request(f"{host.url}/worker.php?token={TICK}").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_webhook_page_and_tick_answer_by_the_pool_alone(kind: str, make_host: MakeHost) -> None:
    host = make_host(kind)
    host.start_pool()
    host.forbid_python()

    look_at_all_three(host)


@pytest.mark.parametrize("kind", KINDS)
def test_webhook_page_and_tick_answer_where_no_pool_runs(kind: str, make_host: MakeHost) -> None:
    host = make_host(kind)

    look_at_all_three(host)


@pytest.mark.parametrize("database", ["sqlite", "mariadb-10.11"])
def test_where_neither_is_there_an_update_is_stored_bare_and_run_by_the_next_worker(
    database: str, make_host: MakeHost
) -> None:
    host = make_host("nginx-fpm", database, "php_admin_value[disable_functions] = proc_open,exec,escapeshellarg")
    assert host.send(update(1)).status == 503, "there is no table yet"
    assert host.site.run("config.py").returncode == 0

    answers = [host.send(update(number)) for number in (1, 2, 1)]

    assert [answer.status for answer in answers] == [200, 200, 200], (answers, host.site.logs())
    assert answers[0].json() == answers[2].json()
    assert host.send(update(3), secret="another").status == 401
    page = request(f"{host.url}/dashboard.php")
    assert (page.status, page.headers["Retry-After"]) == (503, "10")
    done = host.site.run("worker.py", "--drain", "--max-seconds", "20")
    assert done.returncode == 0, done
    host.start_pool()
    assert host.owner().json()["counts"] == {**host.owner().json()["counts"], "done": 2, "total": 2}


# Hosts that forbid much


FORBIDDEN = (
    "ini_set,set_time_limit,getmyuid,posix_geteuid,error_log,escapeshellarg,exec,shell_exec,system,passthru,popen,"
    "proc_open,getmypid,chdir,symlink,link"
)


def test_a_host_that_forbids_nearly_all_functions_reaches_the_pool(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm", "sqlite", f"php_admin_value[disable_functions] = {FORBIDDEN}")
    host.start_pool()

    look_at_all_three(host)


def test_open_basedir_keeps_neither_the_pool_nor_python_away(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm", "sqlite", "php_admin_value[open_basedir] = /tmp")
    assert host.send(update(1)).status == 200
    host.start_pool()
    host.forbid_python()

    assert host.send(update(2)).status == 200
    assert host.owner().json()["counts"]["total"] == 2


def test_where_pdo_is_forbidden_too_telegram_is_asked_to_come_again(make_host: MakeHost) -> None:
    forbidden = "php_admin_value[disable_functions] = proc_open\nphp_admin_value[disable_classes] = PDO"
    host = make_host("nginx-fpm", "sqlite", forbidden)
    assert host.site.run("config.py").returncode == 0

    answer = host.send(update(1))

    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert answer.json() == {"ok": False, "error": "the queue cannot take updates just now; Telegram will try again"}


def test_warnings_and_texts_of_php_itself_do_not_get_into_the_answer(make_host: MakeHost) -> None:
    shows = (
        "php_flag[display_errors] = on\nphp_value[error_reporting] = -1\nphp_flag[zlib.output_compression] = on\n"
        "php_flag[expose_php] = on\nphp_value[default_charset] = ISO-8859-1\nphp_value[output_buffering] = 4096"
    )
    host = make_host("apache-fpm", "sqlite", shows)

    look_at_all_three(host)


# A pool that is gone or hangs


def test_a_socket_that_a_killed_pool_has_left_behind_is_passed_over(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm")
    pool = host.start_pool()
    pool.kill()
    assert (host.data / ".ht-updates.sock").exists()

    assert host.send(update(1)).status == 200
    assert host.owner().json()["counts"]["total"] == 1


@pytest.mark.parametrize("forbidden", ["exec", "proc_open"])
def test_an_update_that_a_hanging_pool_was_given_is_stored_once(forbidden: str, make_host: MakeHost) -> None:
    # Not SQLite, which a pool that stops in the middle of a transaction keeps for itself.
    host = make_host("nginx-fpm", "mariadb-10.11", f"php_admin_value[disable_functions] = {forbidden}")
    pool = host.start_pool()
    assert host.send(update(1)).status == 200
    pool.freeze()

    stored = host.send(update(2))

    assert stored.status == 200, (stored, host.site.logs())
    pool.send(signal.SIGCONT)
    assert host.send(update(3)).status == 200
    assert host.send(update(2)).json()["queued_job_id"] == stored.json()["queued_job_id"]
    assert host.owner().json()["counts"]["total"] == 3


def test_a_socket_of_another_user_is_not_spoken_to(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm")
    host.start_pool()
    for name in (".ht-updates.sock", ".ht-gateway.sock"):
        os.chown(host.data / name, 12345, 12345)
    host.forbid_python()

    assert request(f"{host.url}/dashboard.php").status == 503


def test_settings_that_the_pool_does_not_have_are_not_gone_around(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm")
    host.start_pool()
    settings = host.site.plugin / ".htenv"
    settings.write_text(settings.read_text().replace("secret-of-the-webhook", "another-secret-of-the-webhook"))

    assert host.send(update(1)).status == 401
    assert host.send(update(1), secret="another-secret-of-the-webhook").status == 200


def test_no_other_file_of_the_folder_is_run_or_shown(make_host: MakeHost) -> None:
    hosts = [make_host(kind) for kind in ("apache-fpm", "nginx-fpm")]
    paths = (
        "config.php",
        "worker_pool.php",
        "lib/door/door.php",
        "lib/door/bare_row.php",
        "lib/door/server_place.php",
        ".htenv",
        "lib/runners/php/prelude.php",
        "worker.php/../config.php",
        "webhook_queue.php%2f..%2fconfig.php",
        "Webhook_queue.php5",
        "",
    )

    for host in hosts:
        for path in paths:
            assert request(f"{host.url}/{path}").status in (403, 404, 405), (host.url, path)


# What PHP stored alone


def test_updates_that_php_stored_alone_run_in_the_order_of_their_lanes(make_host: MakeHost) -> None:
    host = make_host("nginx-fpm", "sqlite", "php_admin_value[disable_functions] = proc_open")
    assert host.site.run("config.py").returncode == 0
    for number in range(1, 7):
        chat = 5 + number % 2
        message = {"message_id": number, "chat": {"id": chat}, "text": "hello"}
        assert host.send({"update_id": number, "message": message}).status == 200

    host.start_pool()

    host.site.dashboard_url = f"{host.url}/dashboard.php?token={OWNER}"
    host.site.wait_for_counts(done=6)
    jobs = {job["update_id"]: job for job in host.owner().json()["jobs"]}
    assert [jobs[number]["lane"] for number in (1, 2, 3)] == ["chat:6", "chat:5", "chat:6"]
