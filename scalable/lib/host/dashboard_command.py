"""The dashboard in a shell: the same counts and jobs, and the same retry."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from scalable.lib.errors import ExitCode
from scalable.lib.host.terminal import counts_lines, job_lines
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.web.overview import as_json, counts_by_name, read_overview


def parse_dashboard_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with usage and exit code 2."""
    parser = argparse.ArgumentParser(prog="dashboard.py", description="Shows the queue and runs failed jobs again.")
    parser.add_argument("--json", action="store_true", help="print JSON, the same as dashboard.py?format=json")
    commands = parser.add_subparsers(dest="command", metavar="retry")
    retry = commands.add_parser("retry", help="run failed jobs again, with all their attempts")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", type=int, help="the job's id")
    which.add_argument("--all-failed", action="store_true", help="every failed job")
    return parser.parse_args(arguments)


def run_dashboard_command(options: argparse.Namespace, queue: DatabaseQueue, limit: int) -> int:
    """Show the queue, or retry failed jobs; makes the tables if this is the first thing ever run."""
    queue.ensure_schema()
    if options.command == "retry":
        return _retry(queue, options)
    overview = read_overview(queue, limit)
    if options.json:
        print(json.dumps(as_json(overview), indent=2, ensure_ascii=False))
    else:
        print(f"{queue.table} in {queue.database.place}\n")
        print("\n".join(counts_lines(counts_by_name(overview.counts))))
        print("\n" + "\n".join(job_lines(overview.jobs)) if overview.jobs else "\nno update has arrived yet")
    return ExitCode.OK


def _retry(queue: DatabaseQueue, options: argparse.Namespace) -> int:
    if options.all_failed:
        print(f"{queue.requeue_failed()} failed jobs will run again")
    else:
        queue.requeue(options.id)
        print(f"job {options.id} will run again")
    return ExitCode.OK
