"""The dashboard in a shell: what the page shows, and the same actions."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from scalable.lib.dashboard.overview import as_json, exact_counts, health_json, jobs_json, read_overview
from scalable.lib.dashboard.terminal import counts_lines, detail_lines, job_lines, worker_lines
from scalable.lib.dashboard.webhook_command import administer
from scalable.lib.errors import ConfigurationError, ExitCode
from scalable.lib.plain_text import plain_json
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.job import EXPIRED, FAILED, STATUSES
from scalable.lib.queue.requeue import Batch
from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.search import WARNED, Filter, read_filter
from scalable.lib.queue.views.verdict import in_words

if TYPE_CHECKING:  # it loads HTTP and TLS, which most commands do not need
    from scalable.lib.pool.webhook_admin import WebhookAdmin


def parse_dashboard_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with usage and exit code 2."""
    parser = argparse.ArgumentParser(prog="dashboard.py", description="Shows the queue, and acts on it by hand.")
    parser.add_argument("--json", action="store_true", help="print JSON, the same as dashboard.py?format=json")
    parser.add_argument("--exact", action="store_true", help="count every job, however many there are")
    commands = parser.add_subparsers(dest="command", metavar="command")
    _add_reading_commands(commands)
    retry = commands.add_parser("retry", help="run failed or expired jobs again, with all their attempts")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", type=int, help="the job's id")
    which.add_argument("--all-failed", action="store_true", help="every failed job")
    which.add_argument("--matching", action="store_true", help="every job that fits --status, --type, --lane, --search")
    _add_filter(retry, (FAILED, EXPIRED))
    _add_job_command(commands, "run-now", "let a job's next attempt begin at once")
    _add_job_command(commands, "skip", "fail a waiting job, so that what waits behind it goes on")
    delete = _add_job_command(commands, "delete", "delete a job that does not run")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("pause", help="begin no job until resume; updates are still stored")
    commands.add_parser("resume", help="go on after pause")
    webhook = commands.add_parser("webhook", help="the same as: webhook_queue.py info")
    webhook.add_argument("--set", metavar="URL", dest="webhook_url", help="the same as: webhook_queue.py set URL")
    webhook.add_argument("--back", action="store_true", help="the same as: webhook_queue.py rollback")
    return parser.parse_args(arguments)


def _add_reading_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_job_command(commands, "show", "one job with its update, its attempts and its lane")
    listing = commands.add_parser("list", help="jobs, newest first")
    _add_filter(listing, (*STATUSES, WARNED))
    listing.add_argument("--before", type=int, metavar="ID", help="only jobs before this one")
    listing.add_argument("--json", action="store_true", dest="list_json", help="print JSON")
    health = commands.add_parser("health", help="the verdict, and why; exit code 1 unless it is working")
    health.add_argument("--json", action="store_true", dest="health_json", help="print JSON")


def _add_filter(parser: argparse.ArgumentParser, statuses: Sequence[str]) -> None:
    parser.add_argument("--status", choices=statuses, default="")
    parser.add_argument("--type", default="", help="such as message")
    parser.add_argument("--lane", default="", help="such as chat:123")
    parser.add_argument("--search", default="", help="an id of job, update, chat or user, or a part of the error")


def _add_job_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=what)
    parser.add_argument("id", type=int, help="the job's id")
    return parser


def run_dashboard_command(
    options: argparse.Namespace,
    queue: DatabaseQueue,
    limit: int,
    on_enqueued: Callable[[], None] = lambda: None,
    webhook: Optional[WebhookAdmin] = None,
) -> int:
    """Show the queue or act on it; makes the tables if this is the first thing ever run. Returns the exit code.

    `on_enqueued` is called when jobs have become due. `webhook`: None without a BOT_TOKEN.
    """
    queue.ensure_schema()
    shell = _Shell(options, queue, limit, webhook)
    commands: dict[Optional[str], Callable[[], Optional[ExitCode]]] = {
        None: shell.overview,
        "show": shell.show,
        "list": shell.list,
        "health": shell.health,
        "retry": shell.retry,
        "run-now": shell.run_now,
        "skip": shell.skip,
        "delete": shell.delete,
        "pause": shell.pause,
        "resume": shell.resume,
        "webhook": shell.webhook,
    }
    exit_code = commands[options.command]()
    if options.command in ("retry", "run-now", "skip", "delete", "resume"):
        on_enqueued()
    return exit_code or ExitCode.OK


class _Shell:
    """One command each; a command without a result was successful."""

    def __init__(
        self, options: argparse.Namespace, queue: DatabaseQueue, limit: int, webhook: Optional[WebhookAdmin]
    ) -> None:
        self._options = options
        self._queue = queue
        self._limit = limit
        self._webhook = webhook

    def overview(self) -> None:
        overview = read_overview(self._queue, self._limit)
        if self._options.exact:
            overview = exact_counts(overview, self._queue.counts())
        if self._options.json:
            _print_json(as_json(overview))
            return
        print(f"{self._queue.table.name} in {self._queue.database.place}\n")
        print("\n".join([*counts_lines(overview.counts), "", *in_words(overview.verdict)]))
        print("\n" + "\n".join(worker_lines(overview.vitals.workers)))
        print("\n" + "\n".join(job_lines(overview.jobs)) if overview.jobs else "\nno update has arrived yet")

    def show(self) -> None:
        detail = self._queue.jobs.detail(self._options.id)
        print("\n".join(detail_lines(detail)))

    def list(self) -> None:
        wanted = self._filter(self._options.status)
        found = self._queue.search.find(wanted, self._limit, self._options.before)
        jobs = tuple(dict.fromkeys([*found.exact, *found.jobs]))
        if self._options.list_json:
            _print_json(jobs_json(jobs, found))
            return
        print("\n".join(job_lines(jobs)) if jobs else "no job matches")
        if found.next_before is not None:
            how_far = "older ones" if found.full else f"looked back to job {found.next_before} so far"
            print(f"\n{how_far}: go on with --before {found.next_before}")

    def health(self) -> ExitCode:
        verdict = check_health(self._queue)
        if self._options.health_json:
            _print_json(health_json(verdict))
        else:
            print("\n".join(in_words(verdict)))
        return ExitCode.OK if verdict.is_well else ExitCode.UNEXPECTED

    def retry(self) -> None:
        if self._options.all_failed:
            self._say_retried(self._queue.requeue_failed(), FAILED)
        elif self._options.matching:
            state = self._options.status or FAILED
            self._say_retried(self._queue.requeue_all(self._filter(state), None, self._queue.newest_id()), state)
        else:
            comes_late = self._queue.requeue(self._options.id)
            print(f"job {self._options.id} will run again")
            if comes_late:
                print("newer updates of its chat have run already: it comes after them")

    def _say_retried(self, batch: Batch, state: str) -> None:
        print(f"{batch.requeued} {state} jobs will run again")
        if batch.overtaken:
            print(f"for {batch.overtaken} of them newer updates of the chat have run already: they come after those")

    def _filter(self, state: str) -> Filter:
        return read_filter(state, self._options.type, self._options.lane, self._options.search)

    def run_now(self) -> None:
        self._queue.run_now(self._options.id)
        print(f"job {self._options.id} is due now")

    def skip(self) -> None:
        self._queue.skip(self._options.id)
        print(f"job {self._options.id} was skipped: it is failed, and what waited behind it goes on")

    def delete(self) -> None:
        job = self._queue.find(self._options.id)
        question = f"delete job {job.id} ({job.status}, {job.update_type or 'unknown type'}) for good?"
        if not self._options.yes and not _agreed(question):
            print("nothing was done")
            return
        self._queue.delete(job.id)
        print(f"job {job.id} was deleted")

    def pause(self) -> None:
        self._queue.pause(f"{getpass.getuser()} in a shell")
        print("the queue is paused: running jobs are finished, no other is begun until: dashboard.py resume")

    def resume(self) -> None:
        print("the queue goes on" if self._queue.resume() else "the queue was not paused")

    def webhook(self) -> ExitCode:
        url, back = self._options.webhook_url, self._options.back
        return administer(self._queue, self._webhook, "set" if url else "rollback" if back else "info", url or "")


def _agreed(question: str) -> bool:
    """The answer typed at the terminal. Raises ConfigurationError when there is no terminal."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} add --yes when nobody is there to ask")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _print_json(value: object) -> None:
    print(plain_json(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty())))
