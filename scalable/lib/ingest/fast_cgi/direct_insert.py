"""The webhook for the usual case, in a process that starts, stores one update and ends, on a host without a pool.

Such a process spends nearly all of its time on importing: the webhook with its settings and its database 150 ms, this
15 ms. It handles one case, and returns before it has written anything when the request is another one; then the webhook
itself takes the same request. So the only response that is made here is the one to an update that was stored.
"""

from __future__ import annotations

import posix
import sys
from io import BytesIO, TextIOWrapper

from scalable.lib.ingest.fast_cgi.cached_settings import CachedSettings, find_cached_settings, fingerprint
from scalable.lib.ingest.fast_cgi.pool_client import guess_data_folder, os_encoded, write_all
from scalable.lib.ingest.fast_cgi.protocol import NOTIFICATION
from scalable.lib.ingest.request_body import MAX_UPDATE_BYTES, content_length


def answer_update(folder: str, environment: dict[bytes, bytes]) -> None:
    """Store the update of this request, respond and end the process; return when that is not the usual case.

    `folder` is `scalable/`, `environment` that of the process. Standard input is then as it was. An update may have
    been stored all the same, say when the server's answer was lost: storing it once more changes nothing.
    """
    if environment.get(b"REQUEST_METHOD") != b"POST" or b"HTTP_TRANSFER_ENCODING" in environment:
        return
    data_folder = guess_data_folder(os_encoded(folder), environment).decode("utf-8", "surrogateescape")
    cached = find_cached_settings(data_folder, fingerprint(folder, environment))
    try:
        length = content_length(environment.get(b"CONTENT_LENGTH", b""))
    except ValueError:
        return
    if cached is None or length > MAX_UPDATE_BYTES:
        return
    body = sys.stdin.buffer.read(length)
    response = _store(cached, environment, body) if len(body) == length else None
    if response is not None:
        write_all(1, response)
        posix._exit(0)
    sys.stdin = TextIOWrapper(BytesIO(body))


def _store(cached: CachedSettings, environment: dict[bytes, bytes], body: bytes) -> bytes | None:
    """The response to an update that is stored now; None for one that is not, or may not be."""
    from scalable.lib.errors import FastPathUnavailable
    from scalable.lib.ingest.pipeline import Receiver
    from scalable.lib.ingest.responses import stored
    from scalable.lib.telegram.secret_token import SECRET_VARIABLE

    log = _Log(cached.log_level)
    receiver = Receiver(cached.secret, cached.order, lambda: _notify(cached.notification_socket), log)
    secret_token = environment.get(SECRET_VARIABLE.encode(), b"").decode("utf-8", "surrogateescape")
    update = receiver.accept(secret_token, body)
    if update is None:
        return None
    try:
        job_id = cached.enqueue.store(update)
    except FastPathUnavailable:
        return None
    receiver.finish([(update, job_id, len(body))])
    return stored(job_id).for_cgi()


def _notify(notification_socket: str) -> None:
    from scalable.lib.sockets import send_datagram

    try:  # noqa: SIM105 - contextlib would have to be loaded
        send_datagram(os_encoded(notification_socket), NOTIFICATION)
    except OSError:  # no pool, or one whose socket is full
        pass


class _Log:
    """Writes the lines of the webhook as `logging` would, which takes longer to import."""

    def __init__(self, level: str) -> None:
        self._level = level

    def isEnabledFor(self, level: int) -> bool:
        return level >= {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}[self._level]

    def info(self, message: str) -> None:
        from time import gmtime, strftime

        from scalable.lib.logs import LINE, TIME

        line = LINE % {"asctime": strftime(TIME, gmtime()), "levelname": "INFO", "message": message}
        posix.write(2, f"{line}\n".encode())
