"""All checks of an installation, in a shell or for the dashboard's page; each says what to put right."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalable.lib.errors import ConfigurationError, ExitCode
from scalable.lib.queue.bot_identity import replace_bot
from scalable.lib.queue.sqlite_space import compact
from scalable.lib.setup.addresses import own_address, telegrams_folder
from scalable.lib.setup.bot_check import check_bot
from scalable.lib.setup.config import SCALABLE_FOLDER, Config, load_config
from scalable.lib.setup.database_check import check_database
from scalable.lib.setup.files import user_name
from scalable.lib.setup.finding import Finding, Verdict, conclusion, error, ok, warning
from scalable.lib.setup.machine_check import check_data_folder, check_limits
from scalable.lib.setup.packages import check_packages, find_packages, missing_package
from scalable.lib.setup.place_check import check_places
from scalable.lib.setup.public_check import Public, check_public, folder_url
from scalable.lib.setup.release_check import check_files
from scalable.lib.setup.script_check import check_scripts
from scalable.lib.setup.settings_check import SHELL, check_environment, check_other_side, check_settings_file
from scalable.lib.setup.storage import Storage
from scalable.lib.setup.work_check import check_work


@dataclass(frozen=True)
class CheckContext:
    """Where the checks run: `side` is settings_check's SHELL or WEB, `url` the address of scalable/ its owner gave.

    `asks_webhook`: without one, ask where Telegram has the webhook. Never where a request says: the secret is sent
    there. `server` is what the web server calls itself, `way` how it runs this process.
    """

    side: str = SHELL
    url: str = ""
    asks_webhook: bool = False
    server: str = ""
    way: str = ""


@dataclass(frozen=True)
class CheckReport:
    """Everything that was found, for a page; `text` is what may be copied into a question."""

    findings: Sequence[Finding]
    settings: Sequence[str]

    @property
    def text(self) -> str:
        """As the shell prints it."""
        lines = [*self.settings, "", *(finding.line for finding in self.findings), "", conclusion(self.findings)]
        return "\n".join(lines)


def run_check_command(
    arguments: Sequence[str], environment: Mapping[str, str], scalable_folder: Path = SCALABLE_FOLDER
) -> int:
    """Print settings and findings; 0 when everything needed is right, 4 when the bot is wrong, 2 when more is.

    Creates the data folder, and without --dry-run the tables, when they are missing: the same the pool would do.
    """
    options = _parse(arguments)
    try:
        config = load_config(environment, scalable_folder)
    except ConfigurationError as problem:
        findings = _check_files_of(scalable_folder, CheckContext())
        return print_findings([*findings, *(error("settings", line) for line in problem.problems)])
    except ModuleNotFoundError as problem:  # python-dotenv, which reads the settings file
        missing_package(problem)  # raises the error again for a module that is not ours
        return print_findings(_check_files_of(scalable_folder, CheckContext()))
    print("\n".join(settings_lines(config)) + "\n")
    storage = Storage(config)
    if options.replace_bot:
        replace_bot(storage.queue().table, storage.bot_identity())
    if options.compact:
        compact(storage.queue().database)
    asks_webhook = options.url is True  # no address was given with it
    context = CheckContext(url="" if asks_webhook else options.url or "", asks_webhook=asks_webhook)
    return print_findings(find_all(config, context, options.dry_run))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="config.py",
        description="Shows the settings and checks this installation. Exit code 0, 4 when only "
        "the bot cannot be run, or 2.",
        epilog="config.py init makes the settings file and puts modes and first lines in order; config.py uninstall "
        "tells what to remove.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be done to the tables, say of the PHP version"
    )
    parser.add_argument(
        "--url",
        type=_url,
        nargs="?",
        const=True,
        metavar="https://example.com/scalable",
        help="the public address of this folder: ask there, too, whether the scripts run, whether the secret arrives, "
        "and whether a private file is shown; without an address, where Telegram has the webhook",
    )
    parser.add_argument(
        "--replace-bot",
        action="store_true",
        help="the queue's table was for another bot, and is for this one from now on",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="give the room that deleted jobs took in the SQLite file back to the disk",
    )
    return parser.parse_args(arguments)


def _url(text: str) -> str:
    try:
        return folder_url(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {problem}") from problem


def print_findings(findings: Sequence[Finding]) -> int:
    """Print them; the exit code they mean: that of the pool, when only the bot or its PHP is."""
    print("\n".join([*(finding.line for finding in findings), "", conclusion(findings)]))
    wrong = {finding.subject for finding in findings if finding.verdict is Verdict.ERROR}
    if wrong and wrong <= {"bot", "php"}:
        return ExitCode.BOT_MISSING
    return ExitCode.BAD_CONFIGURATION if wrong else ExitCode.OK


def run_checks(config: Config, context: CheckContext) -> CheckReport:
    """Every finding, for a page."""
    return CheckReport(find_all(config, context), settings_lines(config))


def find_all(config: Config, context: CheckContext = CheckContext(), dry_run: bool = False) -> list[Finding]:
    """Every finding about the installation `config` describes; `dry_run`: the tables are read, not changed."""
    findings = _check_files_of(config.scalable_folder, context)
    findings += check_places(config.bot.file, config.scalable_folder, [config.settings_file, config.data_dir])
    findings += [warning("settings", line) for line in config.warnings]
    findings.append(check_settings_file(config.settings_file))
    findings += check_environment(config.readings, config.scalable_folder, context.side)
    storage = Storage(config)
    findings += check_bot(config.bot, bool(config.bot_token), config.environment, lambda: own_address(config, storage))
    findings.append(check_limits(config.worker_pool_size))
    folder = check_data_folder(storage.data_folder)
    findings += folder
    if folder[0].verdict is not Verdict.ERROR:
        if not dry_run:
            findings += _compare_sides(config, storage, context.side)
        findings += check_database(storage, config.database, config.worker_pool_size, dry_run)
        findings += check_work(storage, config.alert_chat_id)
    return [*findings, *_check_public(config, storage, context)]


def _check_public(config: Config, storage: Storage, context: CheckContext) -> list[Finding]:
    url = context.url or (telegrams_folder(config, storage) if context.asks_webhook else "")
    if url:
        return check_public(Public(url, config.scalable_folder, config.data_dir, config.webhook_secret))
    if not context.asks_webhook:
        return []
    seen = "nobody asked from outside: Telegram has not said yet that the webhook is here"
    remedy = "run config.py --url https://YOUR-DOMAIN/scalable, or set BOT_TOKEN and point the webhook here"
    return [warning("address", seen, remedy)]


def settings_lines(config: Config) -> list[str]:
    """A line for every setting: name, value, source. Secrets only say whether they are set."""
    rows = [(reading.setting.name, reading.shown(), reading.source) for reading in config.readings]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:<{name_width}}  {value:<{value_width}}  {source}" for name, value, source in rows]


def _check_files_of(folder: Path, context: CheckContext) -> list[Finding]:
    """The findings that need no settings."""
    program, user = sys.executable or "a program without a name", user_name(os.geteuid())
    seen = f"{sys.version.split()[0]} at {program}, as user {user}"
    if context.server:
        seen += f", under {context.server} ({context.way})"
    packages = check_packages(find_packages(folder / "vendor"))
    return [ok("python", seen), *packages, *check_files(folder), *check_scripts(folder)]


def _compare_sides(config: Config, storage: Storage, side: str) -> list[Finding]:
    try:
        return check_other_side(config.readings, config.data_dir, storage.data_folder.secret(), side)
    except (ConfigurationError, OSError) as problem:
        return [error("data folder", f"its notes cannot be kept: {problem}")]
