#!/usr/bin/env python3
"""The table of settings and the frozen Config made from it; run in a shell it is the doctor.

The environment wins over the settings file, the file over the defaults. Importing this reads nothing.
"""

# --- start block, the same in every entry script: finds the package `scalable` wherever this folder was put ---
import sys

if not __name__.startswith("scalable."):
    if sys.version_info < (3, 9):
        import os

        line = "Scalable mode needs Python 3.9 or newer; this is %d.%d\n" % sys.version_info[:2]
        if "GATEWAY_INTERFACE" in os.environ:
            sys.stdout.write("Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n" + line)
        sys.stderr.write("%s: %s" % (sys.executable, line))
        sys.exit(2)
    if "scalable" not in sys.modules:
        sys.modules["scalable"] = type(sys)("scalable")
        sys.modules["scalable"].__path__ = [__file__.rpartition("/")[0] or "."]
    from scalable.lib.start import start

    start(__name__, __file__)
# --- end of the start block ---
import logging
import os
import socket
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

from scalable.lib.host.data_folder import DataFolder
from scalable.lib.host.installation import Installation
from scalable.lib.host.settings_rules import disagreements, idle_settings
from scalable.lib.logs import LEVELS, event
from scalable.lib.worker.housekeeping import Housekeeping
from scalable.lib.worker.runners.choose import MODES, BotSettings, checked, create_runner
from scalable.lib.worker.runners.choose import is_address, without_password
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.address import DatabaseAddress, MySqlAddress, SqliteAddress, parse_host
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.errors import ConfigurationError
from scalable.lib.settings import Reading, Setting, matching, one_of, read_settings, read_settings_file
from scalable.lib.settings import seconds, text, unknown_names, whole_number
from scalable.lib.telegram.lanes import ORDERS

log = logging.getLogger(__name__)
SCALABLE_FOLDER = Path(os.path.abspath(__file__)).parent

SETTINGS = (
    Setting(
        "BOT_CONFIG", text, ".htenv", "The settings file, relative to `scalable/`. Read from the environment only."
    ),
    Setting(
        "BOT_DB_HOST",
        lambda value: parse_host(value) if value else None,
        "",
        "MySQL or MariaDB server: `localhost`, `host`, `host:port` or `/path/to.sock`. "
        "With no BOT_DB_* at all the queue is an SQLite file in the data folder.",
    ),
    Setting("BOT_DB_NAME", text, "", "Name of the database."),
    Setting("BOT_DB_USER", text, "", "User of the database."),
    Setting("BOT_DB_PASS", text, "", "Password of that user; write `BOT_DB_PASS=` when there is none.", secret=True),
    Setting(
        "BOT_QUEUE_TABLE",
        matching(r"[A-Za-z0-9_]{1,48}", "1 to 48 of A-Z a-z 0-9 _"),
        "bot_jobs",
        "Name of the queue's table; its companions start with the same name.",
    ),
    Setting(
        "BOT_QUEUE_ORDER",
        one_of(*ORDERS),
        "telegram",
        "What runs one after the other: `telegram`, the updates that Telegram itself sends one after the other; "
        "`chat`, everything of a chat; `none`, nothing.",
    ),
    Setting(
        "BOT_DATA_DIR",
        text,
        ".htdata",
        "Folder for the embedded database and the locks, relative to `scalable/`; private to its owner.",
    ),
    Setting(
        "BOT_LEGACY_PATH",
        text,
        "../bot.php",
        "The bot, relative to `scalable/`: a `.php` or `.py` file, an executable, a Python function such as "
        "`../bot.py:handle`, or an address such as `https://example.com/bot.php`.",
        show=without_password,
    ),
    Setting(
        "BOT_LEGACY_MODE",
        one_of(*MODES),
        "auto",
        "How the bot is run: `cli`, the update on standard input; `fastcgi` or `cgi`, a PHP bot as the web server "
        "would run it; `http`, posted to the address; `python`, the function called. `auto`: `http` for an "
        "address, `python` for a function, else `cli`.",
    ),
    Setting(
        "BOT_LEGACY_TIMEOUT", seconds(0.1, 3600), "60", "Seconds the bot may take for one update before it is stopped."
    ),
    Setting(
        "BOT_PHP_BINARY",
        text,
        "",
        "The PHP program: `php` for mode `cli`, `php-cgi` for `cgi` and `fastcgi`. Empty: searched for where "
        "hosts keep it.",
    ),
    Setting(
        "BOT_FASTCGI_SOCKET",
        text,
        "",
        "For `fastcgi`: the host's PHP-FPM, `/path/to.sock` or `host:port`. Empty: every worker keeps a php-cgi "
        "of its own.",
    ),
    Setting(
        "BOT_TOKEN",
        matching(r"([0-9]+:[A-Za-z0-9_-]+)?", "the token from @BotFather: digits, a colon, a key"),
        "",
        "The bot's token, to send what the bot answers in its HTTP response, and to show and set the webhook on "
        "the dashboard. Empty: neither is done.",
        secret=True,
    ),
    Setting(
        "BOT_API_URL",
        matching(r"https?://[^\s/?#@]+(/[\w.~/-]*)?", "an address such as https://api.telegram.org"),
        "https://api.telegram.org",
        "The Bot API server.",
    ),
    Setting(
        "BOT_ALERT_CHAT_ID",
        matching(r"(-?[0-9]{1,20}|@[A-Za-z0-9_]{4,40})?", "a chat's number or @channel"),
        "",
        "Where the bot itself writes when something goes wrong, and when it is right again; needs BOT_TOKEN.",
    ),
    Setting("BOT_WORKER_POOL_SIZE", whole_number(1, 64), "4", "Workers that run at the same time."),
    Setting("BOT_WORKER_SLEEP", seconds(0.05, 60), "1", "Seconds an idle worker waits before it looks for work again."),
    Setting(
        "BOT_WORKER_KICK",
        one_of("0", "1"),
        "0",
        "`1`: the webhook itself starts a worker for some seconds when none is at work, for a host without cron.",
    ),
    Setting(
        "BOT_TICK_TOKEN",
        matching(r"[A-Za-z0-9_-]{0,256}", "up to 256 of A-Z a-z 0-9 _ -"),
        "",
        "Password of the address `worker.py`, for a cron that can only fetch a URL. Empty: the address is closed.",
        secret=True,
    ),
    Setting("BOT_JOB_MAX_ATTEMPTS", whole_number(1, 100), "6", "How often an update is tried before it is failed."),
    Setting(
        "BOT_JOB_RETRY_BASE",
        whole_number(1, 86400),
        "5",
        "Seconds before the second attempt; the wait doubles with every further one.",
    ),
    Setting("BOT_JOB_RETRY_MAX", whole_number(1, 86400), "300", "The longest wait between two attempts, in seconds."),
    Setting(
        "BOT_KEEP_DONE_HOURS",
        whole_number(1, 87600),
        "72",
        "Hours after which done and expired updates are deleted from the queue.",
    ),
    Setting("BOT_KEEP_FAILED_DAYS", whole_number(1, 3650), "30", "Days after which failed updates are deleted."),
    Setting(
        "BOT_WEBHOOK_SECRET",
        matching(r"[A-Za-z0-9_-]{0,256}", "up to 256 of A-Z a-z 0-9 _ -"),
        "",
        "The `secret_token` you gave to setWebhook; requests without it are refused.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_TOKEN",
        text,
        "",
        "Password of the dashboard. Empty: only a browser on this machine itself sees more than the counts.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_READ_TOKEN",
        text,
        "",
        "A second password, for people who may look but not change anything.",
        secret=True,
    ),
    Setting(
        "BOT_MONITOR_MASK",
        one_of("reader", "everyone", "nobody"),
        "reader",
        "Who sees names, texts and ids of people masked: `reader`, those who came with BOT_MONITOR_READ_TOKEN; "
        "`everyone`; `nobody`.",
    ),
    Setting("BOT_MONITOR_LIMIT", whole_number(1, 1000), "100", "How many of the newest jobs the dashboard lists."),
    Setting("BOT_LOG_LEVEL", one_of(*LEVELS), "INFO", "DEBUG, INFO, WARNING or ERROR."),
)


@dataclass(frozen=True)
class Config:
    """The checked settings of one installation. Paths are absolute, times in seconds."""

    scalable_folder: Path
    settings_file: Path
    database: DatabaseAddress
    queue_table: str
    queue_order: str
    data_dir: Path
    bot: BotSettings
    bot_token: str = field(repr=False)
    bot_api_url: str
    alert_chat_id: str
    worker_pool_size: int
    worker_sleep_seconds: float
    worker_kick: bool
    tick_token: str = field(repr=False)
    retry_policy: RetryPolicy
    keep_done_seconds: int
    keep_failed_seconds: int
    webhook_secret: str = field(repr=False)
    monitor_token: str = field(repr=False)
    monitor_read_token: str = field(repr=False)
    monitor_mask: str
    monitor_limit: int
    log_level: str
    environment: Mapping[str, str] = field(repr=False)
    readings: Tuple[Reading, ...] = field(repr=False)
    warnings: Tuple[str, ...] = field(repr=False)

    def installation(self) -> Installation:
        """The data folder and the queue these settings describe; nothing is opened yet."""
        return Installation(DataFolder(self.data_dir), self.database, self.queue_table, self.retry_policy)

    def housekeeping(self, queue: DatabaseQueue) -> Housekeeping:
        """What is done for `queue` now and then, with the ages of these settings."""
        return Housekeeping(queue, self.keep_done_seconds, self.keep_failed_seconds)

    def check_bot(self, environment: Mapping[str, str]) -> None:
        """Raises BotMissing or ConfigurationError when a worker that started now could not run the bot."""
        checked(create_runner(self.bot, environment))

    def worker_parts(self, queue: DatabaseQueue) -> Any:
        """What the workers of one process are made of."""
        from scalable.lib.worker.parts import WorkerParts  # here, because only workers pay for it

        return WorkerParts(
            queue,
            lambda guard: create_runner(self.bot, self.environment, guard),
            self.reply_sender,
            self.housekeeping(queue),
            self.worker_sleep_seconds,
            self.alert(queue),
        )

    def reply_sender(self) -> Any:
        """What sends the answers of the bot. Raises ConfigurationError for a BOT_TOKEN or BOT_API_URL that is none."""
        from scalable.lib.worker.replies import ReplySender  # here, because only workers pay for it

        return ReplySender(self.bot_api() if self.bot_token else None)

    def drain_starter(self, installation: Installation) -> Any:
        """What starts a worker for some seconds from a web request, or from such a worker itself."""
        from scalable.lib.worker.starter import DrainPlaces, DrainStarter

        folder, script = installation.data_folder, self.scalable_folder / "worker.py"
        places = DrainPlaces(script, folder.pool_lock, folder.flight_lock, folder.drain_log)
        return DrainStarter(places, self.environment)

    def kick(self, installation: Installation, before: Callable[[], None] = lambda: None) -> Any:
        """What has the queue drained soon, `before` first, when BOT_WORKER_KICK asks for it; else None."""
        return self.drain_starter(installation).kick_after(before) if self.worker_kick else None

    def create_tick(self, installation: Installation) -> Any:
        """The WSGI application behind the address of worker.py."""
        from scalable.lib.web.tick_app import create_tick_app

        return create_tick_app(self.tick_token, self.drain_starter(installation).start, installation.queue)

    def create_site(self, installation: Installation, prefix: str = "") -> Any:
        """Webhook, dashboard and tick as one WSGI application below `prefix`."""
        from scalable.lib.web.site import mount  # here, because only web processes pay for the web layer

        return mount(self.create_scripts(installation), prefix)

    def create_scripts(self, installation: Installation) -> Any:
        """The same as one WSGI application for each script, by its name."""
        from scalable.lib.web.site import create_scripts

        return create_scripts(
            installation.queue,
            installation.data_folder.secret,
            webhook_secret=self.webhook_secret,
            queue_order=self.queue_order,
            dashboard=self.dashboard_settings(),
            attempts_file=installation.data_folder.login_attempts,
            announce=installation.data_folder.poke,
            kick=self.kick(installation),
            tick=self.create_tick(installation),
        )

    def leave_lean_note(self, installation: Installation, seen: str) -> None:
        """Let the next CGI process store an update the lean way, as long as its fingerprint is `seen`. Never raises."""
        from scalable.lib.web.lean_note import LeanNote, leave_note

        enqueue, folder = installation.queue().lean_enqueue(), installation.data_folder
        if not seen or enqueue is None or self.worker_kick:  # the lean way starts no worker
            return
        note = LeanNote(self.webhook_secret, self.queue_order, self.log_level, str(folder.poke_socket), enqueue)
        try:
            leave_note(str(folder.path), seen, note)
        except OSError as error:  # without it the next process does all the work, as this one did
            log.warning(event("webhook stays slower, no note was left for it", folder=folder.path, cause=error))

    def site_settings(self) -> object:
        """All that the web scripts depend on: processes that agree in this give the same answers."""
        return (
            self.database,
            self.queue_table,
            self.data_dir,
            self.retry_policy,
            self.webhook_secret,
            self.queue_order,
            self.monitor_token,
            self.monitor_read_token,
            self.monitor_limit,
            self.monitor_mask,
            self.bot_token,
            self.bot_api_url,
            self.worker_kick,
            self.tick_token,
        )

    def open_gateway(self, installation: Installation) -> Any:
        """What answers the CGI requests of this installation from now on; None when there can be none."""
        from scalable.lib.web.gateway import open_gateway
        from scalable.lib.web.same_settings import SameSettings

        scripts = lru_cache(maxsize=None)(lambda: self.create_scripts(installation))
        return open_gateway(installation.data_folder.path, SameSettings(load_config, self, scripts))

    def dashboard_settings(self) -> Any:
        """What these settings say about the dashboard."""
        from scalable.lib.web.visit import DashboardSettings

        return DashboardSettings(
            self.monitor_token,
            self.monitor_read_token,
            self.monitor_limit,
            self.monitor_mask,
            self.queue_order,
            self.bot_api if self.bot_token else None,
            self.webhook_secret,
            self.examine,
        )

    def examine(self, url: str, server: str, way: str) -> Any:
        """The doctor, as the dashboard asks for it."""
        from scalable.lib.host.doctor import Viewpoint, look_around  # here, because only its page pays for it

        return look_around(self, Viewpoint("web", url, server, way))

    def webhook_state(self, queue: DatabaseQueue) -> Any:
        """What asks Telegram about the webhook and sets it; None without BOT_TOKEN."""
        if not self.bot_token:
            return None
        from scalable.lib.web.webhook_state import WebhookState

        return WebhookState(queue, self.bot_api, self.webhook_secret)

    def alert(self, queue: DatabaseQueue) -> Optional[Callable[[], None]]:
        """What tells the owner how the queue is, each time it is called; None when nobody is to be told."""
        if not (self.bot_token and self.alert_chat_id):
            return None
        from scalable.lib.worker.alerts import Alerts

        place = "%s on %s" % (self.scalable_folder, socket.gethostname())
        ask = self.webhook_state(queue).refresh_if_old
        return Alerts(queue, self.bot_api(10.0), self.alert_chat_id, place, ask).check

    def poller(self) -> Any:
        """What fetches updates without a webhook."""
        from scalable.lib.host.poller import Poller

        installation = self.installation()
        return Poller(installation.queue(), self.bot_api, self.queue_order, installation.data_folder.poke)

    def bot_api(self, timeout_seconds: Optional[float] = None) -> Any:
        """The Bot API, each call of at most so many seconds. Raises ConfigurationError; BOT_TOKEN must be set."""
        from scalable.lib.telegram.bot_api import DEFAULT_TIMEOUT_SECONDS, BotApi

        return BotApi(self.bot_token, self.bot_api_url, timeout_seconds or DEFAULT_TIMEOUT_SECONDS)


def load_config(environment: Mapping[str, str], scalable_folder: Path = SCALABLE_FOLDER) -> Config:
    """The Config for `environment` and the settings file that it, or the default, names.

    Raises ConfigurationError with one line for every wrong value, all of them at once.
    """
    settings_file, file_values = _read_file(environment, scalable_folder)
    readings = _readings(environment, file_values)
    value = {name: reading.value for name, reading in readings.items()}
    data_dir = _absolute(scalable_folder, value["BOT_DATA_DIR"])
    return Config(
        scalable_folder=scalable_folder,
        settings_file=settings_file,
        database=_database_address(value, data_dir),
        queue_table=value["BOT_QUEUE_TABLE"],
        queue_order=value["BOT_QUEUE_ORDER"],
        data_dir=data_dir,
        bot=_bot_settings(scalable_folder, value, data_dir),
        bot_token=value["BOT_TOKEN"],
        bot_api_url=value["BOT_API_URL"],
        alert_chat_id=value["BOT_ALERT_CHAT_ID"],
        worker_pool_size=value["BOT_WORKER_POOL_SIZE"],
        worker_sleep_seconds=value["BOT_WORKER_SLEEP"],
        worker_kick=value["BOT_WORKER_KICK"] == "1",
        tick_token=value["BOT_TICK_TOKEN"],
        retry_policy=RetryPolicy(
            value["BOT_JOB_MAX_ATTEMPTS"], value["BOT_JOB_RETRY_BASE"], value["BOT_JOB_RETRY_MAX"]
        ),
        keep_done_seconds=value["BOT_KEEP_DONE_HOURS"] * 3600,
        keep_failed_seconds=value["BOT_KEEP_FAILED_DAYS"] * 86400,
        webhook_secret=value["BOT_WEBHOOK_SECRET"],
        monitor_token=value["BOT_MONITOR_TOKEN"],
        monitor_read_token=value["BOT_MONITOR_READ_TOKEN"],
        monitor_mask=value["BOT_MONITOR_MASK"],
        monitor_limit=value["BOT_MONITOR_LIMIT"],
        log_level=value["BOT_LOG_LEVEL"],
        environment=environment,
        readings=tuple(readings.values()),
        warnings=(*unknown_names(SETTINGS, environment, file_values), *idle_settings(value)),
    )


def _readings(environment: Mapping[str, str], file_values: Mapping[str, str]) -> Dict[str, Reading]:
    readings, problems = read_settings(SETTINGS, environment, file_values)
    problems += disagreements(readings, {**file_values, **environment})
    if problems:
        raise ConfigurationError(*problems)
    return readings


def _read_file(environment: Mapping[str, str], scalable_folder: Path) -> Tuple[Path, Dict[str, str]]:
    named = environment.get("BOT_CONFIG", "").strip()
    path = _absolute(scalable_folder, named or ".htenv")
    if not _is_missing(path):
        return path, read_settings_file(path)
    if named:
        raise ConfigurationError(
            "BOT_CONFIG=%r (environment): expected a settings file, but there is none at %r" % (named, str(path))
        )
    return path, {}


def _is_missing(path: Path) -> bool:
    """Whether there is no such file. Whatever else is wrong with it, trying to read it will tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return True
    except OSError:
        return False
    return False


def _bot_settings(scalable_folder: Path, value: Mapping[str, Any], data_dir: Path) -> BotSettings:
    return BotSettings(
        target=_target(scalable_folder, value["BOT_LEGACY_PATH"]),
        mode=value["BOT_LEGACY_MODE"],
        timeout_seconds=value["BOT_LEGACY_TIMEOUT"],
        php_binary=value["BOT_PHP_BINARY"],
        fastcgi_socket=value["BOT_FASTCGI_SOCKET"],
        secret=value["BOT_WEBHOOK_SECRET"],
        socket_folder=data_dir,
    )


def _target(scalable_folder: Path, path: str) -> str:
    return path if is_address(path) else str(_absolute(scalable_folder, path))


def _absolute(scalable_folder: Path, path: str) -> Path:
    return Path(os.path.normpath(scalable_folder / path))


def _database_address(value: Mapping[str, Any], data_dir: Path) -> DatabaseAddress:
    if value["BOT_DB_HOST"] is None:
        return SqliteAddress(data_dir / ".ht-queue.sqlite3")
    host, port, socket = value["BOT_DB_HOST"]
    return MySqlAddress(host, port, socket, value["BOT_DB_NAME"], value["BOT_DB_USER"], value["BOT_DB_PASS"])


def main(arguments: Sequence[str]) -> int:
    """Check the installation, prepare it (init), or tell how to remove it (uninstall); 0, or 2 for an error."""
    if arguments[:1] in (["init"], ["uninstall"]):
        from scalable.lib.host.install import Place, run_init, run_uninstall

        path = _absolute(SCALABLE_FOLDER, os.environ.get("BOT_CONFIG", "").strip() or ".htenv")
        place = Place(SCALABLE_FOLDER, path, os.environ, lambda: load_config(os.environ))
        return run_init(arguments[1:], place) if arguments[0] == "init" else run_uninstall(arguments[1:], place)
    from scalable.lib.host.doctor import run_doctor

    return run_doctor(arguments, lambda: load_config(os.environ))


if __name__ == "__main__":
    from scalable.config import main as packaged_main  # the very module everyone else imports
    from scalable.lib.host.shell import run

    run(packaged_main)
