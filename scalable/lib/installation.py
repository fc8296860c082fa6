"""Where an installation is put together: what each of its processes is made of, from its settings.

What only some processes need is imported by the method that makes it, because a CGI request must import little.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.errors import BotUnsuitable
from scalable.lib.logs import event
from scalable.lib.queue.bare_rows import adopt_bare_rows
from scalable.lib.setup.config import Config, load_config
from scalable.lib.setup.storage import Storage
from scalable.lib.worker.maintenance import Maintenance

if TYPE_CHECKING:
    from scalable.lib.dashboard.request import DashboardSettings
    from scalable.lib.ingest.poller import Poller
    from scalable.lib.ingest.pool_gateway import Gateway
    from scalable.lib.ingest.update_gateway import UpdateGateway
    from scalable.lib.ingest.wsgi import Wsgi
    from scalable.lib.pool.bot_hold import BotHold
    from scalable.lib.pool.command import InventedToken
    from scalable.lib.pool.drain_starter import DrainStarter
    from scalable.lib.pool.parts import PoolParts
    from scalable.lib.pool.web_server import WebServer
    from scalable.lib.pool.webhook_admin import WebhookAdmin
    from scalable.lib.runners.bot_secret import BotSecret
    from scalable.lib.runners.process_reaper import ProcessReaper
    from scalable.lib.runners.runner import Runner
    from scalable.lib.setup.checks import CheckReport
    from scalable.lib.telegram.bot_api import BotApi
    from scalable.lib.worker.reply_sender import ReplySender
    from scalable.lib.worker.run_log import RunLogs

log = logging.getLogger(__name__)
# For all but long requests.
API_SECONDS = 10.0


def open_installation(environment: Mapping[str, str]) -> Installation:
    """The installation that `environment` and the settings file describe now. Raises ConfigurationError."""
    return Installation(load_config(environment))


class Installation(Storage):
    """One installation as its processes see it; nothing is opened before it is needed."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config = config

    # Web: CGI scripts, WSGI servers and the pool's own server

    def create_webhook(self, on_enqueued: Callable[[], None], start_drain: Optional[Callable[[], None]]) -> Wsgi:
        """The webhook as a WSGI application."""
        from scalable.lib.ingest.webhook_app import create_webhook_app

        return create_webhook_app(
            self.own_queue,
            self.config.webhook_secret,
            self.config.queue_order,
            on_enqueued,
            start_drain,
            on_address=lambda url: self._note_address(request=url),
        )

    def cache_settings(self, seen: str) -> None:
        """Let the next CGI process insert directly, as long as its fingerprint is `seen`. Never raises."""
        from scalable.lib.ingest.fast_cgi.cached_settings import CachedSettings, store_cached_settings

        config, folder, insert = self.config, self.data_folder, self.queue().prepared_insert()
        if not seen or insert is None or config.webhook_starts_drain:  # a direct insert starts no worker
            return
        cached = CachedSettings(
            config.webhook_secret, config.queue_order, config.log_level, str(folder.notification_socket), insert
        )
        try:
            store_cached_settings(str(folder.path), seen, cached)
        except OSError as error:  # without it the next process does all the work, as this one did
            log.warning(event("webhook stays slower, no note was left for it", folder=folder.path, cause=error))

    def start_drain(self, before: Callable[[], None] = lambda: None) -> Optional[Callable[[], None]]:
        """What calls `before` and starts a drain; None unless BOT_WORKER_KICK is set."""
        return self.drain_starter().start_drain_after(before) if self.config.webhook_starts_drain else None

    def drain_starter(self) -> DrainStarter:
        """What starts a worker for some seconds from a web request, or from such a worker itself."""
        from scalable.lib.pool.drain_starter import DrainPlaces, DrainStarter

        folder, script = self.data_folder, self.config.scalable_folder / "worker.py"
        places = DrainPlaces(script, folder.pool_lock, folder.drain_lock, folder.drain_log)
        return DrainStarter(places, self.config.environment)

    def create_tick(self) -> Wsgi:
        """The WSGI application behind the address of worker.py."""
        from scalable.lib.pool.tick_app import create_tick_app

        return create_tick_app(self.config.tick_token, self.drain_starter(), self.queue)

    def create_dashboard(self) -> Wsgi:
        """The dashboard as a WSGI application."""
        from scalable.lib.dashboard.app import create_dashboard_app

        folder = self.data_folder
        return create_dashboard_app(
            self.queue, folder.secret, folder.login_attempts, self.dashboard_settings(), folder.notify_pool
        )

    def dashboard_settings(self) -> DashboardSettings:
        """What these settings say about the dashboard."""
        from scalable.lib.dashboard.request import DashboardSettings

        config = self.config
        return DashboardSettings(
            config.monitor_token or self.data_folder.monitor_token(),
            config.monitor_read_token,
            config.monitor_limit,
            config.monitor_mask,
            config.queue_order,
            self.bot_api if config.bot_token else None,
            config.webhook_secret,
            self.run_checks,
            self.secret_of_bot,
            lambda: forgotten.updates if (forgotten := self.left_behind()) is not None else 0,
        )

    def run_checks(self, server: str, way: str) -> CheckReport:
        """All checks, with the facts of a web request; see CheckContext."""
        from scalable.lib.setup.checks import CheckContext, run_checks
        from scalable.lib.setup.settings_check import WEB

        return run_checks(self.config, CheckContext(WEB, asks_webhook=True, server=server, way=way))

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

    # Workers

    def check_bot(self, may_be_held: bool = False) -> None:
        """Raises BotMissing or ConfigurationError when a worker that started now could not run the bot.

        `may_be_held`: not BotUnsuitable, for a pool that holds its updates then.
        """
        from scalable.lib.runners.choose import checked

        with contextlib.suppress(*[BotUnsuitable] if may_be_held else []):
            checked(self.create_runner())

    def bot_hold(self) -> BotHold:
        """What says whether workers may be started, by the settings and the bot as they are when it is asked."""
        from scalable.lib.pool.bot_hold import BotHold
        from scalable.lib.runners.choose import decided
        from scalable.lib.runners.php.find_php import forget_php
        from scalable.lib.runners.php.php_ini import forget_settings

        def check(anew: bool) -> None:
            if anew:
                forget_php()
                forget_settings()
            now = load_config(self.config.environment, self.config.scalable_folder)
            decided(now.bot, own_address=self.own_address, environment=now.environment)

        return BotHold(self.queue(), self._place, check)

    def own_address(self) -> str:
        """The bot's own address, where Telegram brought updates before it brought them here; empty: not known."""
        from scalable.lib.setup.addresses import own_address

        return own_address(self.config, self)

    @property
    def _place(self) -> str:
        return f"{self.config.scalable_folder} on {socket.gethostname()}"

    def create_runner(self, reaper: Optional[ProcessReaper] = None) -> Runner:
        """What runs the bot; `reaper` ends its processes when this one is killed."""
        from scalable.lib.runners.choose import create_runner

        return create_runner(self.config.bot, self.config.environment, reaper, self.own_address)

    def reply_sender(self) -> ReplySender:
        """What sends the bot's HTTP answers to Telegram. Raises ConfigurationError for a wrong BOT_TOKEN or address."""
        from scalable.lib.worker.reply_sender import ReplySender

        return ReplySender(self.bot_api() if self.config.bot_token else None, performs_any=self.config.reply_any)

    def maintenance(self) -> Maintenance:
        """The periodic work on the queue, with the ages of these settings."""
        ages = self.config.keep_done_seconds, self.config.keep_failed_seconds
        queue, order = self.queue(), self.config.queue_order

        def adopt_bare() -> int:
            return adopt_bare_rows(queue.table, order)

        return Maintenance(
            queue,
            *ages,
            remember_address=self.remember_address,
            run_logs=self.run_logs(),
            adopt_bare=adopt_bare,
        )

    def run_logs(self) -> RunLogs:
        """Where the workers of this installation note on this machine what they run."""
        from scalable.lib.worker.run_log import RunLogs

        return RunLogs(self.data_folder.path)

    def remember_address(self) -> None:
        """Note for the runners of this machine where the webhook is and was. Raises DatabaseUnavailable."""
        from scalable.lib.queue.views.webhook_info import read_webhook

        info = read_webhook(self.queue().notes.read())
        if info is not None:
            self._note_address(webhook=info.url, before=info.before)

    def _note_address(self, **urls: str) -> None:
        try:
            self.data_folder.remember_address(**urls)
        except OSError as error:
            log.warning(event("the webhook's address was not noted", folder=self.data_folder.path, cause=error))

    def pool_parts(self, leader_checks: Sequence[Callable[[], None]] = ()) -> PoolParts:
        """What a pool or a worker is made of; a pool gives it `leader_checks`. Raises DatabaseUnavailable, and
        ConfigurationError where the table is that of another bot."""
        from scalable.lib.pool.parts import PoolParts

        config = self.config
        return PoolParts(
            self.own_queue(),
            self.maintenance(),
            self.create_runner,
            self.reply_sender,
            self.data_folder.open_notifications,
            config.worker_pool_size,
            config.worker_slots,
            config.bot.is_strict,
            config.worker_sleep_seconds,
            config.bot.timeout_seconds,
            str(config.scalable_folder / "worker.py"),
            self.data_folder.finishing_lock,
            self.bot_hold(),
            self.run_logs(),
            tuple(leader_checks),
        )

    # The pool

    def tell_what_is_left_behind(self) -> None:
        """A line of the log, when updates wait where nobody looks any more."""
        forgotten = self.left_behind()
        if forgotten is not None:
            log.warning(event("updates left behind", count=forgotten.updates, cause=forgotten.text))

    def tell_who_reads_the_settings(self) -> None:
        """A line of the log, when others may read or write the settings file, or could open the data before."""
        from scalable.lib.setup.finding import Verdict
        from scalable.lib.setup.machine_check import check_what_was_open
        from scalable.lib.setup.settings_check import check_settings_file

        found = check_settings_file(self.config.settings_file)
        if found.verdict is not Verdict.OK:
            log.warning(event("settings file is open to others", seen=found.seen, remedy=found.remedy))
        for found in check_what_was_open(self.data_folder):
            log.warning(event("data was open to others", seen=found.seen, remedy=found.remedy))

    def invented_token(self) -> Optional[InventedToken]:
        """The dashboard's password where BOT_MONITOR_TOKEN is empty, for who starts the pool's own server; else None.

        Raises ConfigurationError when it cannot be kept.
        """
        from scalable.lib.pool.command import InventedToken

        if self.config.monitor_token:
            return None
        folder = self.data_folder
        return InventedToken(folder.monitor_token(invent=True), folder.monitor_token_file)

    def web_server(self, listen: str) -> WebServer:
        """Webhook, dashboard and tick beside the pool, at HOST:PORT or unix:PATH. Raises ConfigurationError."""
        from scalable.lib.ingest.batch_receiver import BatchReceiver
        from scalable.lib.pool.web_server import WebServer

        prefix, config = "/scalable", self.config
        webhook = f"{prefix}/webhook_queue.py"
        receiver = BatchReceiver(
            webhook, self.own_queue, config.webhook_secret, config.queue_order, self.data_folder.notify_pool
        )
        return WebServer(self.create_site(prefix), listen, receiver)

    def open_gateways(self) -> list[Gateway | UpdateGateway]:
        """What answers the requests that scripts of this machine hand over, from now on; without what cannot be opened.

        The one for updates alone comes second: its clients find the other when it declines.
        """
        from scalable.lib.ingest.batch_receiver import BatchReceiver
        from scalable.lib.ingest.pool_gateway import open_gateway, opened_or_none
        from scalable.lib.ingest.settings_match import SettingsMatch
        from scalable.lib.ingest.update_gateway import UpdateGateway

        config, folder = self.config, self.data_folder

        def read_site(environment: Mapping[str, str], scalable_folder: Path) -> tuple[Path, object]:
            asked = load_config(environment, _same_or(config.scalable_folder, scalable_folder))
            return asked.settings_file, asked.site_settings()

        scripts = lru_cache(maxsize=None)(self.create_scripts)
        match = SettingsMatch(read_site, config.site_settings(), scripts)
        receiver = BatchReceiver("", self.own_queue, config.webhook_secret, config.queue_order, folder.notify_pool)
        opened = (
            open_gateway(folder.path, match),
            opened_or_none(
                lambda: UpdateGateway(folder.path, receiver, match.are_same, config.webhook_secret), folder.path
            ),
        )
        return [gateway for gateway in opened if gateway is not None]

    def leader_checks(self) -> tuple[Callable[[], None], ...]:
        """What one pool of all does every minute: ask Telegram where the webhook is, and tell the owner of a change.

        Nothing without BOT_TOKEN; nobody is told without BOT_ALERT_CHAT_ID.
        """
        config, webhook = self.config, self.webhook_admin()
        if webhook is None:
            return ()
        if not config.alert_chat_id:
            return (webhook.refresh_if_old,)
        from scalable.lib.pool.alerts import Alerts

        return (
            webhook.refresh_if_old,
            Alerts(self.queue(), self.bot_api(), config.alert_chat_id, self._place).check,
        )

    # Commands in a shell

    def webhook_admin(self) -> Optional[WebhookAdmin]:
        """What asks Telegram about the webhook and sets it; None without BOT_TOKEN."""
        if not self.config.bot_token:
            return None
        from scalable.lib.pool.webhook_admin import WebhookAdmin

        return WebhookAdmin(self.queue(), self.bot_api, self.config.webhook_secret, self.secret_of_bot)

    def secret_of_bot(self) -> BotSecret:
        """Which secret token the bot itself expects of Telegram."""
        from scalable.lib.runners.bot_secret import secret_of

        return secret_of(self.config.bot)

    def poller(self) -> Poller:
        """What fetches updates without a webhook."""
        from scalable.lib.ingest.poller import Poller

        return Poller(self.own_queue(), self.bot_api, self.config.queue_order, self.data_folder.notify_pool)

    def bot_api(self, timeout_seconds: float = API_SECONDS) -> BotApi:
        """The Bot API, each call of at most so many seconds. Raises ConfigurationError; BOT_TOKEN must be set."""
        from scalable.lib.telegram.bot_api import BotApi

        return BotApi(self.config.bot_token, self.config.bot_api_url, timeout_seconds)


def _same_or(own: Path, other: Path) -> Path:
    """`own` where `other` is the same folder by another name: PHP names it without its links."""
    with contextlib.suppress(OSError):
        if own.samefile(other):
            return own
    return other
