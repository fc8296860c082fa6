"""What a web server shows of an installation: its scripts, and not one file more."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.site import Site, request, wait_until

PY_BOT = REPOSITORY / "examples" / "bot.py"
SCRIPTS = {"webhook_queue.py", "dashboard.py", "worker.py"}
DOORS = {"webhook_queue.php", "dashboard.php", "worker.php"}
PUBLIC = {*SCRIPTS, *DOORS, "doctor.php"}
HOSTING = REPOSITORY / "examples" / "hosting"
PRIVATE_WORDS = "words-between-two-people"
# What a host that ignores .htaccess may do for scripts by itself.
EXECUTED = """
<FilesMatch "^(webhook_queue|dashboard|worker)[.]py$">
    SetHandler cgi-script
</FilesMatch>
"""
CGI_BIN = """
ScriptAlias "/cgi-bin/" "{site}/../cgi-bin/"
<Location "/cgi-bin/">
    Require all granted
</Location>
<Directory "{site}/scalable">
    AllowOverride None
    Require all denied
</Directory>
"""


def every_file(site: Site) -> list[str]:
    """Paths below scalable/, as an address has them, of a running installation with settings, data and packages."""
    files = [path.relative_to(site.plugin).as_posix() for path in site.plugin.rglob("*") if path.is_file()]
    assert {
        ".htenv",
        ".htaccess",
        ".htdata/.ht-queue.sqlite3",
        "lib/queue/dialects/mysql.py",
        "vendor/bottle.py",
    } <= set(files)
    return sorted(files)


def test_every_file_but_the_web_scripts_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", BOT_TICK_TOKEN="let-me-in")
    site.send({"update_id": 1})

    shown = {
        path
        for path in every_file(site)
        if request(f"{site.apache.url}/scalable/{path}?token=let-me-in").status not in (403, 404)
    }

    assert shown == PUBLIC
    for folder in ("", "lib/", "lib/queue/", ".htdata/", "vendor/"):
        assert request(f"{site.apache.url}/scalable/{folder}").status in (403, 404)


def test_where_htaccess_is_ignored_settings_and_data_stay_private(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", allow_override="None")
    site.run("config.py")

    private = [path for path in every_file(site) if path.rsplit("/", 1)[-1].startswith(".ht")]

    assert len(private) >= 4
    for path in private:
        assert request(f"{site.apache.url}/scalable/{path}").status == 403


def test_where_htaccess_is_ignored_no_file_of_a_running_installation_tells_a_secret(
    make_site: Callable[..., Site],
) -> None:
    """Pool, sockets, locks and notes are there; the sources may be read, and are public anyway."""
    secrets = {name: f"123456:secret_{name}-{'x' * 35}" for name in ("BOT_MONITOR_TOKEN", "BOT_TOKEN")}
    secrets["BOT_WEBHOOK_SECRET"] = "secret_of_the_webhook"
    site = make_site(PY_BOT, "mariadb-10.11", "None", extra=EXECUTED, BOT_API_URL="http://127.0.0.1:1", **secrets)
    header = {"X_Telegram_Bot_Api_Secret_Token": secrets["BOT_WEBHOOK_SECRET"]}
    for number in (1, 2):
        assert site.send({"update_id": number, "message": {"text": PRIVATE_WORDS}}, **header).status == 200, site.logs()
    site.start_pool()
    wait_until((site.plugin / ".htdata" / ".ht-gateway.sock").exists, site.logs)
    assert (site.plugin / ".htdata" / ".ht-lean").exists()
    words = [*secrets.values(), site.settings["BOT_DB_PASS"], PRIVATE_WORDS]

    for path in [path for path in site.plugin.rglob("*") if path.is_file() or path.is_socket()]:
        answer = request(f"{site.apache.url}/scalable/{path.relative_to(site.plugin)}")
        told = [word for word in words if word.encode() in answer.body]
        assert (told, path.name.startswith(".ht") and answer.status == 200) == ([], False), path


def test_a_host_that_forbids_options_takes_the_variant_without_them(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", allow_override="AuthConfig FileInfo Limit", BOT_TICK_TOKEN="let-me-in")
    assert site.send({"update_id": 1}).status == 500

    shutil.copy(HOSTING / "no-options.htaccess", site.plugin / ".htaccess")

    assert site.send({"update_id": 1}).status == 200, site.logs()
    shown = {
        path
        for path in every_file(site)
        if request(f"{site.apache.url}/scalable/{path}?token=let-me-in").status not in (403, 404)
    }
    assert shown == PUBLIC


def test_a_host_with_cgi_in_one_folder_alone_runs_the_scripts_from_there(make_site: Callable[..., Site]) -> None:
    """The folder `scalable/` is not shown at all; links lead to where the scripts are called."""
    site = make_site(PY_BOT, "sqlite", extra=CGI_BIN)
    folder = site.root.parent / "cgi-bin"
    folder.mkdir(mode=0o755)
    text = (HOSTING / "cgi-bin.sh").read_text()
    assert text.count("/home/you") == 1
    for name in SCRIPTS:
        (folder / name).write_text(text.replace("/home/you", str(site.root)))
        (folder / name).chmod(0o755)

    webhook = f"{site.apache.url}/cgi-bin/webhook_queue.py"
    stored = [request(webhook, b'{"update_id": %d}' % number) for number in (1, 2)]
    page = Visitor(f"{site.apache.url}/cgi-bin/dashboard.py").log_in("let-me-in").get()

    assert [answer.status for answer in (*stored, page)] == [200, 200, 200], site.logs()
    assert b'href="/cgi-bin/dashboard.py/static/' in page.body
    assert request(f"{site.apache.url}/scalable/webhook_queue.py", b'{"update_id": 3}').status == 403


def test_where_every_script_is_run_for_anybody_none_takes_arguments_and_none_for_a_shell_runs(
    make_site: Callable[..., Site],
) -> None:
    """On a host that ignores .htaccess and runs all Python files it may: a query is arguments there (mod_cgi)."""
    every = '<FilesMatch "[.]py$">\n    SetHandler cgi-script\n</FilesMatch>'
    site = make_site(PY_BOT, "sqlite", "None", extra=every, BOT_WEBHOOK_SECRET="Telegram-knows-it")
    site.run("config.py", "init")
    pool = site.start_pool()
    wait_until((site.plugin / ".htdata" / ".ht-gateway.sock").exists, site.logs)
    before = (site.plugin / ".htenv").read_bytes()

    refused = {
        f"{script}?{query}": request(f"{site.apache.url}/scalable/{script}?{query}", body)
        for script in ("config.py", "worker_pool.py", "passenger_wsgi.py")
        for query in ("", "--stop", "init", "uninstall", "--help", "--serve+0.0.0.0:1")
        for body in (None, b"{}")
    }
    others = {
        path: request(f"{site.apache.url}/scalable/{path}?--help").status
        for path in every_file(site)
        if path.endswith(".py") and path not in SCRIPTS and "/" in path
    }

    assert {asked: answer.status for asked, answer in refused.items() if answer.status != 403} == {}, site.logs()
    assert all(b"nothing was done" in answer.body for answer in refused.values())
    assert len(others) > 100
    assert set(others.values()) == {500}  # not executable
    for script, query in (
        ("webhook_queue.py", "poll"),
        ("dashboard.py", "retry+--all-failed"),
        ("worker.py", "--help"),
    ):
        assert b"usage:" not in request(f"{site.apache.url}/scalable/{script}?{query}").body
    assert pool.is_running()
    assert site.send({"update_id": 1}, X_Telegram_Bot_Api_Secret_Token="Telegram-knows-it").status == 200, site.logs()
    assert (site.plugin / ".htenv").read_bytes() == before
