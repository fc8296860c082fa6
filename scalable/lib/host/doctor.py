"""The doctor: prints every setting with its source, checks the whole installation, says what to put right."""

from __future__ import annotations

import argparse
import contextlib
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional, Protocol

from scalable.lib.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ExitCode,
    ScalableError,
    SchemaMissing,
)
from scalable.lib.host.bot_check import check_bot
from scalable.lib.host.finding import Finding, Verdict
from scalable.lib.host.installation import Installation
from scalable.lib.host.packages import check_packages, find_packages
from scalable.lib.host.release_files import check_files
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.explain import slow_plans
from scalable.lib.queue.registry import Registry
from scalable.lib.queue.schema import SCHEMA_VERSION, planned_statements, stored_version
from scalable.lib.settings import Reading
from scalable.lib.worker.runners.choose import BotSettings


class Settings(Protocol):
    """What the doctor needs of the Config."""

    @property
    def scalable_folder(self) -> Path: ...
    @property
    def settings_file(self) -> Path: ...
    @property
    def bot(self) -> BotSettings: ...
    @property
    def bot_token(self) -> str: ...
    @property
    def readings(self) -> tuple[Reading, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...

    def installation(self) -> Installation:
        """The installation these settings describe."""


def run_doctor(arguments: Sequence[str], load: Callable[[], Settings]) -> int:
    """Print settings and findings; 0 when everything needed is right, 2 when something is wrong.

    Creates the data folder, and without --dry-run the tables, when they are missing: the same the pool would do.
    """
    parser = argparse.ArgumentParser(
        prog="config.py", description="Shows the settings and checks this installation. Exit code 0 or 2.",
        epilog="config.py init makes the settings file and puts modes and first lines in order; config.py uninstall "
               "tells what to remove.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be done to the tables, say of the PHP version"
    )
    options = parser.parse_args(arguments)
    try:
        config = load()
    except ConfigurationError as error:
        findings = [Finding(Verdict.ERROR, "settings", problem) for problem in error.problems]
        _print_findings(findings)
        return ExitCode.BAD_CONFIGURATION
    _print_settings(config)
    return conclude(examine(config, options.dry_run))


def conclude(findings: Sequence[Finding]) -> int:
    """Print them; the exit code they mean."""
    _print_findings(findings)
    wrong = any(finding.verdict is Verdict.ERROR for finding in findings)
    return ExitCode.BAD_CONFIGURATION if wrong else ExitCode.OK


def examine(config: Settings, dry_run: bool = False) -> list[Finding]:
    """Every finding about the installation `config` describes; `dry_run`: the tables are looked at, not touched."""
    findings = [Finding(Verdict.OK, "python", f"{sys.version.split()[0]} at {sys.executable}")]
    findings += check_packages(find_packages(config.scalable_folder / "vendor"))
    findings += check_files(config.scalable_folder)
    findings += [Finding(Verdict.WARNING, "settings", warning) for warning in config.warnings]
    findings += _settings_file(config.settings_file)
    findings += check_bot(config.bot, has_token=bool(config.bot_token))
    installation = config.installation()
    folder = _data_folder(installation)
    findings.append(folder)
    if folder.verdict is not Verdict.ERROR:
        findings += _database(installation, dry_run)
    return findings


def _settings_file(path: Path) -> list[Finding]:
    if not path.exists():
        return [Finding(Verdict.OK, "settings file", f"none at {path}: environment and defaults only")]
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return [Finding(Verdict.WARNING, "settings file", f"{path}, mode {mode:o}: others may read it; chmod 600 it")]
    return [Finding(Verdict.OK, "settings file", f"{path}, mode {mode:o}")]


def _data_folder(installation: Installation) -> Finding:
    folder = installation.data_folder
    try:
        folder.prepare()
    except ConfigurationError as error:
        return Finding(Verdict.ERROR, "data folder", str(error))
    if folder.others_may_enter():
        return Finding(Verdict.WARNING, "data folder", f"{folder.path}: others may look into it; chmod 700 it")
    return Finding(Verdict.OK, "data folder", f"{folder.path}, writable and private")


def _database(installation: Installation, dry_run: bool) -> list[Finding]:
    try:
        queue = installation.queue()
        server = queue.describe_server()
        findings = [Finding(Verdict.OK, "database", f"{server.product} {server.version}, {queue.database.place}; "
                                                    f"jobs are claimed by {server.claim_method}")]
        if dry_run:
            return findings + _plan(queue)
        return [*findings, _table(queue), *_plans(queue), _depth(queue), _workers(queue)]
    except DatabaseUnavailable as error:
        return [Finding(Verdict.ERROR, "database", str(error))]
    except ConfigurationError as error:
        return [Finding(Verdict.ERROR, "database", problem) for problem in error.problems]


def _table(queue: DatabaseQueue) -> Finding:
    before: Optional[int] = stored_version(queue.database, queue.table)
    try:
        queue.ensure_schema()
    except ScalableError as error:
        return Finding(Verdict.ERROR, "table", str(error))
    made = "" if before == SCHEMA_VERSION else " (made just now)" if before is None else f" (brought up from {before})"
    return Finding(Verdict.OK, "table", f"{queue.table}, version {SCHEMA_VERSION}{made}")


def _plan(queue: DatabaseQueue) -> list[Finding]:
    """What would be done to the tables, statement by statement, and what is in them now."""
    statements = planned_statements(queue.database, queue.table)
    if not statements:
        return [Finding(Verdict.OK, "table", "complete, nothing would be changed"), _depth(queue)]
    findings = [Finding(Verdict.OK, "would run", statement) for statement in statements]
    with contextlib.suppress(SchemaMissing):
        findings.append(_depth(queue))
    return findings


def _plans(queue: DatabaseQueue) -> list[Finding]:
    """How the server would run what runs all day; a sort or a scan costs little today and everything in a rush."""
    slow = slow_plans(queue)
    if not slow:
        return [Finding(Verdict.OK, "indexes", "claims, reaps and clean-ups use theirs")]
    remedy = "drop the queue's indexes of that name and run this again, or report it with the lines above"
    return [Finding(Verdict.ERROR, "indexes", f"{line}; {remedy}") for line in slow]


def _depth(queue: DatabaseQueue) -> Finding:
    counts = queue.counts()
    seen = f"{counts.pending} pending, {counts.processing} processing, {counts.done} done, {counts.failed} failed"
    if counts.failed:
        return Finding(Verdict.WARNING, "queue", f"{seen}; the dashboard says why and runs them again")
    return Finding(Verdict.OK, "queue", seen)


def _workers(queue: DatabaseQueue) -> Finding:
    alive = Registry(queue.database, queue.table).alive()
    running = sum(worker.job_id is not None for worker in alive)
    seen = f"{len(alive)} alive, {running} of them running the bot" if alive else "none is running now"
    return Finding(Verdict.OK, "workers", seen)


def _print_settings(config: Settings) -> None:
    rows = [(reading.setting.name, reading.shown(), reading.source) for reading in config.readings]
    name_width = max(len(row[0]) for row in rows)
    value_width = max(len(row[1]) for row in rows)
    for name, value, source in rows:
        print(f"{name:<{name_width}}  {value:<{value_width}}  {source}")
    print()


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(f"{finding.verdict.value:<8} {finding.subject}: {finding.seen}")
    errors = sum(finding.verdict is Verdict.ERROR for finding in findings)
    print()
    print(f"{errors} thing{'s' * (errors != 1)} to put right." if errors else "Everything needed is in place.")
