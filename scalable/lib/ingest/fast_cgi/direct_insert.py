"""The webhook for the usual case, in a process that starts, stores one update and ends, on a host without a pool.

Such a process spends nearly all of its time on importing: the webhook with its settings and its database 150 ms, this
15 ms. It knows one way through, and steps aside before it has said a word when anything is not as usual; then the
webhook itself takes the same request. So nothing here decides what anybody is told, but "stored".
"""

from __future__ import annotations

import posix
import sys
from io import BytesIO, TextIOWrapper

from scalable.lib.ingest.fast_cgi.cached_settings import CachedSettings, find_cached_settings, fingerprint
from scalable.lib.ingest.fast_cgi.pool_client import guess_data_folder, write_all


def answer_update(folder: str, environment: dict[bytes, bytes]) -> None:
    """Store the update of this request, answer and end the process; come back when that is not the usual case.

    `folder` is `scalable/`, `environment` that of the process. Standard input is then as it was. An update may have
    been stored all the same, say when the server's answer was lost: storing it once more changes nothing.
    """
    if environment.get(b"REQUEST_METHOD") != b"POST" or b"HTTP_TRANSFER_ENCODING" in environment:
        return
    data_folder = guess_data_folder(folder.encode("utf-8", "surrogateescape"), environment)
    note = find_cached_settings(data_folder.decode("utf-8", "surrogateescape"), fingerprint(folder, environment))
    if note is None:
        return
    from scalable.lib.ingest.request_body import MAX_LENGTH_DIGITS, MAX_UPDATE_BYTES
    from scalable.lib.telegram.secret_token import SECRET_VARIABLE, is_telegram

    given = environment.get(SECRET_VARIABLE.encode(), b"").decode("utf-8", "surrogateescape")
    length = environment.get(b"CONTENT_LENGTH", b"")
    if not is_telegram({SECRET_VARIABLE: given}, note.secret) or not length.isdigit():
        return
    if len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_UPDATE_BYTES:
        return
    body = sys.stdin.buffer.read(int(length))
    answer = _stored(note, body) if len(body) == int(length) else None
    if answer is not None:
        write_all(1, answer)
        posix._exit(0)
    sys.stdin = TextIOWrapper(BytesIO(body))


def _stored(note: CachedSettings, body: bytes) -> bytes | None:
    """The answer for an update that is stored now; None for one that is not, or may not be."""
    from scalable.lib.errors import FastPathUnavailable, NotAnUpdate
    from scalable.lib.ingest.responses import stored
    from scalable.lib.queue.priority import priority_of
    from scalable.lib.telegram.update import read_update

    try:
        update = read_update(body, note.order)
        if update.update_id is None:  # could be stored twice
            return None
        job_id = note.enqueue.store(
            {
                "payload": update.payload,
                "update_id": update.update_id,
                "update_type": update.update_type,
                "lane": update.lane,
                "priority": priority_of(update.urgent_seconds),
                "urgent_seconds": update.urgent_seconds,
                "expires_seconds": update.expires_seconds,
            }
        )
    except (NotAnUpdate, FastPathUnavailable):
        return None
    _poke(note)
    if note.log_level in ("DEBUG", "INFO"):
        _log(id=job_id, update_id=update.update_id, type=update.update_type, bytes=len(body))
    return stored(job_id).for_cgi()


def _poke(note: CachedSettings) -> None:
    from scalable.lib.sockets import send_datagram

    try:  # noqa: SIM105 - contextlib would have to be loaded
        send_datagram(note.notification_socket.encode("utf-8", "surrogateescape"), b"!")
    except OSError:  # no pool, or one that has enough to do already
        pass


def _log(**fields: object) -> None:
    """The line of the webhook, without the weight of `logging`."""
    from time import gmtime, strftime

    from scalable.lib.logs import LINE, TIME, event

    asctime = strftime(TIME, gmtime())
    line = LINE % {"asctime": asctime, "levelname": "INFO", "message": event("update enqueued", **fields)}
    posix.write(2, f"{line}\n".encode())
