"""Runs the benchmarks and prints what they found, as Markdown. Progress goes to standard error."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path

from benchmarks import machine
from benchmarks.server import OPTIONS, running_server
from tests.support.servers.database_builds import NotAvailable

# Title of each part; its module has `run(server, say)`, and `run_full` where `make bench` has no time for all of it.
PARTS = {
    "growth": "Growth: what a job costs when there are many",
    "drain": "Drain: jobs per second, against huey and Celery",
    "lanes": "Lanes: jobs per second, by lanes and worker processes",
    "slots": "Slots: 64 runs at once in two processes, and payments beside slow runs",
    "flood": "Flood: how long a chat waits beside another one's 100,000 updates",
    "enqueue": "Enqueue: what the queue adds to an INSERT",
    "bots": "Bots: updates per second through a real bot",
    "webhook": "Webhook: how long it takes on each kind of host, against PHP",
    "wakeup": "Wake-up: how soon an idle pool begins, and what it costs",
    "dashboard": "Dashboard: what a look costs beside millions of jobs",
}


def main() -> int:
    """0, or 1 with the reason when there is no server to measure on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="which parts; all of them when none is named")
    parser.add_argument("--full", action="store_true", help="lanes, flood: every case and database; half an hour")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the report there, too")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of every `finally`, so the server is stopped
    try:
        report = _measured(wanted.part or list(PARTS), wanted.full)
    except NotAvailable as reason:
        print(f"no server to measure on: {reason}", file=sys.stderr)
        return 1
    print(report)
    if wanted.save:
        wanted.save.write_text(report + "\n")
    return 0


def _measured(parts: list[str], full: bool) -> str:
    with running_server() as server:
        sections = ["# Results", machine.describe(server.version, OPTIONS)]
        for part in parts:
            before, started = machine.load(), time.monotonic()
            module = importlib.import_module(f"benchmarks.{part}")
            measure = getattr(module, "run_full", module.run) if full else module.run
            text = measure(server, _say)
            took = f"{time.monotonic() - started:.0f} s; load of the machine {before} before, {machine.load()} after"
            sections.append(f"## {PARTS[part]}\n\n{text}\n\nTook {took}.")
    return "\n\n".join(sections)


def _say(line: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
