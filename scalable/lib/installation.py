"""Where an installation is put together: what each process of it is made of, from its settings.

What only some processes need is imported by the method that makes it: a webhook under CGI pays for nothing else.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.logs import event
from scalable.lib.setup.config import Config, load_config
from scalable.lib.setup.storage import Storage
from scalable.lib.worker.housekeeping import Housekeeping

if TYPE_CHECKING:
    from scalable.lib.dashboard.request import DashboardSettings
    from scalable.lib.ingest.poller import Poller
    from scalable.lib.ingest.pool_gateway import Gateway
    from scalable.lib.ingest.wsgi import Wsgi
    from scalable.lib.pool.drain_starter import DrainStarter
    from scalable.lib.pool.web_server import WebServer
    from scalable.lib.pool.webhook_admin import WebhookAdmin
    from scalable.lib.pool.worker_parts import WorkerParts
    from scalable.lib.setup.checks import CheckReport
    from scalable.lib.worker.reply_sender import ReplySender

log = logging.getLogger(__name__)


class Installation(Storage):
    """One installation as its processes see it; nothing is opened before it is needed."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config

    def housekeeping(self) -> Housekeeping:
        """What is done for the queue now and then, with the ages of these settings."""
        return Housekeeping(self.queue(), self.config.keep_done_seconds, self.config.keep_failed_seconds)

    def check_bot(self) -> None:
        """Raises BotMissing or ConfigurationError when a worker that started now could not run the bot."""
        from scalable.lib.runners.choose import checked, create_runner

        checked(create_runner(self.config.bot, self.config.environment))

    def worker_parts(self) -> WorkerParts:
        """What the workers of one process are made of."""
        from scalable.lib.pool.worker_parts import WorkerParts
        from scalable.lib.runners.choose import create_runner

        return WorkerParts(
            self.queue(),
            lambda reaper: create_runner(self.config.bot, self.config.environment, reaper),
            self.reply_sender,
            self.housekeeping(),
            self.config.worker_sleep_seconds,
            self.alert(),
        )

    def reply_sender(self) -> ReplySender:
        """What sends the answers of the bot. Raises ConfigurationError for a BOT_TOKEN or BOT_API_URL that is none."""
        from scalable.lib.worker.reply_sender import ReplySender

        return ReplySender(self.config.bot_api() if self.config.bot_token else None)

    def drain_starter(self) -> DrainStarter:
        """What starts a worker for some seconds from a web request, or from such a worker itself."""
        from scalable.lib.pool.drain_starter import DrainPlaces, DrainStarter

        folder, script = self.data_folder, self.config.scalable_folder / "worker.py"
        places = DrainPlaces(script, folder.pool_lock, folder.drain_lock, folder.drain_log)
        return DrainStarter(places, self.config.environment)

    def start_drain(self, before: Callable[[], None] = lambda: None) -> Optional[Callable[[], None]]:
        """What has the queue drained soon, `before` first, when BOT_WORKER_KICK asks for it; else None."""
        return self.drain_starter().start_drain_after(before) if self.config.worker_kick else None

    def create_tick(self) -> Wsgi:
        """The WSGI application behind the address of worker.py."""
        from scalable.lib.pool.tick_app import create_tick_app

        return create_tick_app(self.config.tick_token, self.drain_starter().start, self.queue)

    def create_webhook(self, on_enqueued: Callable[[], None], start_drain: Optional[Callable[[], None]]) -> Wsgi:
        """The webhook as a WSGI application."""
        from scalable.lib.ingest.webhook_app import create_webhook_app

        return create_webhook_app(
            self.queue, self.config.webhook_secret, self.config.queue_order, on_enqueued, start_drain
        )

    def create_dashboard(self) -> Wsgi:
        """The dashboard as a WSGI application."""
        from scalable.lib.dashboard.app import create_dashboard_app

        folder = self.data_folder
        return create_dashboard_app(
            self.queue, folder.secret, folder.login_attempts, self.dashboard_settings(), folder.notify_pool
        )

    def create_scripts(self) -> dict[str, Wsgi]:
        """Webhook, dashboard and tick by the names their scripts have."""
        return {
            "webhook_queue.py": self.create_webhook(self.data_folder.notify_pool, self.start_drain()),
            "worker.py": self.create_tick(),
            "dashboard.py": self.create_dashboard(),
        }

    def create_site(self, prefix: str = "") -> Wsgi:
        """The same as one WSGI application below `prefix`."""
        from scalable.lib.ingest.wsgi import mount

        return mount(self.create_scripts(), prefix)

    def web_server(self, listen: str) -> WebServer:
        """Webhook, dashboard and tick beside the pool, at `listen`, HOST:PORT. Raises ConfigurationError."""
        from scalable.lib.ingest.batch_receiver import BatchReceiver
        from scalable.lib.pool.web_server import WebServer

        prefix, config = "/scalable", self.config
        webhook = f"{prefix}/webhook_queue.py"
        receiver = BatchReceiver(
            webhook, self.queue, config.webhook_secret, config.queue_order, self.data_folder.notify_pool
        )
        return WebServer(self.create_site(prefix), listen, receiver)

    def cache_settings(self, seen: str) -> None:
        """Let the next CGI process insert directly, as long as its fingerprint is `seen`. Never raises."""
        from scalable.lib.ingest.fast_cgi.cached_settings import CachedSettings, store_cached_settings

        config, folder, insert = self.config, self.data_folder, self.queue().prepared_insert()
        if not seen or insert is None or config.worker_kick:  # a direct insert starts no worker
            return
        cached = CachedSettings(
            config.webhook_secret, config.queue_order, config.log_level, str(folder.notification_socket), insert
        )
        try:
            store_cached_settings(str(folder.path), seen, cached)
        except OSError as error:  # without it the next process does all the work, as this one did
            log.warning(event("webhook stays slower, no note was left for it", folder=folder.path, cause=error))

    def open_gateway(self) -> Optional[Gateway]:
        """What answers the CGI requests of this installation from now on; None when there can be none."""
        from scalable.lib.ingest.pool_gateway import open_gateway
        from scalable.lib.ingest.settings_match import SettingsMatch

        def read_site(environment: Mapping[str, str], scalable_folder: Path) -> tuple[Path, object]:
            config = load_config(environment, scalable_folder)
            return config.settings_file, config.site_settings()

        scripts = lru_cache(maxsize=None)(self.create_scripts)
        match = SettingsMatch(read_site, self.config.site_settings(), scripts)
        return open_gateway(self.data_folder.path, match)

    def dashboard_settings(self) -> DashboardSettings:
        """What these settings say about the dashboard."""
        from scalable.lib.dashboard.request import DashboardSettings

        config = self.config
        return DashboardSettings(
            config.monitor_token,
            config.monitor_read_token,
            config.monitor_limit,
            config.monitor_mask,
            config.queue_order,
            config.bot_api if config.bot_token else None,
            config.webhook_secret,
            self.run_checks,
        )

    def run_checks(self, url: str, server: str, way: str) -> CheckReport:
        """The checks, as the dashboard asks for them."""
        from scalable.lib.setup.checks import Viewpoint, run_checks

        return run_checks(self.config, Viewpoint("web", url, server, way))

    def webhook_admin(self) -> Optional[WebhookAdmin]:
        """What asks Telegram about the webhook and sets it; None without BOT_TOKEN."""
        if not self.config.bot_token:
            return None
        from scalable.lib.pool.webhook_admin import WebhookAdmin

        return WebhookAdmin(self.queue(), self.config.bot_api, self.config.webhook_secret)

    def alert(self) -> Optional[Callable[[], None]]:
        """What tells the owner how the queue is, each time it is called; None when nobody is to be told."""
        config, webhook = self.config, self.webhook_admin()
        if webhook is None or not config.alert_chat_id:
            return None
        from scalable.lib.pool.alerts import Alerts

        place = f"{config.scalable_folder} on {socket.gethostname()}"
        return Alerts(self.queue(), config.bot_api(10.0), config.alert_chat_id, place, webhook.refresh_if_old).check

    def poller(self) -> Poller:
        """What fetches updates without a webhook."""
        from scalable.lib.ingest.poller import Poller

        return Poller(self.queue(), self.config.bot_api, self.config.queue_order, self.data_folder.notify_pool)
