"""The CGI side of the hand-over: passes a request on to the running pool and its response back. Imports no application.

Imports nothing that takes time: with the flags -IS a whole request needs 13 ms, and `os` alone would be 2 of them.
"""

import _socket
import posix
import sys
from io import BytesIO, TextIOWrapper

from scalable.lib.ingest.fast_cgi.protocol import (
    GREETING,
    MAX_BODY_BYTES,
    MAX_RESPONSE_BYTES,
    SOCKET_NAME,
    netstring,
    read_netstring,
)
from scalable.lib.ingest.request_body import content_length, read_up_to
from scalable.lib.sockets import short_address

# How long a gateway whose threads are all busy is waited for, and then its response: with the time that this process
# then needs for itself, still under the 60 s after which Telegram gives up.
GREETING_SECONDS = 1.0
ANSWER_SECONDS = 20.0
ROOT = 0
ON_LINUX: bool = sys.platform == "linux"


def forward_to_pool(script: str, environment: "dict[bytes, bytes]") -> None:
    """Answer this CGI request through the pool and end the process; return when this process has to do it itself.

    `script` is the path of the entry script, `environment` that of the process. Standard input is then as it was. A
    pool that dies with the request may have done what was asked for: storing the same update once more changes
    nothing, and neither does anything else that can be asked for twice by two clicks.
    """
    folder, _, name = os_encoded(script).rpartition(b"/")
    value = environment.get(b"CONTENT_LENGTH") or b"0"
    try:
        length = content_length(value)
    except ValueError:
        return
    if length > MAX_BODY_BYTES or b"HTTP_TRANSFER_ENCODING" in environment:
        return
    socket_path = guess_data_folder(folder, environment) + b"/" + SOCKET_NAME
    if not _exists(socket_path):
        return
    body = read_up_to(lambda size: posix.read(0, size), length)
    response = None
    if len(body) == length:
        variables = {
            b"CONTENT_LENGTH": value,
            b"SCGI": b"1",
            **environment,
            b"SCALABLE_FOLDER": folder,
            b"SCALABLE_SCRIPT": name,
        }
        response = _response(socket_path, netstring(b"".join(b"%b\0%b\0" % pair for pair in variables.items())) + body)
    if response:
        write_all(1, response)
        posix._exit(0)
    sys.stdin = TextIOWrapper(BytesIO(body))


def os_encoded(path: str) -> bytes:
    """`path` as os.fsencode makes it, without importing `os`."""
    return path.encode("utf-8", "surrogateescape")


def guess_data_folder(folder: bytes, environment: "dict[bytes, bytes]") -> bytes:
    """The data folder of the installation in `folder`. A guess is enough: the files there name their installation."""
    data_folder = environment.get(b"BOT_DATA_DIR")
    if not data_folder:
        settings_file = environment.get(b"BOT_CONFIG") or b".htenv"
        data_folder = _data_folder_of(settings_file if settings_file[:1] == b"/" else folder + b"/" + settings_file)
    return data_folder if data_folder[:1] == b"/" else folder + b"/" + data_folder


def _data_folder_of(settings_file: bytes) -> bytes:
    try:
        file = posix.open(settings_file, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b".htdata"
    text = read_up_to(lambda size: posix.read(file, size), 65536)
    posix.close(file)
    for line in text.split(b"\n") if b"BOT_DATA_DIR" in text else ():
        name, _, value = line.partition(b"=")
        if name.strip() == b"BOT_DATA_DIR" and value.strip():
            return value.strip().strip(b"'\"")
    return b".htdata"


def _exists(path: bytes) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _response(path: bytes, request: bytes) -> "bytes | None":
    """The gateway's response; empty when it declines, None when there is none or it did not finish."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(GREETING_SECONDS)
        with short_address(path) as address:
            connection.connect(address)
        if _user_of(connection, path) not in (posix.geteuid(), ROOT):
            return None
        if connection.recv(len(GREETING)) != GREETING:
            return None
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(request)
        return read_netstring(connection.recv, MAX_RESPONSE_BYTES)
    except (OSError, ValueError):
        return None
    finally:
        connection.close()


def _user_of(connection: _socket.socket, path: bytes) -> int:
    """Who listens there: where others may write in the data folder, one of them could, and get cookies and secrets.

    As peer_user.py, which is not imported here: it would be one module more for each request.
    """
    if ON_LINUX:
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # unix(7)
        return int.from_bytes(credentials[4:8], sys.byteorder)
    return posix.stat(path).st_uid


def write_all(file: int, content: bytes) -> None:
    """Write it all, unless the reader is gone."""
    try:
        while content:
            content = content[posix.write(file, content) :]
    except BrokenPipeError:  # the visitor left
        pass
