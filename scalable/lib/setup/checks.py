"""The doctor: checks the whole installation, in a shell or for the dashboard's page, and says what to put right."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalable.lib.errors import ConfigurationError, ExitCode
from scalable.lib.setup.bot_check import check_bot
from scalable.lib.setup.config import SCALABLE_FOLDER, Config
from scalable.lib.setup.database_check import check_database
from scalable.lib.setup.finding import Finding, Verdict, conclusion, error, ok, warning
from scalable.lib.setup.machine_check import check_data_folder, check_limits
from scalable.lib.setup.packages import check_packages, find_packages, missing_package
from scalable.lib.setup.public_check import Public, check_public, folder_url
from scalable.lib.setup.release_files import check_files
from scalable.lib.setup.script_check import check_scripts
from scalable.lib.setup.settings_check import SHELL, check_environment, check_other_side, check_settings_file
from scalable.lib.setup.storage import Storage
from scalable.lib.setup.work_check import check_work


@dataclass(frozen=True)
class Viewpoint:
    """Where the doctor stands: `side` is settings_check's SHELL or WEB, `url` the address of scalable/ where known.

    `server` is what the web server calls itself, `way` how it runs this.
    """

    side: str = SHELL
    url: str = ""
    server: str = ""
    way: str = ""


@dataclass(frozen=True)
class CheckReport:
    """Everything the doctor found, for a page; `text` is what may be copied into a question."""

    findings: Sequence[Finding]
    settings: Sequence[str]

    @property
    def text(self) -> str:
        """As the shell prints it."""
        lines = [*self.settings, "", *(finding.line for finding in self.findings), "", conclusion(self.findings)]
        return "\n".join(lines)


def run_doctor(arguments: Sequence[str], load: Callable[[], Config]) -> int:
    """Print settings and findings; 0 when everything needed is right, 2 when something is wrong.

    Creates the data folder, and without --dry-run the tables, when they are missing: the same the pool would do.
    """
    options = _parse(arguments)
    try:
        config = load()
    except ConfigurationError as problem:
        return conclude([*_without_settings(), *(error("settings", line) for line in problem.problems)])
    except ModuleNotFoundError as problem:  # python-dotenv, which reads the settings file
        missing_package(problem)
        return conclude(_without_settings())
    print("\n".join(settings_lines(config)) + "\n")
    return conclude(examine(config, options.dry_run, Viewpoint(url=options.url or "")))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="config.py",
        description="Shows the settings and checks this installation. Exit code 0 or 2.",
        epilog="config.py init makes the settings file and puts modes and first lines in order; config.py uninstall "
        "tells what to remove.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be done to the tables, say of the PHP version"
    )
    parser.add_argument(
        "--url",
        type=_url,
        metavar="https://example.com/scalable",
        help="the public address of this folder: ask there, too, whether the scripts run, whether the secret arrives, "
        "and whether a private file is shown",
    )
    return parser.parse_args(arguments)


def _url(text: str) -> str:
    try:
        return folder_url(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {problem}") from problem


def conclude(findings: Sequence[Finding]) -> int:
    """Print them; the exit code they mean."""
    print("\n".join([*(finding.line for finding in findings), "", conclusion(findings)]))
    wrong = any(finding.verdict is Verdict.ERROR for finding in findings)
    return ExitCode.BAD_CONFIGURATION if wrong else ExitCode.OK


def examine(config: Config, dry_run: bool = False, viewpoint: Viewpoint = Viewpoint()) -> list[Finding]:
    """Every finding about the installation `config` describes; `dry_run`: the tables are looked at, not touched."""
    findings = [_itself(viewpoint), *_folder(config.scalable_folder)]
    findings += [warning("settings", line) for line in config.warnings]
    findings.append(check_settings_file(config.settings_file))
    findings += check_environment(config.readings, config.scalable_folder, viewpoint.side)
    findings += check_bot(config.bot, has_token=bool(config.bot_token))
    findings.append(check_limits(config.worker_pool_size))
    storage = Storage(config)
    folder = check_data_folder(storage.data_folder)
    findings += folder
    if folder[0].verdict is not Verdict.ERROR:
        findings += _inside(config, storage, dry_run, viewpoint)
    if viewpoint.url:
        findings += check_public(Public(viewpoint.url, config.scalable_folder, config.data_dir, config.webhook_secret))
    return findings


def run_checks(config: Config, viewpoint: Viewpoint) -> CheckReport:
    """The same for somebody who is not in a shell. An address that is none is passed over: a browser made it."""
    try:
        url = folder_url(viewpoint.url)
    except ValueError:
        url = ""
    return CheckReport(examine(config, viewpoint=replace(viewpoint, url=url)), settings_lines(config))


def settings_lines(config: Config) -> list[str]:
    """A line for every setting: name, value, source. Secrets only say whether they are set."""
    rows = [(reading.setting.name, reading.shown(), reading.source) for reading in config.readings]
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:<{name_width}}  {value:<{value_width}}  {source}" for name, value, source in rows]


def _without_settings() -> list[Finding]:
    """What can be said when the settings cannot be read."""
    return [_itself(Viewpoint()), *_folder(SCALABLE_FOLDER)]


def _folder(folder: Path) -> list[Finding]:
    return [*check_packages(find_packages(folder / "vendor")), *check_files(folder), *check_scripts(folder)]


def _itself(viewpoint: Viewpoint) -> Finding:
    seen = f"{sys.version.split()[0]} at {sys.executable or 'a program without a name'}, as user {_user()}"
    if viewpoint.server:
        seen += f", under {viewpoint.server} ({viewpoint.way})"
    return ok("python", seen)


def _user() -> str:
    try:
        return getpass.getuser() if os.geteuid() == os.getuid() else str(os.geteuid())
    except (KeyError, OSError):
        return str(os.geteuid())


def _inside(config: Config, storage: Storage, dry_run: bool, viewpoint: Viewpoint) -> list[Finding]:
    """What needs the data folder."""
    findings = []
    if not dry_run:
        try:
            secret = storage.data_folder.secret()
            findings = check_other_side(config.readings, config.data_dir, secret, viewpoint.side)
        except (ConfigurationError, OSError) as problem:
            findings = [error("data folder", f"its notes cannot be kept: {problem}")]
    findings += check_database(storage, config.database, config.worker_pool_size, dry_run)
    return findings + check_work(storage)
