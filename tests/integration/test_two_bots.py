"""Two installations with different bots that were given the same table by mistake: the second is refused everywhere."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.conftest import database_settings
from tests.support.places import REPOSITORY
from tests.support.servers.databases import Servers
from tests.support.servers.site import Site

PY_BOT = REPOSITORY / "examples" / "bot.py"
TOKEN_A, TOKEN_B = "111:not-a-secret-of-a", "222:not-a-secret-of-b"


def test_the_second_one_neither_stores_nor_runs_anything_and_names_both(
    make_site: Callable[..., Site], servers: Servers
) -> None:
    """F31: by every way in."""
    shared = database_settings(servers, "mariadb-10.11")
    a = make_site(PY_BOT, "sqlite", BOT_TOKEN=TOKEN_A, **shared)
    b = make_site(PY_BOT, "sqlite", BOT_TOKEN=TOKEN_B, **shared)
    assert [a.send({"update_id": number}).status for number in (1, 2)] == [200, 200]

    assert [b.send({"update_id": number}).status for number in (3, 4)] == [503, 503]
    for command in (("worker_pool.py",), ("worker_pool.py", "--cron"), ("worker.py", "--drain"), ("config.py",)):
        finished = b.run(*command)
        said = finished.stdout + finished.stderr
        assert finished.returncode == 2, finished
        assert f"bot 111 ({a.plugin} on " in said
        assert f"bot 222 ({b.plugin} on " in said
        assert "not-a-secret" not in said
    assert a.run("dashboard.py", "--json").stdout.count('"status": "pending"') == 2
    assert a.send({"update_id": 5}).status == 200
    assert "ok       bot of table: bot 111" in a.run("config.py").stdout


def test_the_owner_may_put_one_in_the_place_of_the_other(make_site: Callable[..., Site], servers: Servers) -> None:
    """F31: of the kind, on purpose."""
    shared = database_settings(servers, "mariadb-10.11")
    a = make_site(PY_BOT, "sqlite", BOT_TOKEN=TOKEN_A, **shared)
    b = make_site(PY_BOT, "sqlite", BOT_TOKEN=TOKEN_B, **shared)
    assert a.send({"update_id": 1}).status == 200
    assert b.send({"update_id": 2}).status == 503

    replaced = b.run("config.py", "--replace-bot")

    assert "ok       bot of table: bot 222" in replaced.stdout
    assert b.send({"update_id": 2}).status == 200
    assert a.run("worker.py", "--drain").returncode == 2


def test_without_a_token_it_is_a_warning_and_works(make_site: Callable[..., Site], servers: Servers) -> None:
    """F31: of the kind, where it cannot be told."""
    shared = database_settings(servers, "mariadb-10.11")
    a, b = make_site(PY_BOT, "sqlite", **shared), make_site(PY_BOT, "sqlite", **shared)
    assert a.send({"update_id": 1}).status == 200

    checked = b.run("config.py")

    assert f"warning  bot of table: table 'bot_jobs' was used by the bot of {a.plugin} on " in checked.stdout
    assert b.send({"update_id": 2}).status == 200
