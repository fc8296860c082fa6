"""What direct_insert needs, written to a file by a process that read and checked all the settings.

Reading the settings and checking every value takes 100 ms of imports. So a process that did that, and stored an update
with the result, writes the result down; it is right as long as the settings file and the program are those it read.

What is in the file decides whose updates are taken and where they are stored, so it is read only where nobody else can
have written it: a file of this user alone, in a folder that nobody else may write.
"""

from __future__ import annotations

import json
import posix

from scalable.lib.queue.dialects.prepared_insert import PreparedInsert

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = ".ht-lean"
MAX_BYTES = 65536
# As in stat.h; the module `stat` would have to be loaded.
OTHERS_MAY_WRITE = 0o022
FILE_TYPE, REGULAR_FILE, FOLDER = 0o170000, 0o100000, 0o040000
WRITE_FLAGS = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
# A link is not followed, and a pipe in the file's place does not keep the request waiting.
READ_FLAGS = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK
# The settings, what takes part in what is written down, and what a direct insert imports. A test compares the list.
DEPENDS_ON = (
    ".htenv",
    "webhook_queue.py",
    "lib/errors.py",
    "lib/installation.py",
    "lib/logs.py",
    "lib/sockets.py",
    "lib/start.py",
    "lib/web_refusal.py",
    "lib/ingest/pipeline.py",
    "lib/ingest/request_body.py",
    "lib/ingest/responses.py",
    "lib/ingest/fast_cgi/cached_settings.py",
    "lib/ingest/fast_cgi/direct_insert.py",
    "lib/ingest/fast_cgi/pool_client.py",
    "lib/ingest/fast_cgi/protocol.py",
    "lib/queue/database_queue.py",
    "lib/queue/new_row.py",
    "lib/queue/statements.py",
    "lib/queue/table.py",
    "lib/queue/dialects/address.py",
    "lib/queue/dialects/database.py",
    "lib/queue/dialects/minimal_mysql.py",
    "lib/queue/dialects/mysql.py",
    "lib/queue/dialects/mysql_login.py",
    "lib/queue/dialects/mysql_session.py",
    "lib/peer_user.py",
    "lib/queue/dialects/prepared_insert.py",
    "lib/queue/dialects/server_trust.py",
    "lib/queue/dialects/sqlite.py",
    "lib/queue/dialects/sqlite_file.py",
    "lib/setup/config.py",
    "lib/setup/data_folder.py",
    "lib/setup/private_folder.py",
    "lib/setup/files.py",
    "lib/setup/settings.py",
    "lib/setup/settings_rules.py",
    "lib/setup/settings_table.py",
    "lib/setup/storage.py",
    "lib/telegram/lanes.py",
    "lib/telegram/secret_token.py",
    "lib/telegram/update.py",
)


class CachedSettings:
    """The settings of the webhook, where the pool listens, and how an update is stored."""

    __slots__ = ("enqueue", "log_level", "notification_socket", "order", "secret")

    def __init__(
        self, secret: str, order: str, log_level: str, notification_socket: str, enqueue: PreparedInsert
    ) -> None:
        self.secret = secret
        self.order = order
        self.log_level = log_level
        self.notification_socket = notification_socket
        self.enqueue = enqueue


def fingerprint(folder: str, environment: Mapping[str, str] | Mapping[bytes, bytes]) -> str:
    """What changes when the settings of the installation in `folder` (`scalable/`) do, or its program.

    Empty when there are settings in the environment: they may differ between the processes.
    """
    if any(name[:4] in ("BOT_", b"BOT_") for name in environment):
        return ""
    return f"{folder} {' '.join(_state(f'{folder}/{name}') for name in DEPENDS_ON)}"


def _state(path: str) -> str:
    try:
        state = posix.stat(path)
    except OSError:
        return "none"
    return f"{state.st_mtime_ns}.{state.st_ctime_ns}.{state.st_size}.{state.st_ino}"


def store_cached_settings(data_folder: str, seen: str, cached: CachedSettings) -> None:
    """Write it down for the fingerprint `seen`, taken before the settings were read. Raises OSError."""
    enqueue = cached.enqueue
    content = json.dumps(
        [
            seen,
            cached.secret,
            cached.order,
            cached.log_level,
            cached.notification_socket,
            [enqueue.address, enqueue.account, enqueue.session, enqueue.statement, enqueue.server_user],
        ]
    ).encode()
    temporary = f"{data_folder}/{NAME}.{posix.getpid()}"
    try:  # noqa: SIM105 - contextlib would have to be loaded
        posix.unlink(temporary)  # of a process of this number that was killed
    except FileNotFoundError:
        pass
    file = posix.open(temporary, WRITE_FLAGS, 0o600)
    try:
        posix.write(file, content)
    finally:
        posix.close(file)
    posix.rename(temporary, f"{data_folder}/{NAME}")  # whole or not at all


def find_cached_settings(data_folder: str, seen: str) -> CachedSettings | None:
    """What was written for the fingerprint `seen`; None when nothing was, for another one, or maybe by another user."""
    try:
        is_ours = _is_closed_to_others(posix.stat(data_folder), FOLDER)
        file = posix.open(f"{data_folder}/{NAME}", READ_FLAGS) if is_ours else -1
    except OSError:
        return None
    if file < 0:
        return None
    try:
        state = posix.fstat(file)
        if not _is_closed_to_others(state, REGULAR_FILE) or state.st_uid != posix.geteuid():
            return None
        found, *settings, enqueue = json.loads(posix.read(file, MAX_BYTES))
    except (OSError, ValueError, TypeError):
        return None
    finally:
        posix.close(file)
    if not seen or found != seen:
        return None
    secret, order, log_level, notification_socket = settings
    prepared = PreparedInsert(*enqueue)
    if not prepared.only_inserts():
        return None
    return CachedSettings(secret, order, log_level, notification_socket, prepared)


def _is_closed_to_others(state: posix.stat_result, kind: int) -> bool:
    """Whether only this user, and root, can have written the file or folder."""
    is_of_kind = state.st_mode & FILE_TYPE == kind
    return is_of_kind and not state.st_mode & OTHERS_MAY_WRITE and state.st_uid in (0, posix.geteuid())
