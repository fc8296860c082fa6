"""The webhook in a shell: point it here, show it, take it away, point it back, or fetch updates without one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Optional

from scalable.lib.dashboard.terminal import webhook_lines
from scalable.lib.errors import ConfigurationError, ExitCode
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.views.webhook_info import WebhookInfo

if TYPE_CHECKING:  # they load HTTP and TLS, which --help does not need
    from scalable.lib.ingest.poller import Poller
    from scalable.lib.pool.webhook_admin import Pointed, WebhookAdmin

# Telegram's own limits (Bot API, setWebhook), and what shared hosts allow (CloudLinux: 20 entry processes, then 508).
MIN_CONNECTIONS, MAX_CONNECTIONS, HOSTS_BEAR = 1, 100, 20
ADVISED = 10
# In place of an address.
FROM_INPUT = "-"
TYPED = f"{FROM_INPUT}: asks for it, for one with a key in it"


def parse_webhook_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the process with usage and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="webhook_queue.py",
        description="Sets, shows and takes away the webhook. The updates themselves come through a web server, which "
        "starts this script without a command; to try that here: worker_pool.py --serve",
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    put = commands.add_parser("set", help="let Telegram bring updates to an address")
    put.add_argument("url", metavar="URL", help=f"such as https://example.com/scalable/webhook_queue.py; {TYPED}")
    put.add_argument(
        "--max-connections",
        type=_connections,
        default=ADVISED,
        metavar="N",
        help="deliveries at the same time, 1 to 100 (default: 10)",
    )
    commands.add_parser("info", help="what Telegram says of the webhook; exit code 1 when it cannot be asked")
    commands.add_parser("delete", help="no webhook; updates wait at Telegram, for a day at most")
    back = commands.add_parser("rollback", help="let Telegram bring updates where it did before")
    back.add_argument(
        "url", metavar="URL", nargs="?", default="", help=f"the bot's own address, if not known any more; {TYPED}"
    )
    commands.add_parser("poll", help="fetch updates without a webhook, until Ctrl-C; for development, and behind NAT")
    return parser.parse_args(arguments)


def run_webhook_command(
    options: argparse.Namespace,
    queue: DatabaseQueue,
    webhook: Optional[WebhookAdmin],
    create_poller: Callable[[], Poller],
) -> int:
    """Do what was asked for; the exit code. `webhook`: None without a BOT_TOKEN.

    Raises ConfigurationError, or BotApiError with Telegram's reason; then nothing was changed.
    """
    if options.command == "poll":
        _known(webhook)
        queue.ensure_schema()
        return create_poller().run()
    return administer(queue, webhook, **vars(options))


def administer(
    queue: DatabaseQueue,
    webhook: Optional[WebhookAdmin],
    command: str,
    url: str = "",
    max_connections: int = ADVISED,
) -> ExitCode:
    """The same for one `command`, which is set, info, delete or rollback."""
    admin = _known(webhook)
    queue.ensure_schema()
    lines: list[str] = []
    if command == "info":
        seen = admin.look_up()
    elif command == "delete":
        seen = admin.take_away()
    else:
        is_rollback = command == "rollback"
        address = _checked(url or (admin.look_up().before if is_rollback else ""), command)
        pointed = admin.point_back(address) if is_rollback else admin.point_at(address, max_connections)
        seen, lines = pointed.seen, what_was_set(pointed)
    print("\n".join([*webhook_lines(seen), *lines, *advice(seen)]))
    return ExitCode.UNEXPECTED if command == "info" and seen.trouble else ExitCode.OK


def what_was_set(pointed: Pointed) -> list[str]:
    """Which secret token was given to the bot's own address, and whether a certificate got lost; a line each."""
    lines = []
    if pointed.secret is not None:
        did = "a secret token was set" if pointed.secret.token else "no secret token was set"
        lines.append(f"note: {did}: {pointed.secret.why}")
    if pointed.needs_certificate:
        lines.append(
            "warning: this address had a certificate of its own, which Telegram has forgotten: call setWebhook "
            "yourself, with url and certificate, or it delivers nothing there"
        )
    elif pointed.had_certificate:
        lines.append(
            "warning: the webhook had a certificate of its own, and Telegram has forgotten it: the new address has to "
            "have one that Telegram trusts, and to go back you have to give the old one again"
        )
    return lines


def _known(webhook: Optional[WebhookAdmin]) -> WebhookAdmin:
    if webhook is None:
        raise ConfigurationError("BOT_TOKEN is empty: set it, because Telegram asks for it with every question")
    return webhook


def advice(seen: WebhookInfo) -> list[str]:
    """Warnings about these facts, a line each."""
    lines = []
    if seen.url and (seen.max_connections or 0) > HOSTS_BEAR:
        lines.append(
            f"advice: shared hosts refuse more than about {HOSTS_BEAR} requests at once; set it again with "
            f"--max-connections {ADVISED}"
        )
    if seen.has_certificate:
        lines.append("advice: this webhook was given a certificate of its own; to come back to it, give that again")
    if seen.url and seen.url.startswith("https://") and not seen.leads_here:
        lines.append("note: this address is not webhook_queue.py, so updates do not come into the queue")
    if not seen.url and not seen.trouble:
        lines.append("note: without a webhook updates wait at Telegram until you set one, or: webhook_queue.py poll")
    return lines


def _checked(url: str, command: str) -> str:
    from scalable.lib.pool.webhook_admin import is_address

    is_typed = url == FROM_INPUT
    if is_typed:
        url = _typed_address()
    if not url and not is_typed:
        remedy = "name the address: webhook_queue.py rollback URL"
        raise ConfigurationError(f"where the webhook pointed before is not known: {remedy}")
    if not is_address(url):
        raise ConfigurationError(f"{command} {url!r}: expected an address such as https://example.com/bot.php")
    return url


def _typed_address() -> str:
    """A line of standard input: what is on a command line can be read by every user of the machine."""
    if sys.stdin.isatty():
        print("Address: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _connections(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not MIN_CONNECTIONS <= number <= MAX_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 100")
    return number
