"""How long the webhook takes on each kind of host, against PHP that stores the same row on the same Apache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from benchmarks.figures import percentile, ratios, spread, table, verdict
from benchmarks.pool_server import Side, compare, processor_table, wrk_available
from benchmarks.server import Server, make_queue
from benchmarks.web_load import latencies, rate
from scalable.lib.queue.database_queue import open_database
from tests.support.servers.apache import MODULES_FOLDER, WEB_USER, apache_available
from tests.support.servers.children import Child, accepts_connections, free_port, wait_until_ready
from tests.support.servers.door_hosts import THROUGH_FPM
from tests.support.servers.passenger import Passenger, passenger_available
from tests.support.servers.php_fpm import php_fpm_available, start_php_fpm
from tests.support.servers.site import SYSTEM_PYTHON, Site, wait_until

HERE = Path(__file__).parent
TABLES = ("bot_jobs", "bot_jobs_workers", "bot_jobs_minutes", "php_jobs")
ROUNDS, CGI_REQUESTS, REQUESTS, CONNECTIONS = 10, 20, 400, 8
# Keeps the one worker busy, so that only the webhook is measured and not what workers do meanwhile.
SLEEPING_BOT = "import time\ntime.sleep(3600)\n"
QUICK_LINE = "#!/usr/bin/python3 -S"
# webhook_queue.php: no Python behind the web server.
DOOR, DOOR_REQUESTS = "the door in PHP, a pool runs", 200
EMPTY_APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "13")])
    return [b'{"ok": true}\\n']
"""
APACHE = """
{through_fpm}
{passenger}
# So that neither application's processes end to make place for the other's.
PassengerMaxPoolSize 8
PassengerMinInstances 4
Alias "/empty" "{empty}/public"
<Directory "{empty}/public">
    Require all granted
</Directory>
<Location "/empty">
    PassengerBaseURI /empty
    PassengerAppRoot "{empty}"
    PassengerAppType wsgi
    PassengerStartupFile passenger_wsgi.py
    PassengerPython {python}
</Location>
"""


def run(server: Server, say: Callable[[str], None]) -> str:
    """Markdown: each kind of host, its peer, and the ratio of the two, measured by turns."""
    needed = (apache_available(with_php=True), passenger_available(), php_fpm_available(mysql=True), wrk_available())
    for reason in needed:
        if reason:
            return f"Not measured: {reason}"
    server.drop(*TABLES)
    rows, ids = [], count(1)
    with _site(server) as (site, fpm):
        php_cgi, php_fpm = (f"{site.apache.url}/{name}.php" for name in ("cgi", "fpm"))
        cgi, wsgi, empty = site.webhook_url, f"{site.apache.url}/wsgi/webhook_queue.py", f"{site.apache.url}/empty"
        for url in (cgi, php_cgi, php_fpm, wsgi, empty):
            latencies(url, ids, 3)  # the first requests start what stays
        rows.append(_slower("CGI, no pool", "php-cgi", cgi, php_cgi, ids, CGI_REQUESTS, 1.5, say))
        rows.append(_faster("Passenger", "an empty WSGI app there", wsgi, empty, ids, 0.8, say))
        with _pool(site) as (own, pool):
            rows.append(_slower("CGI, a pool runs", "php-cgi", cgi, php_cgi, ids, CGI_REQUESTS, 0.5, say))
            _start_sooner(site)
            rows.append(_slower(f"the same, `{QUICK_LINE}`", "php-cgi", cgi, php_cgi, ids, CGI_REQUESTS, 0.5, say))
            door = f"{site.apache.url}/scalable/webhook_queue.php"
            latencies(door, ids, 3)
            rows.append(_slower(DOOR, "php-fpm", door, php_fpm, ids, DOOR_REQUESTS, 0.8, say))
            rows.append(_faster(DOOR, "php-fpm", door, php_fpm, ids, 1.2, say))
            ours = Side(own, (pool,), "bot_jobs")
            theirs = Side(php_fpm, (site.apache.process.pid, fpm), "php_jobs")
            rates, processor = compare(server, ours, theirs, say)
    heads = ["webhook", "connections", "figure", "peer", "its figure", "ratio", "goal"]
    return f"{table(heads, rows + rates)}\n\n{processor_table(processor)}"


def _start_sooner(site: Site) -> None:
    """Give the script the first line that `config.py init` gives it: no `env`, no `site`."""
    script = site.plugin / "webhook_queue.py"
    script.write_text(f"{QUICK_LINE}\n{script.read_text().partition(chr(10))[2]}")


def _slower(
    name: str,
    peer: str,
    ours: str,
    theirs: str,
    ids: Iterator[int],
    requests: int,
    goal: float,
    say: Callable[[str], None],
) -> list[str]:
    """A row of medians in milliseconds, one request at a time."""
    pairs = [[percentile(latencies(url, ids, requests), 50) * 1000 for url in (ours, theirs)] for _ in range(ROUNDS)]
    return _row(name, peer, pairs, "ms", 1, f"≤ {goal}", lambda ratio: verdict(ratio, at_most=goal), say)


def _faster(
    name: str, peer: str, ours: str, theirs: str, ids: Iterator[int], goal: float, say: Callable[[str], None]
) -> list[str]:
    """A row of requests per second."""
    pairs = [[rate(url, ids, REQUESTS, CONNECTIONS) for url in (ours, theirs)] for _ in range(ROUNDS)]
    return _row(name, peer, pairs, "/s", CONNECTIONS, f"≥ {goal}", lambda ratio: verdict(ratio, at_least=goal), say)


def _row(
    name: str,
    peer: str,
    pairs: list[list[float]],
    unit: str,
    connections: int,
    goal: str,
    judge: Callable[[float], str],
    say: Callable[[str], None],
) -> list[str]:
    ours, theirs = zip(*pairs)
    ratio = ratios(ours, theirs)
    digits = 1 if unit == "ms" else 0
    say(f"webhook: {name}, {connections} connections: {spread(ours).median:.1f} {unit}, ratio {ratio.text()}")
    figures = [spread(values).text(digits, f" {unit}") for values in (ours, theirs)]
    return [name, str(connections), figures[0], peer, figures[1], ratio.text(), f"{goal}: {judge(ratio.median)}"]


@contextmanager
def _site(server: Server) -> Iterator[tuple[Site, int]]:
    """One Apache with all of them, and the tables; the process of PHP-FPM."""
    address = server.address
    socket = Path(str(address.socket))
    socket.parent.chmod(0o711)  # for the web user
    queue = make_queue(open_database(address), "bot_jobs")
    queue.close()
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE php_jobs LIKE bot_jobs")
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="bench-webhook-"))
        stack.callback(shutil.rmtree, home)
        home.chmod(0o711)
        owner = f"listen.owner = {WEB_USER}\nlisten.group = {WEB_USER}" if os.geteuid() == 0 else ""
        fpm = start_php_fpm(home, children=CONNECTIONS, pool=owner, mysql=True)
        stack.callback(fpm.stop)
        fpm.socket.parent.chmod(0o711)
        passenger = Passenger(home / "passenger", home / "site" / "scalable", SYSTEM_PYTHON, "/wsgi")
        stack.callback(passenger.wait_for_end)
        bot = home / "bot.py"
        bot.write_text(SLEEPING_BOT)
        settings = {
            **server.settings,
            "BOT_LEGACY_TIMEOUT": "3600",
            "BOT_WORKER_POOL_SIZE": "1",
            "BOT_LOG_LEVEL": "WARNING",
        }
        files = "^(fpm|webhook_queue)[.]php$"
        extra = APACHE.format(
            through_fpm=THROUGH_FPM.format(modules=MODULES_FOLDER, files=files, socket=fpm.socket),
            passenger=passenger.configuration,
            empty=_empty_app(home),
            python=SYSTEM_PYTHON,
        )
        site = Site(home, bot, settings, handler_php="cgi", extra_config=extra)
        stack.callback(site.stop)
        _add_peers(site, socket, server)
        yield site, fpm.process.pid


def _empty_app(home: Path) -> Path:
    folder = home / "empty"
    (folder / "public").mkdir(parents=True)
    (folder / "passenger_wsgi.py").write_text(EMPTY_APP)
    return folder


def _add_peers(site: Site, socket: Path, server: Server) -> None:
    address = server.address
    for name in ("cgi.php", "fpm.php"):
        shutil.copy(HERE / "webhook.php", site.root / name)
    (site.root / ".htpeer").write_text(
        f'socket="{socket}"\ndatabase="{address.database}"\nuser="{address.user}"\npassword="{address.password}"\n'
        'table="php_jobs"\n'
    )


@contextmanager
def _pool(site: Site) -> Iterator[tuple[str, int]]:
    """A running pool with its own web server: the address of its webhook, and its process."""
    port = free_port()
    command = site.command("worker_pool.py", "--serve", f"127.0.0.1:{port}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(site.root)}
    pool = Child(command, log=site.pool_log, environment=environment, death_signal="KILL")
    pool.start()
    try:
        wait_until_ready(
            pool, lambda: accepts_connections(port), what="the pool", log=site.pool_log, timeout_seconds=20
        )
        wait_until((site.plugin / ".htdata" / ".ht-gateway.sock").exists, site.logs, 20)
        yield f"http://127.0.0.1:{port}/scalable/webhook_queue.py", pool.pid
    finally:
        pool.kill()
        pool.close()
