"""Prepares an installation as far as a program can, and prints what is left; prints how to remove one. Safe to repeat.

Nothing is removed here, because the data are the owner's.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError, DatabaseUnavailable, ExitCode, SchemaMissing
from scalable.lib.pool.webhook_admin import WebhookAdmin
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.setup.addresses import UNKNOWN, bot_address, holds_key, webhook_address
from scalable.lib.setup.checks import find_all, print_findings
from scalable.lib.setup.config import SCALABLE_FOLDER, Config, load_config, settings_path
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.script_repair import repair_scripts
from scalable.lib.setup.settings_file import read_settings_file, write_settings_file
from scalable.lib.setup.storage import Storage
from scalable.lib.setup.webhook_secret import NAME, Secret, ask_at_terminal, secret_to_write
from scalable.lib.telegram.bot_api import BotApi

_TABLE_SUFFIXES = ("", "_meta", "_workers", "_minutes")


def run_init(arguments: Sequence[str], environment: Mapping[str, str], folder: Path = SCALABLE_FOLDER) -> int:
    """Settings file, first lines, modes and tables; then the checks, and what is left for the owner to do.

    Prints all of it; the exit code is that of the checks. Raises ConfigurationError for another user than the owner of
    `folder`, which is scalable/, and when the settings file cannot be read or written.
    """
    argparse.ArgumentParser(
        prog="config.py init",
        description="Makes the settings file with fresh passwords, puts first lines and modes in order, makes the "
        "tables, and shows the commands for this host. What is set already stays; it may be repeated.",
    ).parse_args(arguments)
    _check_owner(folder)
    findings = [*_write_settings(environment, folder), *repair_scripts(folder)]
    try:
        config = load_config(environment, folder)
    except ConfigurationError as problem:
        return print_findings([*findings, *(error("settings", line) for line in problem.problems)])
    exit_code = print_findings([*findings, *find_all(config)])
    print("\n" + "\n".join(_next_steps(config)))
    return exit_code


def _check_owner(folder: Path) -> None:
    """The web server's programs could not read what another user made."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        seen = f"{folder} belongs to user {owner}, and this is user {os.geteuid()}"
        raise ConfigurationError(f"{seen}: run it as the owner")


def _write_settings(environment: Mapping[str, str], folder: Path) -> list[Finding]:
    path = settings_path(environment, folder)
    present = read_settings_file(path) if path.exists() else {}
    is_open = NAME not in present and not environment.get(NAME)
    secret = secret_to_write(environment, folder, ask_at_terminal()) if is_open else Secret(None)
    given = {} if secret.token == "" else {NAME: secret.token}
    written = write_settings_file(path, folder / ".htenv.example", environment, given)
    findings = [ok("settings", f"{name} written to {path}") for name in written]
    if NAME in written and not given:
        seen = f"{NAME} is new: updates without it are refused, and wait at Telegram, until the webhook is"
        findings.append(warning("settings", f"{seen} set (again) with the command below"))
    return [*findings, *secret.findings]


def _next_steps(config: Config) -> list[str]:
    folder, seen = config.scalable_folder, _ask_telegram(config)
    webhook = webhook_address(folder, config.bot.file, seen.url)
    back = bot_address(folder, config.bot.file, seen.url, seen.before)
    steps = [
        "Cron, one of these three. Where programs may stay (starts the pool when none runs):",
        f"  {cron_line(folder, '--ensure')}",
        "Where they may not (works for a minute, then ends):",
        f"  {cron_line(folder, '--cron')}",
        "Where they are ended within that minute:",
        f"  {cron_line(folder, '--drain --max-seconds 50', 'worker.py')}",
        "Webhook:",
        f"  {webhook_command(folder, 'set', webhook)}",
        "Back to the bot alone:",
        f"  {webhook_command(folder, 'rollback', back)}",
    ]
    if not config.bot_token:
        steps.append(f"The last two need BOT_TOKEN in {config.settings_file}.")
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
        make_api = partial(BotApi, config.bot_token, config.bot_api_url)
        return WebhookAdmin(queue, make_api, config.webhook_secret).look_up()
    except (ConfigurationError, DatabaseUnavailable, SchemaMissing) as problem:
        return WebhookInfo(trouble=str(problem))


def command(folder: Path, script: str, *arguments: str) -> str:
    """The command for a shell that runs a script of `folder`, scalable/, with full paths."""
    return shlex.join([sys.executable, str(folder / script), *arguments])


def webhook_command(folder: Path, verb: str, url: str) -> str:
    """The command that points the webhook there. One that asks for the address, where a key may be in that: every user
    of the machine can read a command."""
    if not holds_key(url):
        return command(folder, "webhook_queue.py", verb, url)
    asks = command(folder, "webhook_queue.py", verb, "-")
    return f"{asks}  # asks for the address; webhook_queue.py info shows it"


def cron_line(folder: Path, options: str, script: str = "worker_pool.py") -> str:
    """The line of a crontab; cron takes a % for the end of the command (crontab(5))."""
    log = shlex.quote(str(_home(folder) / "scalable.log"))
    line = f"{command(folder, script)} {options} >> {log} 2>&1"
    return "* * * * * " + line.replace("%", r"\%")


def _home(folder: Path) -> Path:
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:  # a user the system has no entry for, as in containers
        return folder.parent.parent


def run_uninstall(arguments: Sequence[str], environment: Mapping[str, str], folder: Path = SCALABLE_FOLDER) -> int:
    """Print the steps, in order, that remove this installation; 0. Changes nothing. Raises ConfigurationError."""
    argparse.ArgumentParser(
        prog="config.py uninstall", description="Tells what to remove, and in which order. Removes nothing."
    ).parse_args(arguments)
    config = load_config(environment, folder)
    seen = _ask_telegram(config)
    back = bot_address(folder, config.bot.file, seen.url, seen.before)
    queue = _queue(config)
    steps = [
        f"Point the webhook at the bot: {webhook_command(folder, 'rollback', back)}",
        f"Let the workers finish. {_jobs_left(queue)}",
        f"End the pool: {command(folder, 'worker_pool.py', '--stop')}",
        f"Take the lines with {folder} out of the crontab (crontab -e, or the panel).",
        f"When you need no update any more, delete {', '.join(_places_of_data(config, queue))}.",
    ]
    print("\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))
    print("\nNothing was removed.")
    return ExitCode.OK


def _queue(config: Config) -> Optional[DatabaseQueue]:
    try:
        return Storage(config).queue()
    except ConfigurationError:
        return None


def _jobs_left(queue: Optional[DatabaseQueue]) -> str:
    try:
        counts = queue.counts() if queue else None
    except (DatabaseUnavailable, SchemaMissing):
        counts = None
    if counts is None:
        return "The database cannot be asked just now what is left."
    return f"Left now: {counts.pending} pending, {counts.processing} processing, {counts.failed} failed."


def _places_of_data(config: Config, queue: Optional[DatabaseQueue]) -> list[str]:
    folder = config.scalable_folder
    places = [f"the folder {folder}"]
    if folder not in (config.data_dir, *config.data_dir.parents):
        places.append(f"the folder {config.data_dir}")
    if folder not in config.settings_file.parents:
        places.append(f"the file {config.settings_file}")
    if queue is not None and not isinstance(config.database, SqliteAddress):
        tables = " ".join(f"{config.queue_table}{suffix}" for suffix in _TABLE_SUFFIXES)
        places.append(f"and the tables {tables} of {queue.database.place}")
    return places
