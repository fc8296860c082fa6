"""The settings of one installation, checked, as one frozen value.

The environment wins over the settings file, the file over the defaults. Importing this reads nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.queue.dialects.address import DatabaseAddress, MySqlAddress, SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.choose import BotSettings, is_address, split_query
from scalable.lib.runners.php.public_address import ADDRESS_NOTE
from scalable.lib.setup.settings import Reading, read_settings, unknown_names
from scalable.lib.setup.settings_file import read_settings_file
from scalable.lib.setup.settings_rules import disagreements, doubtful_settings
from scalable.lib.setup.settings_table import SETTINGS

SCALABLE_FOLDER = Path(os.path.abspath(__file__)).parents[2]


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
    reply_any: bool
    alert_chat_id: str
    worker_pool_size: int
    worker_slots: Optional[int]
    worker_sleep_seconds: float
    webhook_starts_drain: bool
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
    log_bounds: tuple[int, int]
    environment: Mapping[str, str] = field(repr=False)
    readings: tuple[Reading, ...] = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)

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
            self.webhook_starts_drain,
            self.tick_token,
        )


def load_config(environment: Mapping[str, str], scalable_folder: Path = SCALABLE_FOLDER) -> Config:
    """The Config for `environment` and the settings file that it, or the default, names.

    Raises ConfigurationError with one line for every wrong value, all of them at once.
    """
    settings_file = settings_path(environment, scalable_folder)
    file_values = _read_file(settings_file, environment.get("BOT_CONFIG", "").strip())
    readings, value = _readings(environment, file_values)
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
        reply_any=value["BOT_REPLY_ANY"] == "1",
        alert_chat_id=value["BOT_ALERT_CHAT_ID"],
        worker_pool_size=value["BOT_WORKER_POOL_SIZE"],
        worker_slots=value["BOT_WORKER_SLOTS"],
        worker_sleep_seconds=value["BOT_WORKER_SLEEP"],
        webhook_starts_drain=value["BOT_WORKER_KICK"] == "1",
        tick_token=value["BOT_TICK_TOKEN"],
        retry_policy=_retry_policy(value),
        keep_done_seconds=value["BOT_KEEP_DONE_HOURS"] * 3600,
        keep_failed_seconds=value["BOT_KEEP_FAILED_DAYS"] * 86400,
        webhook_secret=value["BOT_WEBHOOK_SECRET"],
        monitor_token=value["BOT_MONITOR_TOKEN"],
        monitor_read_token=value["BOT_MONITOR_READ_TOKEN"],
        monitor_mask=value["BOT_MONITOR_MASK"],
        monitor_limit=value["BOT_MONITOR_LIMIT"],
        log_level=value["BOT_LOG_LEVEL"],
        log_bounds=(value["BOT_LOG_MAX_MB"] * 1_000_000, value["BOT_LOG_FILES"]),
        environment=environment,
        readings=tuple(readings.values()),
        warnings=(*unknown_names(SETTINGS, environment, file_values), *doubtful_settings(readings)),
    )


def settings_path(environment: Mapping[str, str], scalable_folder: Path = SCALABLE_FOLDER) -> Path:
    """Where the settings file is, or would be."""
    return _absolute(scalable_folder, environment.get("BOT_CONFIG", "").strip() or ".htenv")


def _read_file(path: Path, named: str) -> dict[str, str]:
    """Its names and values; none when it is missing and was not `named` by BOT_CONFIG."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if named:
            raise ConfigurationError(
                f"BOT_CONFIG={named!r} (environment): expected a settings file, but there is none at {str(path)!r}"
            ) from error
        return {}
    except OSError:
        pass  # reading it raises the error
    return read_settings_file(path)


def _readings(
    environment: Mapping[str, str], file_values: Mapping[str, str]
) -> tuple[dict[str, Reading], dict[str, Any]]:
    """Every setting as it was read, and its value alone."""
    readings, problems = read_settings(SETTINGS, environment, file_values)
    problems += disagreements(readings, {**file_values, **environment})
    if problems:
        raise ConfigurationError(*problems)
    return readings, {name: reading.value for name, reading in readings.items()}


def _retry_policy(value: Mapping[str, Any]) -> RetryPolicy:
    attempts, base, longest = (value[f"BOT_JOB_{name}"] for name in ("MAX_ATTEMPTS", "RETRY_BASE", "RETRY_MAX"))
    return RetryPolicy(attempts, base, longest, value["BOT_BREAKER"] == "1")


def _database_address(value: Mapping[str, Any], data_dir: Path) -> DatabaseAddress:
    if value["BOT_DB_HOST"] is None:
        return SqliteAddress(data_dir / ".ht-queue.sqlite3")
    host, port, socket = value["BOT_DB_HOST"]
    account = (value["BOT_DB_NAME"], value["BOT_DB_USER"], value["BOT_DB_PASS"])
    return MySqlAddress(host, port, socket, *account, value["BOT_DB_SERVER_USER"])


def _bot_settings(scalable_folder: Path, value: Mapping[str, Any], data_dir: Path) -> BotSettings:
    path, query = split_query(value["BOT_LEGACY_PATH"])
    return BotSettings(
        target=path if is_address(path) else str(_absolute(scalable_folder, path)),
        mode=value["BOT_LEGACY_MODE"],
        timeout_seconds=value["BOT_LEGACY_TIMEOUT"],
        php_binary=value["BOT_PHP_BINARY"],
        fastcgi_socket=value["BOT_FASTCGI_SOCKET"],
        secret=value["BOT_WEBHOOK_SECRET"],
        socket_folder=data_dir,
        background_seconds=value["BOT_LEGACY_BACKGROUND_SECONDS"],
        is_strict=value["BOT_LEGACY_STRICT"] == "1",
        query=query,
        address_note=data_dir / ADDRESS_NOTE,
        webhook_script=scalable_folder / "webhook_queue.py",
        variables=tuple(re.split("[ ,]+", value["BOT_LEGACY_ENV"])),
    )


def _absolute(scalable_folder: Path, path: str) -> Path:
    return Path(os.path.normpath(scalable_folder / path))
