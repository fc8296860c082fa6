"""What a web server shows of an installation: its scripts, and not one file more."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.places import REPOSITORY
from tests.support.site import Site, request

PY_BOT = REPOSITORY / "examples" / "bot.py"
PUBLIC = {"webhook_queue.py", "dashboard.py", "worker.py"}


def every_file(site: Site) -> list[str]:
    """Paths below scalable/, as an address has them, of a running installation with settings, data and packages."""
    files = [path.relative_to(site.plugin).as_posix() for path in site.plugin.rglob("*") if path.is_file()]
    assert {".htenv", ".htaccess", ".htdata/.ht-queue.sqlite3", "lib/queue/mysql.py", "vendor/bottle.py"} <= set(files)
    return sorted(files)


def test_every_file_but_the_web_scripts_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(PY_BOT, "sqlite", BOT_TICK_TOKEN="let-me-in")
    site.send({"update_id": 1})

    shown = {
        path for path in every_file(site)
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
