"""Whole installations on real parts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.servers.apache import MPM_OF_CGI_MODULE, apache_available
from tests.support.servers.databases import Servers
from tests.support.servers.galera import GaleraCluster, galera_available, running_cluster
from tests.support.servers.idle_installation import Ticks
from tests.support.servers.passenger import Passenger, passenger_available
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm
from tests.support.servers.site import SYSTEM_PYTHON, Site
from tests.support.servers.web_hosts import OPEN, WebHost, wsgi_host

# Short delays, so that a test of retries takes seconds; the documented ones are tested with an injected clock.
QUICK = {"BOT_JOB_RETRY_BASE": "1", "BOT_JOB_RETRY_MAX": "2", "BOT_WORKER_SLEEP": "0.1"}


def database_settings(servers: Servers, name: str) -> dict[str, str]:
    """The settings that put an installation's queue on a fresh database; none for SQLite."""
    if name == "sqlite":
        return {}
    address = servers.fresh_database(name)
    return {
        "BOT_DB_HOST": f"127.0.0.1:{address.port}",
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }


@pytest.fixture(scope="module")
def fpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhpFpm]:
    """A PHP-FPM of its own, which notices at once that a bot was changed."""
    need(php_fpm_available())
    server = start_php_fpm(tmp_path_factory.mktemp("fpm"), pool="php_admin_value[opcache.revalidate_freq] = 0")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GaleraCluster]:
    """A Galera cluster of three nodes. A test that cuts it down brings it back."""
    need(galera_available())
    with running_cluster(tmp_path_factory.mktemp("galera")) as cluster:
        yield cluster


@pytest.fixture
def make_site(servers: Servers) -> Iterator[Callable[..., Site]]:
    """Makes installations: make_site(bot, database, NAME=value …); `extra` is for Apache, {site} its folder in it.

    `web_server`: "cgid" or "cgi", Apache's two ways to run a CGI script, or "passenger".
    Their folder is not tmp_path: pytest closes that to other users whenever another run of it begins.
    """
    need(apache_available(with_php=True))
    sites: list[Site] = []
    passengers: list[Passenger] = []
    home = Path(tempfile.mkdtemp(prefix="hosts-"))
    home.chmod(0o711)

    def make(
        bot: Path,
        database: str,
        allow_override: str = "All",
        web_server: str = "cgid",
        extra: str = "",
        **settings: str,
    ) -> Site:
        folder = home / f"host{len(sites)}"
        folder.mkdir()
        settings = {**QUICK, **database_settings(servers, database), **settings}
        module, more = (web_server, "") if web_server in MPM_OF_CGI_MODULE else ("cgid", under_passenger(folder))
        more += extra.replace("{site}", str(folder / "site"))
        sites.append(Site(folder, bot, settings, allow_override, cgi_module=module, extra_config=more))
        return sites[-1]

    def under_passenger(folder: Path) -> str:
        need(passenger_available())
        passenger = Passenger(folder / "passenger", folder / "site" / "scalable", SYSTEM_PYTHON)
        passengers.append(passenger)
        return passenger.configuration

    yield make
    for site in sites:
        site.stop()
    for passenger in passengers:
        passenger.wait_for_end()
    shutil.rmtree(home)


@pytest.fixture
def make_wsgi_host(tmp_path: Path, servers: Servers) -> Iterator[Callable[..., tuple[WebHost, Ticks]]]:
    """Makes hosts with a WSGI server and no pool, the queue at hand: make_wsgi_host(code, database, NAME=value …)."""
    with ExitStack() as stack:

        def make(code: str, database: str = "sqlite", **settings: str) -> tuple[WebHost, Ticks]:
            bot = tmp_path / "bot.py"
            bot.write_text(code)
            settings = {**OPEN, **database_settings(servers, database), **settings}
            ticks = stack.enter_context(Ticks(tmp_path, bot, **settings))
            host = wsgi_host(ticks.environment, tmp_path, ticks.data_folder.path)
            stack.callback(host.wait_until_nothing_is_left)
            stack.callback(host.let_go)
            stack.callback(host.server.close)
            return host, ticks

        yield make


@pytest.fixture(params=["wsgi", "cgid", "cgi", "passenger"])
def make_web_host(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_wsgi_host: Callable[..., tuple[WebHost, Ticks]],
    make_site: Callable[..., Site],
) -> Iterator[Callable[..., WebHost]]:
    """The same on every kind of web server."""
    with ExitStack() as stack:

        def make(code: str, database: str = "sqlite", **settings: str) -> WebHost:
            if request.param == "wsgi":
                return make_wsgi_host(code, database, **settings)[0]
            bot = tmp_path / "bot.py"
            bot.write_text(code)
            site = make_site(bot, database, web_server=request.param, **{**OPEN, **settings})
            process = site.apache.process
            host = WebHost(f"{site.apache.url}/scalable", site.root, site.plugin / ".htdata", process, site.logs)
            stack.callback(host.wait_until_nothing_is_left)
            stack.callback(host.let_go)
            return host

        yield make
