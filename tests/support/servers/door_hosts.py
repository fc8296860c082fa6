"""Hosts that are asked for the doors in PHP alone: Apache with php-cgi or PHP-FPM, nginx with PHP-FPM."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.generators.visitor import Visitor
from tests.support.need import need
from tests.support.places import REPOSITORY, private_root
from tests.support.servers import nginx as nginx_server
from tests.support.servers.apache import MODULES_FOLDER, WEB_USER, apache_available
from tests.support.servers.children import Child
from tests.support.servers.nginx import nginx_available, start_nginx
from tests.support.servers.php_fpm import NAME_WITH_PDO, php_fpm_available, start_php_fpm
from tests.support.servers.site import Answer, Site, request, wait_until

EXAMPLE = REPOSITORY / "examples" / "hosting" / "nginx-php.conf"
KINDS = ("apache-cgi", "apache-fpm", "nginx-fpm")
SECRET, OWNER, TICK = "secret-of-the-webhook", "secret-of-the-owner", "secret-of-the-tick"
# Of Apache: the scripts whose names match `{files}` go to PHP-FPM.
THROUGH_FPM = """
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_fcgi_module {modules}/mod_proxy_fcgi.so
<FilesMatch "{files}">
    SetHandler "proxy:unix:{socket}|fcgi://localhost"
</FilesMatch>
"""


@dataclass
class DoorHost:
    """An installation at `url`, whose scripts in Python nobody asks for."""

    url: str
    site: Site

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.site.plugin / ".htdata"

    def send(self, update: object, secret: str = SECRET, **headers: str) -> Answer:
        """Deliver one update as Telegram does."""
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        headers = {"Content_Type": "application/json", "X_Telegram_Bot_Api_Secret_Token": secret, **headers}
        return request(f"{self.url}/webhook_queue.php", body, **headers)

    def owner(self) -> Visitor:
        """Its owner, who has logged in."""
        return Visitor(f"{self.url}/dashboard.php").log_in(OWNER)

    def start_pool(self, **settings: str) -> Child:
        """A pool, with both of its sockets."""
        pool = self.site.start_pool(**settings)
        wait_until((self.data / ".ht-updates.sock").exists, self.site.logs, 30)
        wait_until((self.data / ".ht-gateway.sock").exists, self.site.logs, 30)
        return pool

    def forbid_python(self) -> None:
        """Webhook and dashboard in Python are not there any more to be started for a request."""
        for name in ("webhook_queue.py", "dashboard.py"):  # the pool starts the third
            (self.site.plugin / name).rename(self.site.plugin / f"away-{name}")

    def allow_python(self) -> None:
        """The scripts are back."""
        for path in self.site.plugin.glob("away-*"):
            path.rename(path.with_name(path.name.removeprefix("away-")))


@contextmanager
def door_host(kind: str, folder: Path, bot: Path, pool: str = "", **settings: str) -> Iterator[DoorHost]:
    """A host of this kind; `pool` are further lines of its PHP-FPM."""
    need(apache_available(with_php=True))
    settings = {
        "BOT_WEBHOOK_SECRET": SECRET,
        "BOT_MONITOR_TOKEN": OWNER,
        "BOT_TICK_TOKEN": TICK,
        "BOT_WORKER_SLEEP": "0.1",
        **settings,
    }
    with ExitStack() as stack:
        if kind == "apache-cgi":
            site = Site(folder, bot, settings, handler_php="cgi")
            stack.callback(site.stop)
            yield DoorHost(f"{site.apache.url}/scalable", site)
            return
        socket = stack.enter_context(_fpm(folder, pool))
        apache = (
            THROUGH_FPM.format(modules=MODULES_FOLDER, files="[.]php$", socket=socket) if kind == "apache-fpm" else ""
        )
        site = Site(folder, bot, settings, extra_config=apache)
        stack.callback(site.stop)
        url = site.apache.url if kind == "apache-fpm" else stack.enter_context(_nginx(folder, site, socket))
        yield DoorHost(f"{url}/scalable", site)


@contextmanager
def _fpm(folder: Path, pool: str) -> Iterator[Path]:
    need(php_fpm_available(name=NAME_WITH_PDO))
    as_web_user = f"user = {WEB_USER}\ngroup = {WEB_USER}\nlisten.owner = {WEB_USER}\nlisten.group = {WEB_USER}"
    lines = (as_web_user if os.geteuid() == 0 else "") + f"\n{pool}"
    fpm = start_php_fpm(folder, children=4, pool=lines, name=NAME_WITH_PDO)
    fpm.socket.parent.chmod(0o711)
    yield fpm.socket
    fpm.stop()


@contextmanager
def _nginx(folder: Path, site: Site, socket: Path) -> Iterator[str]:
    need(nginx_available())
    block = EXAMPLE.read_text().replace("/run/php/php-fpm.sock", str(socket))
    shipped = private_root(nginx_server.NAME) / "etc" / "nginx" / "fastcgi_params"
    nginx = start_nginx(folder / "nginx", root=site.root, block=block.replace("fastcgi_params;", f"{shipped};"))
    yield nginx.url
    nginx.stop()
