"""Another user of this machine who listens where a database server might: asks for passwords, or passes logins on.

A real process of a real other user, because what is tested is what the kernel says of it; so it needs root.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Union

from tests.support.need import need

STRANGER = "nobody"
PYTHON = "/usr/bin/python3"  # that of the tests may be in a folder which is closed to others
Place = Union[str, tuple[str, int]]
SALT = b"12345678901234567890"
# Plugin of the greeting, plugin the client is asked to switch to, what is asked with it.
Question = tuple[str, str, bytes]

PROGRAM = r"""
import json, os, select, socket, sys, threading
os.umask(0)
place, greets, switches, question, forward, trick = json.loads(sys.argv[1])
SALT = b"12345678901234567890"
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x800 | 0x2000 | 0x8000 | 0x80000  # 0x800: TLS
family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
listener = socket.socket(family)
if family == socket.AF_INET6:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind(place if isinstance(place, str) else tuple(place))
listener.listen(8)
heard = []

def packet(number, content):
    return len(content).to_bytes(3, "little") + bytes([number % 256]) + content

def ask(client):
    low, high = (CAPABILITIES & 0xFFFF).to_bytes(2, "little"), (CAPABILITIES >> 16).to_bytes(2, "little")
    greeting = b"\x0a5.5.5-10.11.0-MariaDB\0" + bytes(4) + SALT[:8] + b"\0" + low + b"\x2d\x02\0" + high
    client.sendall(packet(0, greeting + bytes([21]) + bytes(10) + SALT[8:] + b"\0" + greets.encode() + b"\0"))
    if trick == "hangs up his half":
        client.shutdown(socket.SHUT_WR)
    answer = client.recv(65536)
    if not answer:
        return
    heard.append(answer)
    client.sendall(packet(2, b"\xfe" + switches.encode() + b"\0" + bytes.fromhex(question)))
    while True:
        answer = client.recv(65536)
        if not answer:
            return
        heard.append(answer)
        client.sendall(packet(answer[3] + 1, b"\x01\x04"))

def pass_on(client):
    server = socket.create_connection(tuple(forward))
    while True:
        for end in select.select([client, server], [], [])[0]:
            data = end.recv(65536)
            if not data:
                server.close()
                return
            if end is client:
                heard.append(data)
            (server if end is client else client).sendall(data)

def serve(client):
    with client:
        try:
            (pass_on if forward else ask)(client)
        except OSError:
            pass

def accept():
    while True:
        client = listener.accept()[0]
        if trick == "listens no more":
            listener.close()
        if trick == "hangs up at once":
            client.shutdown(socket.SHUT_WR)
        threading.Thread(target=serve, args=(client,), daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
print("" if isinstance(place, str) else listener.getsockname()[1], flush=True)
for line in sys.stdin:
    print(b"".join(heard).hex(), flush=True)
os._exit(0)
"""


class Stranger:
    """The running process. `port` is where it listens, 0 for a socket."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line() or 0)

    def heard(self) -> bytes:
        """All that it was told so far, by everybody."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return bytes.fromhex(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the stranger did not start, or is gone"
        return line.strip()


@contextmanager
def stranger(
    place: Place,
    question: Question = ("mysql_native_password", "mysql_native_password", SALT + b"\0"),
    pass_on_to: Sequence[str | int] = (),
    trick: str = "",
) -> Iterator[Stranger]:
    """A stranger at the path, or at host and port; with `pass_on_to`, host and port, he passes all on to there.

    `trick`, so that the kernel's tables do not show him as one at the other end of a connection that stands: "hangs
    up his half" after the greeting, or "hangs up at once", and hears what comes all the same; "listens no more".
    """
    need(None if os.geteuid() == 0 else "another user: needs root")
    greets, switches, asked = question
    arguments = json.dumps([place, greets, switches, asked.hex(), list(pass_on_to), trick])
    with subprocess.Popen(
        [PYTHON, "-c", PROGRAM, arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=STRANGER,
        group="nogroup",
        extra_groups=[],
        cwd="/",
        env={},
    ) as process:
        try:
            yield Stranger(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def open_to_all(folder: Path) -> Path:
    """The folder, now one like /tmp, with a way to it for everybody."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode & 0o7777 | 0o011)
    folder.chmod(0o1777)
    return folder
