"""worker_pool.py's command line, and a resident pool: workers as processes, services beside them, web server."""

from __future__ import annotations

import argparse
import logging
import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from scalable.lib.log_file import is_for_us_alone
from scalable.lib.logs import event
from scalable.lib.pool.parts import PoolParts
from scalable.lib.pool.services import PoolServices
from scalable.lib.pool.supervisor import WorkerPool
from scalable.lib.pool.worker_command import positive_seconds
from scalable.lib.pool.worker_process import WorkerProcess
from scalable.lib.process_name import process_name
from scalable.lib.queue.database_queue import POOL_CONNECTIONS

if TYPE_CHECKING:
    from scalable.lib.ingest.pool_gateway import Gateway
    from scalable.lib.ingest.update_gateway import UpdateGateway
    from scalable.lib.pool.web_server import WebServer

log = logging.getLogger(__name__)
DEFAULT_LISTEN = "127.0.0.1:8080"
# Cron starts the next one after 60.
CRON_SECONDS = 55.0
# Beyond the bot's own deadline, for the worker to store the outcome.
GRACE_BEYOND_BOT_SECONDS = 10

ASKS_FOR_TOKEN = "The dashboard asks for BOT_MONITOR_TOKEN: add ?token=… to its address."
IN_ADDRESS = "The dashboard's password is in its address. It was invented, because BOT_MONITOR_TOKEN is empty."
IN_FILE = "The dashboard's password was invented, because BOT_MONITOR_TOKEN is empty. It is in the file\n  {file}"


@dataclass(frozen=True)
class InventedToken:
    """The dashboard's password of an installation whose owner set none, and the private `file` that keeps it."""

    token: str = field(repr=False)
    file: Path


def parse_pool_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; wrong ones end the process with usage and exit code 2."""
    parser = _create_parser()
    options = parser.parse_args(arguments)
    if options.at_once and not options.stop:
        parser.error("--at-once goes with --stop")
    if options.cron and options.serve:
        parser.error("--cron does not go with --serve: the web server would be away whenever the pool is")
    return options


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="worker_pool.py", description="Keeps BOT_WORKER_POOL_SIZE workers running. Ctrl-C or TERM ends it cleanly."
    )
    add = parser.add_argument
    add(
        "--serve",
        nargs="?",
        const=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help="also serve /scalable/webhook_queue.py and /scalable/dashboard.py there, or at the socket of "
        f"unix:/path/to.sock, for a proxy on this machine (default {DEFAULT_LISTEN})",
    )
    add("--ensure", action="store_true", help="say nothing and exit 0 when the pool runs already: for a line in cron")
    add("--status", action="store_true", help="say whether the pool runs, and exit with 0 or 1")
    add(
        "--health",
        action="store_true",
        help="say the verdict, as ?format=health of the dashboard; exit with 0 if working, else 1",
    )
    add("--stop", action="store_true", help="let the pool end after the jobs at hand, and wait for it")
    add("--at-once", action="store_true", help="with --stop: do not wait for the bots that run now")
    add(
        "--cron",
        action="store_true",
        help="for a host with only cron: all workers in one process, which ends before cron starts the next one; "
        "does nothing when a pool runs already",
    )
    add(
        "--max-seconds",
        type=positive_seconds,
        default=CRON_SECONDS,
        metavar="N",
        help=f"with --cron: start no update after N seconds (default {CRON_SECONDS:g}, for cron's every minute)",
    )
    return parser


def grace_seconds(bot_timeout_seconds: float) -> float:
    """How long a pool lets its workers finish their jobs."""
    return bot_timeout_seconds + GRACE_BEYOND_BOT_SECONDS


def run_pool(
    parts: PoolParts,
    server: Optional[WebServer],
    gateways: Sequence[Gateway | UpdateGateway],
    invented: Optional[InventedToken],
    check: Callable[[], object],
) -> int:
    """Supervise until stopped; the exit code. The caller holds the pool's lock.

    `check` raises ScalableError when workers that started now would find the settings or the bot wrong. Raises
    DatabaseUnavailable when the database is away at the start, ConfigurationError when its tables are wrong.
    """
    services = PoolServices(parts, name := process_name(), parts.open_notifications())
    parts.queue.database.limit_connections(POOL_CONNECTIONS)
    parts.queue.ensure_schema()
    pool = WorkerPool(
        parts.size,
        lambda worker: WorkerProcess(parts.worker_script, worker, services.wakeup_pipe.reader),
        grace_seconds(parts.bot_timeout_seconds),
        services.maintenance.worker_died,
        name=name,
        check=check,
        may_start=lambda: not parts.hold.holds(),
    )
    pool.listen(has_terminal=sys.stdin is not None and sys.stdin.isatty())
    log.info(event("pool started", pid=os.getpid(), workers=parts.size, database=parts.queue.database.place))
    services.start()
    for gateway in gateways:
        gateway.start()
    if server is not None:
        server.start()
        _invite(server, invented)
    try:
        return pool.run()
    finally:
        if server is not None:
            server.stop()
        for gateway in reversed(gateways):
            gateway.stop()
        services.stop()


def _invite(server: WebServer, invented: Optional[InventedToken]) -> None:
    query, notice = "", ASKS_FOR_TOKEN
    if invented is not None:
        notice = IN_FILE.format(file=invented.file)
        if _is_read_by_who_started_this():
            query, notice = f"?token={invented.token}", IN_ADDRESS
    message = '"message":{"message_id":1,"date":1,"chat":{"id":1,"type":"private"},"text":"/start"}'
    print(
        f"""
  Dashboard  {server.url}/scalable/dashboard.py{query}
  Webhook    {server.url}/scalable/webhook_queue.py

  Send an update:
  curl {server.curl_option}-d '{{"update_id":'$(date +%s)',{message}}}' \\
    {server.url}/scalable/webhook_queue.py

  {notice}
  Ctrl-C ends it.
""",
        flush=True,
    )


def _is_read_by_who_started_this() -> bool:
    """Whether standard output is a terminal, a pipe without a name or a file that nobody else can have open."""
    try:
        output = sys.stdout.fileno()
        return _is_nameless_pipe(output) or is_for_us_alone(output) or sys.stdout.isatty()
    except (OSError, ValueError):  # closed
        return False


def _is_nameless_pipe(descriptor: int) -> bool:
    """A pipe with a name can be opened by whoever its mode lets, and who made it chose that."""
    status = os.fstat(descriptor)
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid not in (0, os.geteuid()):
        return False
    return not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
