"""The CGI side of the gateway: passes a request on to the running pool and its answer back. Knows no application.

Imports nothing that takes time: with the flags -IS a whole request needs 13 ms, and `os` alone would be 2 of them.

The request goes as SCGI (python.ca/scgi/protocol.txt): all variables of the web server as they are, in one counted
block, then the body. Nothing a visitor sends can become another variable, because names and values are counted and
never parsed. The answer is counted, too, so that half an answer of a pool that died is never taken for one.
"""

import _socket
import posix
import sys
from io import BytesIO, TextIOWrapper

from scalable.lib.sockets import short_address

# The file name of the gateway's socket, in the data folder.
SOCKET_NAME = b".ht-gateway.sock"
# What the gateway says when it begins with a connection; nothing of a request is sent before.
GREETING = b"scalable 1\n"
# A larger body is refused anyway, and does not have to be passed on for that.
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_LENGTH_DIGITS = 10
# So long a gateway whose threads are all busy is waited for, and then so long for its answer: with the time that this
# process then needs for itself, still under the 60 s after which Telegram gives up.
GREETING_SECONDS = 1.0
ANSWER_SECONDS = 20.0


def forward_to_pool(script: str, environment: "dict[bytes, bytes]") -> None:
    """Answer this CGI request through the pool and end the process; come back when this process has to do it itself.

    `script` is the path of the entry script, `environment` that of the process. Standard input is then as it was. A
    pool that dies with the request may have done what was asked for: storing the same update once more changes
    nothing, and neither does anything else that can be asked for twice by two clicks.
    """
    folder, _, name = script.rpartition("/")
    length = environment.get(b"CONTENT_LENGTH") or b"0"
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_BODY_BYTES:
        return
    if b"HTTP_TRANSFER_ENCODING" in environment:
        return
    socket_path = guess_data_folder(folder.encode("utf-8", "surrogateescape"), environment) + b"/" + SOCKET_NAME
    if not _exists(socket_path):
        return
    body = _read(0, int(length))
    answer = None
    if len(body) == int(length):
        variables = {
            b"CONTENT_LENGTH": length,
            b"SCGI": b"1",
            **environment,
            b"SCALABLE_FOLDER": folder.encode("utf-8", "surrogateescape"),
            b"SCALABLE_SCRIPT": name.encode("utf-8", "surrogateescape"),
        }
        answer = _answer(socket_path, netstring(b"".join(b"%b\0%b\0" % pair for pair in variables.items())) + body)
    if answer:
        write_all(1, answer)
        posix._exit(0)
    sys.stdin = TextIOWrapper(BytesIO(body))


def netstring(content: bytes) -> bytes:
    """`content` with its length before it: `5:hello,`."""
    return b"%d:%b," % (len(content), content)


def guess_data_folder(folder: bytes, environment: "dict[bytes, bytes]") -> bytes:
    """The data folder of the installation in `folder`. A guess is enough: what is found there says whose it is."""
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
    text = _read(file, 65536)
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


def _answer(path: bytes, request: bytes) -> "bytes | None":
    """What the gateway answers; empty when it declines, None when there is none or it did not finish."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(GREETING_SECONDS)
        with short_address(path) as address:
            connection.connect(address)
        if connection.recv(len(GREETING)) != GREETING:
            return None
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(request)
        return _received(connection)
    except OSError:
        return None
    finally:
        connection.close()


def _received(connection: _socket.socket) -> "bytes | None":
    """The content of a netstring; None when it is not whole."""
    received = connection.recv(65536)
    while b":" not in received[:20]:
        more = connection.recv(65536)
        if not more or len(received) > 20:
            return None
        received += more
    length, _, content = received.partition(b":")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        return None
    parts, missing = [content], int(length) + 1 - len(content)
    while missing > 0:
        more = connection.recv(min(missing, 1 << 20))
        if not more:
            return None
        parts.append(more)
        missing -= len(more)
    whole = b"".join(parts)
    return whole[:-1] if missing == 0 and whole.endswith(b",") else None


def _read(file: int, length: int) -> bytes:
    """At most so many bytes; fewer when there are no more."""
    parts = []
    while length > 0:
        part = posix.read(file, min(length, 1 << 20))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def write_all(file: int, content: bytes) -> None:
    """Write it all, unless nobody reads it any more."""
    try:
        while content:
            content = content[posix.write(file, content) :]
    except BrokenPipeError:  # the visitor left
        pass
