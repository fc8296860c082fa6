"""Which user of this machine answers at the other end of a connection. Imports next to nothing.

Sources: unix(7), SO_PEERCRED; proc(5), /proc/net/tcp. It tells who is there, not whether that one may be trusted.
"""

from __future__ import annotations

import _socket
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

ON_LINUX: bool = sys.platform == "linux"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
# A table is read in parts, and a line may be missed while others end.
LOOKS = 5


def user_at_other_end(connection: socket, path: str = "") -> int | None:
    """The number of the user; None when it is not on this machine, or the machine has no such tables.

    `path` is that of a Unix socket. Over TCP ask only after something was received: a connection that nobody has
    accepted yet belongs to root. Raises OSError when the other end is gone, or is of this machine and not found.
    """
    if connection.family != _socket.AF_UNIX:
        return _user_by_address(connection.getsockname(), connection.getpeername())
    if ON_LINUX:
        credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[4:8], sys.byteorder)
    return posix.stat(path).st_uid  # whoever made the file


def _user_by_address(here: tuple[str, int], there: tuple[str, int]) -> int | None:
    (our_host, our_port), (host, port) = _plain(here), _plain(there)
    if our_host != host and not host.startswith("127."):
        return None
    forms = [(host, our_host)] if ":" in host else [(host, our_host), (f"::ffff:{host}", f"::ffff:{our_host}")]
    wanted = [b" %b:%04X %b:%04X " % (_in_table(a), port, _in_table(b), our_port) for a, b in forms]
    has_tables = False
    for table in TABLES * LOOKS:
        content = _content(table)
        has_tables = has_tables or content != b""
        for line in wanted:
            _, _, found = content.partition(line)
            # State, queues, timers, retransmits, user, time-out, inode. Any state: who has said his last hears on.
            fields = found.split(None, 7)
            if len(fields) > 6 and fields[6] != b"0":  # no inode: nobody has it open
                return int(fields[4])
    if has_tables:
        raise OSError(f"no user of this machine can be told to answer at {host}:{port}")
    return None


def _plain(address: tuple[str, int]) -> tuple[str, int]:
    """Host and port, of an IPv4 address as it is written without IPv6."""
    host = address[0].partition("%")[0]
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), address[1]


def _in_table(host: str) -> bytes:
    """As the tables have it: each four bytes as one number of this machine."""
    packed = _socket.inet_pton(_socket.AF_INET6 if ":" in host else _socket.AF_INET, host)
    words = (int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4))
    return b"".join(b"%08X" % word for word in words)


def _content(table: str) -> bytes:
    try:
        file = posix.open(table, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # no /proc, or a machine without IPv6
        return b""
    parts = []
    while part := posix.read(file, 65536):
        parts.append(part)
    posix.close(file)
    return b"".join(parts)
