"""Prepares an installation as far as a program can, and tells the rest; tells how to remove one. Both may be repeated.

Removing is only told: the data are the owner's.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, ExitCode, SchemaMissing
from scalable.lib.pool.webhook_admin import WebhookAdmin
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.setup import checks as doctor
from scalable.lib.setup.addresses import UNKNOWN, bot_address, webhook_address
from scalable.lib.setup.bot_check import better_mode
from scalable.lib.setup.config import SCALABLE_FOLDER, Config, absolute_path, load_config
from scalable.lib.setup.finding import Finding, Verdict
from scalable.lib.setup.script_files import prepare_scripts
from scalable.lib.setup.settings_writer import EXAMPLE, write_settings
from scalable.lib.setup.storage import Storage

_COMPANIONS = ("", "_meta", "_workers", "_minutes")


@dataclass(frozen=True)
class Place:
    """`folder` is scalable/; `settings_file` may not be there yet; `load` reads the settings as they are then."""

    folder: Path
    settings_file: Path
    environment: Mapping[str, str] = field(repr=False)
    load: Callable[[], Config]


def place_of(environment: Mapping[str, str]) -> Place:
    """The place this program stands in."""
    settings_file = absolute_path(SCALABLE_FOLDER, environment.get("BOT_CONFIG", "").strip() or ".htenv")
    return Place(SCALABLE_FOLDER, settings_file, environment, lambda: load_config(environment))


def run_init(arguments: Sequence[str], place: Place) -> int:
    """Settings file, first lines, modes and tables; then the check, and what is left for the owner to do."""
    argparse.ArgumentParser(
        prog="config.py init",
        description="Makes the settings file with fresh passwords, puts first lines and modes in order, makes the "
        "tables, and shows the commands for this host. What is set already stays; it may be repeated.",
    ).parse_args(arguments)
    _refuse_strangers(place.folder)
    findings = [*_write_settings(place), *prepare_scripts(place.folder)]
    try:
        config = place.load()
    except ConfigurationError as error:
        return doctor.conclude([*findings, *(Finding(Verdict.ERROR, "settings", each) for each in error.problems)])
    exit_code = doctor.conclude([*findings, *doctor.examine(config)])
    print("\n" + "\n".join(_next_steps(place, config)))
    return exit_code


def _refuse_strangers(folder: Path) -> None:
    """What another user made, the web server's programs could not read."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        seen = f"{folder} belongs to user {owner}, and this is user {os.geteuid()}"
        raise ConfigurationError(f"{seen}: run it as the owner")


def _write_settings(place: Place) -> list[Finding]:
    is_new = not place.settings_file.exists()
    mode = better_mode(_bot_by_default(place)) if is_new else None
    more = {"BOT_LEGACY_MODE": mode} if mode else {}
    written = write_settings(place.settings_file, place.folder / EXAMPLE, place.environment, more)
    findings = [Finding(Verdict.OK, "settings", f"{name} written to {place.settings_file}") for name in written]
    if "BOT_WEBHOOK_SECRET" in written:
        seen = "BOT_WEBHOOK_SECRET is new: updates without it are refused, and wait at Telegram, until the webhook is"
        findings.append(Finding(Verdict.WARNING, "settings", f"{seen} set (again) with the command below"))
    return findings


def _bot_by_default(place: Place) -> Any:
    """The bot as the environment and the defaults name it. BOT_CONFIG may name the file that is about to be made."""
    return place.load().bot if not place.environment.get("BOT_CONFIG") else _NoBot


class _NoBot:
    """Nothing can be said about a bot nobody named yet."""

    file = None


def _next_steps(place: Place, config: Config) -> list[str]:
    seen = _ask_telegram(config)
    webhook = webhook_address(place.folder, config.bot.file, seen.url)
    back = bot_address(place.folder, config.bot.file, seen.url, seen.before)
    steps = [
        "Cron, one of these three. Where programs may stay (starts the pool when none runs):",
        f"  {cron_line(place, '--ensure')}",
        "Where they may not (works for a minute, then ends):",
        f"  {cron_line(place, '--cron')}",
        "Where they are ended within that minute:",
        f"  {cron_line(place, '--drain --max-seconds 50', 'worker.py')}",
        "Webhook:",
        f"  {command(place, 'webhook_queue.py', 'set', webhook)}",
        "Back to the bot alone:",
        f"  {command(place, 'webhook_queue.py', 'rollback', back)}",
    ]
    if not config.bot_token:
        steps.append(f"The last two need BOT_TOKEN in {place.settings_file}.")
    if seen.trouble:
        steps.append(f"Telegram could not be asked where the webhook is now: {seen.trouble}")
    if UNKNOWN in webhook + back:
        steps.append(f"Put your own domain in the place of {UNKNOWN}.")
    return steps


def _ask_telegram(config: Config) -> WebhookInfo:
    try:
        queue = Storage(config).queue()
        if not config.bot_token:
            return WebhookInfo()
        return WebhookAdmin(queue, config.bot_api, config.webhook_secret).look_up()
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing) as error:
        return WebhookInfo(trouble=str(error))


def command(place: Place, script: str, *arguments: str) -> str:
    """The command of a script for a shell, with full paths."""
    return shlex.join([sys.executable, str(place.folder / script), *arguments])


def cron_line(place: Place, options: str, script: str = "worker_pool.py") -> str:
    """The line of a crontab; cron takes a % for the end of the command (crontab(5))."""
    log = shlex.quote(str(_home(place.folder) / "scalable.log"))
    line = f"{command(place, script)} {options} >> {log} 2>&1"
    return "* * * * * " + line.replace("%", r"\%")


def _home(folder: Path) -> Path:
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a user of the kernel's only, as containers have them
        return folder.parent.parent


def run_uninstall(arguments: Sequence[str], place: Place) -> int:
    """Tell what to do, in its order, to be without this installation. Changes nothing."""
    argparse.ArgumentParser(
        prog="config.py uninstall", description="Tells what to remove, and in which order. Removes nothing."
    ).parse_args(arguments)
    config = place.load()
    seen = _ask_telegram(config)
    back = bot_address(place.folder, config.bot.file, seen.url, seen.before)
    queue = _queue(config)
    steps = [
        f"Point the webhook at the bot: {command(place, 'webhook_queue.py', 'rollback', back)}",
        f"Let the workers finish. {_left(queue)}",
        f"End the pool: {command(place, 'worker_pool.py', '--stop')}",
        f"Take the lines with {place.folder} out of the crontab (crontab -e, or the panel).",
        f"When you need no update any more, delete {', '.join(_data(place, config, queue))}.",
    ]
    print("\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))
    print("\nNothing was removed.")
    return ExitCode.OK


def _queue(config: Config) -> Optional[DatabaseQueue]:
    try:
        return Storage(config).queue()
    except ConfigurationError:
        return None


def _left(queue: Optional[DatabaseQueue]) -> str:
    try:
        counts = queue.counts() if queue else None
    except (DatabaseUnavailable, SchemaMissing):
        counts = None
    if counts is None:
        return "The database cannot be asked just now what is left."
    return f"Left now: {counts.pending} pending, {counts.processing} processing, {counts.failed} failed."


def _data(place: Place, config: Config, queue: Optional[DatabaseQueue]) -> list[str]:
    """What holds data or code of ours, for a person to delete."""
    things = [f"the folder {place.folder}"]
    if place.folder not in (config.data_dir, *config.data_dir.parents):
        things.append(f"the folder {config.data_dir}")
    if place.folder not in place.settings_file.parents:
        things.append(f"the file {place.settings_file}")
    if queue is not None and not isinstance(config.database, SqliteAddress):
        tables = " ".join(f"{config.queue_table}{suffix}" for suffix in _COMPANIONS)
        things.append(f"and the tables {tables} of {queue.database.place}")
    return things
