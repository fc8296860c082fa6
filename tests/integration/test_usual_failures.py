"""The fifteen usual failures of shared hosts, each provoked on real parts: the checks name it, and what to do.

An owner reaches the checks in up to four ways; each failure is looked at in those that it leaves. Where a line tells a
command, the command is run, and the webhook works again.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.fakes.bot_api import TOKEN, FakeBotApi
from tests.support.need import need, old_python
from tests.support.servers.apache import (
    CUSTOMER,
    CUSTOMERS,
    SUEXEC,
    apache_available,
    customers_folder,
    suexec_available,
)
from tests.support.servers.databases import Servers
from tests.support.servers.site import SYSTEM_PYTHON, request
from tests.support.servers.strict_host import NO_ANSWER, WAYS, Patient, command_in, is_root, line_with

BOM = b"\xef\xbb\xbf"
SERVER = "mariadb-10.11"
PHP_PLACES = "/usr/bin/php* /usr/local/bin/php*"
WEB_SCRIPTS = ("webhook_queue.py", "dashboard.py", "worker.py")


class Ward:
    """What a failure may use: the patient, database servers, and a stack of things to undo."""

    def __init__(self, patient: Patient, servers: Servers, undo: ExitStack, folder: Path) -> None:
        self.patient = patient
        self.servers = servers
        self.undo = undo
        self.folder = folder

    def rewrite_scripts(self, change: Callable[[bytes], bytes]) -> None:
        for name in WEB_SCRIPTS:
            path = self.patient.plugin / name
            path.write_bytes(change(path.read_bytes()))

    def use_database(self, **changes: str) -> None:
        """Put the queue on a database server."""
        address = self.servers.fresh_database(SERVER)
        self.patient.write_settings(
            **{
                "BOT_DB_HOST": f"127.0.0.1:{address.port}",
                "BOT_DB_NAME": address.database,
                "BOT_DB_USER": address.user,
                "BOT_DB_PASS": address.password,
                **changes,
            }
        )


@pytest.fixture
def ward(servers: Servers, tmp_path: Path) -> Iterator[Ward]:
    need(apache_available(with_php=True))
    need(suexec_available())
    need(is_root())
    with customers_folder() as home, ExitStack() as undo:
        patient = Patient(home)
        undo.callback(patient.close)
        yield Ward(patient, servers, undo, tmp_path)


def wrong_mode(ward: Ward) -> None:
    (ward.patient.plugin / "webhook_queue.py").chmod(0o644)


def group_writable_folder(ward: Ward) -> None:
    ward.patient.plugin.chmod(0o775)


def windows_line_ends(ward: Ward) -> None:
    ward.rewrite_scripts(lambda content: content.replace(b"\n", b"\r\n"))


def byte_order_mark(ward: Ward) -> None:
    ward.rewrite_scripts(lambda content: BOM + content)


def python_is_too_old(ward: Ward) -> None:
    """Where the customer may run it: 3.6, which Red Hat's release 8 has as its own."""
    real = Path(old_python("3.6")).resolve()
    place = ward.patient.home / "old"
    (place / "bin").mkdir(parents=True)
    shutil.copy(real, place / "bin" / "python3.6")
    for library in real.parents[1].glob("lib/libpython3.6*.so.*"):
        shutil.copy(library, place / "bin")
    start = place / "bin" / "python3"
    start.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={place}/bin exec {place}/bin/python3.6 "$@"\n')
    start.chmod(0o755)
    left_out = shutil.ignore_patterns("test", "site-packages", "__pycache__", "idlelib", "config-*", "ensurepip")
    shutil.copytree(real.parents[1] / "lib" / "python3.6", place / "lib" / "python3.6", ignore=left_out)
    first_line = f"#!{place}/bin/python3\n".encode()
    ward.rewrite_scripts(lambda content: first_line + content.partition(b"\n")[2])


def package_is_missing(ward: Ward) -> None:
    """The upload stopped before the folder with the packages."""
    shutil.rmtree(ward.patient.plugin / "vendor")


def variables_are_stripped(ward: Ward) -> None:
    (ward.patient.site / ".htaccess").write_text("SetEnv BOT_QUEUE_TABLE other_jobs\nSetEnv BOT_MONITOR_LIMIT 7\n")


def localhost_is_a_socket_elsewhere(ward: Ward) -> None:
    ward.use_database(BOT_DB_HOST="localhost")


def wrong_password(ward: Ward) -> None:
    ward.use_database(BOT_DB_PASS="hush-wrong")


def too_many_connections(ward: Ward) -> None:
    """All the connections that this user may have are taken by others."""
    ward.use_database()
    server, name = ward.servers.get(SERVER), ward.patient.settings["BOT_DB_NAME"]
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER 'few{name[-8:]}'@'%%' IDENTIFIED BY %s", (server.password,))
        cursor.execute(f"GRANT ALL ON `{name}`.* TO 'few{name[-8:]}'@'%' WITH MAX_USER_CONNECTIONS 1")
    ward.patient.write_settings(BOT_DB_USER=f"few{name[-8:]}")
    import pymysql

    held = pymysql.connect(host="127.0.0.1", port=server.port, user=f"few{name[-8:]}", password=server.password)
    ward.undo.callback(held.close)


def cgi_is_off(ward: Ward) -> None:
    """The owner did what .htaccess says of a host that forbids Options; neither CGI nor PHP is switched on there."""
    for door in ("webhook_queue.php", "dashboard.php", "worker.php"):
        (ward.patient.plugin / door).unlink()
    path = ward.patient.plugin / ".htaccess"
    path.write_text(path.read_text().replace("        Options +ExecCGI", "        #Options +ExecCGI"))
    ward.patient.restart_apache(f'<Directory "{ward.patient.plugin}">\n    Options -ExecCGI\n</Directory>\n')


def php_is_another_program(ward: Ward) -> None:
    ward.patient.write_settings(BOT_PHP_BINARY="/usr/bin/php-cgi", BOT_LEGACY_MODE="cli")


def disk_is_full(ward: Ward) -> None:
    """A disk of 4 MB, filled after everything was made on it."""
    patient = ward.patient
    patient.data.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"]
    subprocess.run(["mount", *options, str(patient.data)], check=True, timeout=60)
    ward.undo.callback(subprocess.run, ["umount", "-l", str(patient.data)], check=True, timeout=60)
    shutil.chown(patient.data, CUSTOMER, CUSTOMERS)
    assert patient.deliver() == 200
    patient.log_in()
    patient.as_customer(["sh", "-c", f"cat /dev/zero > {patient.data}/.ht-filler"])


def data_folder_is_anothers(ward: Ward) -> None:
    assert ward.patient.deliver() == 200
    shutil.chown(ward.patient.data, "root", "root")
    ward.patient.data.chmod(0o755)


@dataclass(frozen=True)
class Failure:
    """One of them: how it comes about, what Telegram then gets, who is left to tell, and what is told.

    `seen` and `remedy` are parts of the line; `is_cured` says that the remedy is a command that cures it.
    """

    provoke: Callable[[Ward], None]
    statuses: tuple[int, ...]
    ways: tuple[str, ...]
    verdict: str
    seen: tuple[str, ...]
    remedy: str
    is_cured: bool = False


ALL = tuple(WAYS)
WITHOUT_PAGE = ("config.py", "doctor.php", "php doctor.php")
PYTHON_ONLY = ("config.py", "page")
NOT_STARTED = (500, NO_ANSWER)
FAILURES = {
    "wrong mode": Failure(
        wrong_mode, (403, 500), ALL, "error", ("webhook_queue.py, mode 644", "not executable"), "chmod 755", True
    ),
    "group-writable folder": Failure(
        group_writable_folder,
        NOT_STARTED,
        WITHOUT_PAGE,
        "error",
        ("mode 775", "suexec runs no script"),
        "chmod 755",
        True,
    ),
    "CRLF": Failure(
        windows_line_ends,
        NOT_STARTED,
        WITHOUT_PAGE,
        "error",
        ("webhook_queue.py has Windows line ends",),
        "sed -i",
        True,
    ),
    "BOM": Failure(
        byte_order_mark,
        NOT_STARTED,
        WITHOUT_PAGE,
        "error",
        ("webhook_queue.py begins with a byte order mark",),
        "sed -i",
        True,
    ),
    "old Python": Failure(
        python_is_too_old,
        NOT_STARTED,
        WITHOUT_PAGE,
        "error",
        ("Python 3.6.", "3.9 or newer is needed"),
        "make the first line of",
    ),
    "missing package": Failure(
        package_is_missing, (500,), WITHOUT_PAGE, "error", ("python-dotenv is missing",), "-m pip install --target"
    ),
    "SetEnv stripped": Failure(
        variables_are_stripped,
        (200,),
        PYTHON_ONLY,
        "error",
        ("SetEnv BOT_QUEUE_TABLE", "does not reach"),
        "write it into the settings file",
    ),
    "localhost socket": Failure(
        localhost_is_a_socket_elsewhere,
        (503,),
        ALL,
        "error",
        ("localhost means the server's socket",),
        "set BOT_DB_HOST",
    ),
    "wrong password": Failure(
        wrong_password, (503,), ALL, "error", ("Access denied for user",), "check BOT_DB_USER and BOT_DB_PASS"
    ),
    "connection limit": Failure(
        too_many_connections, (503,), ALL, "error", ("max_user_connections",), "lower BOT_WORKER_POOL_SIZE"
    ),
    "no ExecCGI": Failure(
        cgi_is_off, (403,), ("config.py", "doctor.php"), "error", ("no ExecCGI",), "ask the host for ExecCGI"
    ),
    "wrong PHP": Failure(
        php_is_another_program,
        (200,),
        ALL,
        "error",
        ("BOT_PHP_BINARY='/usr/bin/php-cgi'", "it is cgi-fcgi"),
        "expected PHP's command-line program",
    ),
    "full disk": Failure(disk_is_full, (503,), ALL, "error", ("the disk is full",), "delete what is not needed"),
    "unwritable data folder": Failure(
        data_folder_is_anothers, (503,), WITHOUT_PAGE, "error", ("may not write here",), "as the folder's owner"
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_usual_failure_is_named_with_what_to_do_whichever_way_is_left(ward: Ward, name: str) -> None:
    failure = FAILURES[name]
    failure.provoke(ward)

    delivered = ward.patient.deliver()
    said = {way: ward.patient.ask(way) for way in failure.ways}

    assert delivered in failure.statuses
    for text in said.values():
        line = line_with(text, failure.verdict, *failure.seen)
        assert failure.remedy in line
        assert "to put right." in text
    if failure.is_cured:
        cure(ward.patient, said["config.py"])
        assert ward.patient.deliver() == 200


def cure(patient: Patient, said: str) -> None:
    """Run the command of every line about the scripts that is an error."""
    for line in re.findall("^error +scripts: .*$", said, re.MULTILINE):
        done = patient.as_customer(command_in(line))
        assert (done.returncode, done.stderr) == (0, ""), (line, done)


def test_missing_php_is_named_with_what_to_do(ward: Ward) -> None:
    """On a machine of its own as far as PHP goes: nothing of it is left to be run."""
    hide = f'for f in {PHP_PLACES}; do [ -f "$f" ] && mount --bind /dev/null "$f"; done; exec "$@"'
    shell = ["setpriv", f"--reuid={CUSTOMER}", f"--regid={CUSTOMERS}", "--clear-groups", "--"]
    command = [SYSTEM_PYTHON, str(ward.patient.plugin / "config.py")]

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide, "sh", *shell, *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin", "HOME": str(ward.patient.site)},
        check=False,
    )

    assert done.returncode == 4, done
    assert "set BOT_PHP_BINARY" in line_with(done.stdout, "error", "PHP was not found")


def test_a_healthy_installation_has_nothing_to_put_right_in_any_way(ward: Ward) -> None:
    telegram = ward.undo.enter_context(FakeBotApi())
    telegram.webhook_url = f"{ward.patient.url}/webhook_queue.py"
    ward.patient.write_settings(BOT_TOKEN=TOKEN, BOT_API_URL=telegram.url)
    assert ward.patient.deliver() == 200

    said = {way: ward.patient.ask(way) for way in ALL}

    for way, text in said.items():
        assert "Everything needed is in place." in text, (way, text)
        assert "error " not in text
    for way in ("config.py", "page", "doctor.php"):
        assert line_with(said[way], "ok", "secret: the header arrives")
        assert line_with(said[way], "ok", "private files: none of those")
    assert line_with(ward.patient.ask("config.py"), "ok", "queue: 1 pending, 0 processing")  # the checks stored nothing
    assert "under Apache/2.4" in line_with(said["page"], "python:")
    assert "(CGI)" in line_with(said["page"], "python:")


def test_what_the_shell_sees_and_the_web_server_does_not_is_told_on_both_sides(ward: Ward) -> None:
    ward.patient.ask("page")

    in_shell = ward.patient.in_shell(BOT_WORKER_SLEEP="3")
    on_page = ward.patient.ask("page")

    assert line_with(in_shell, "warning", "BOT_WORKER_SLEEP: from the environment of this shell")
    assert line_with(in_shell, "warning", "BOT_WORKER_SLEEP: the web server", "had another value")
    assert line_with(on_page, "warning", "BOT_WORKER_SLEEP: the shell", "had another value")


def test_the_last_run_of_cron_is_told_and_that_it_was_long_ago_is_a_warning(ward: Ward) -> None:
    patient = ward.patient
    assert line_with(patient.ask("config.py"), "ok", "workers: none is running now, and none has ever run here")
    drained = patient.as_customer([SYSTEM_PYTHON, str(patient.plugin / "worker.py"), "--drain", "--max-seconds", "60"])
    assert drained.returncode == 0, drained

    at_once = patient.ask("config.py")
    with sqlite3.connect(patient.data / ".ht-queue.sqlite3") as database:
        changed = database.execute(
            "UPDATE bot_jobs_meta SET value = '2020-01-01 00:00:00.000 ' || substr(value, 25) WHERE name = 'totals'"
        )
    later = patient.ask("config.py")

    assert line_with(at_once, "ok", "workers: none is running now; one did its housekeeping")
    assert changed.rowcount == 1
    assert "look at the crontab" in line_with(later, "warning", "workers: none is running now; one did its")


def test_a_warning_comes_before_the_connections_run_out(ward: Ward) -> None:
    ward.use_database()
    server, name = ward.servers.get(SERVER), ward.patient.settings["BOT_DB_NAME"]
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER 'some{name[-8:]}'@'%%' IDENTIFIED BY %s", (server.password,))
        cursor.execute(
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{name}`.* TO 'some{name[-8:]}'@'%' WITH MAX_USER_CONNECTIONS 5"
        )
    ward.patient.ask("config.py")  # as the user who may make tables
    ward.patient.write_settings(BOT_DB_USER=f"some{name[-8:]}")

    said = ward.patient.ask("config.py")

    assert "lower BOT_WORKER_POOL_SIZE" in line_with(said, "warning", "connections:", "5 for this user")
    assert "give this user all rights" in line_with(said, "warning", "rights:", "CREATE, ALTER, INDEX")


def test_a_user_who_may_only_read_is_an_error(ward: Ward) -> None:
    ward.use_database()
    server, name = ward.servers.get(SERVER), ward.patient.settings["BOT_DB_NAME"]
    with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER 'read{name[-8:]}'@'%%' IDENTIFIED BY %s", (server.password,))
        cursor.execute(f"GRANT SELECT ON `{name}`.* TO 'read{name[-8:]}'@'%'")
    ward.patient.write_settings(BOT_DB_USER=f"read{name[-8:]}")

    said = ward.patient.ask("config.py")

    assert "give this user all rights" in line_with(said, "error", "rights:", "may not INSERT, UPDATE, DELETE")


def test_a_private_file_that_anybody_can_fetch_is_an_error(ward: Ward) -> None:
    """A host that neither reads .htaccess nor keeps .ht files back."""
    (ward.patient.plugin / ".htaccess").unlink()
    (ward.patient.plugin / ".htenv").chmod(0o644)
    open_all = '<FilesMatch "^\\.ht">\n    Require all granted\n</FilesMatch>\n'
    ward.patient.restart_apache(open_all)
    assert request(f"{ward.patient.url}/.htenv").status == 200

    said = ward.patient.ask("config.py")

    line = line_with(said, "error", "private files:", ".htenv", "lib/errors.py")
    assert "then invent new passwords" in line


class TestWhoMayAskDoctorPhp:
    def test_nobody_without_the_password(self, ward: Ward) -> None:
        page = f"{ward.patient.url}/doctor.php"
        form = {"Content_Type": "application/x-www-form-urlencoded"}

        asked = request(page)
        wrong = request(page, b"token=wrong", **form)
        strange = request(page, b"token[]=hush-owner", **form)
        by_address = request(f"{page}?token=hush-owner")

        assert [answer.status for answer in (asked, wrong, strange, by_address)] == [200, 403, 200, 200]
        for answer in (asked, wrong, strange, by_address):
            assert b"<pre>" not in answer.body
            assert str(ward.patient.site).encode() not in answer.body
            assert answer.headers["Cache-Control"] == "no-store"

    def test_nobody_at_all_while_there_is_none(self, ward: Ward) -> None:
        ward.patient.write_settings(BOT_MONITOR_TOKEN="")

        for body in (b"token=", b"token=x"):
            answer = request(f"{ward.patient.url}/doctor.php", body, Content_Type="application/x-www-form-urlencoded")
            assert answer.status == 403
            assert b"BOT_MONITOR_TOKEN" in answer.body
            assert b"<form" not in answer.body


def test_the_page_is_for_the_owner_alone(ward: Ward) -> None:
    assert request(f"{ward.patient.url}/dashboard.py/doctor").status == 403


def test_there_are_fifteen_and_suexec_is_the_real_one() -> None:
    assert len(FAILURES) + 1 == 15  # and missing PHP
    assert not SUEXEC.exists() or SUEXEC.stat().st_mode & 0o4000
