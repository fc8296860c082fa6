"""Which user of this machine answers at the other end of a connection. Imports next to nothing.

Sources: unix(7), SO_PEERCRED; sock_diag(7), which answers for one connection however many there are; proc(5),
/proc/net/tcp, where that is not allowed. It tells who is there, not whether that one may be trusted.
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
# Of nobody (RFC 5737): where it can be bound, ip_nonlocal_bind is on, and binding tells nothing.
ELSEWHERE = "192.0.2.1"
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
IPPROTO_TCP, ALL_STATES, NO_COOKIE = 6, b"\xff" * 4, b"\xff" * 8
# In an answer: behind the head (16 bytes), four bytes, the connection (48) and three numbers.
USER_PLACE, INODE_PLACE, ANSWER_BYTES = 80, 84, 88


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
    ours, theirs = _plain(here), _plain(there)
    (our_host, our_port), (host, port) = ours, theirs
    user = _user_by_netlink(ours, theirs)
    if user is not None:
        return user
    if our_host != host and not is_of_this_machine(host):
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


def _user_by_netlink(ours: tuple[str, int], theirs: tuple[str, int]) -> int | None:
    """Of the other end's socket; None when it is not found, or the machine does not answer."""
    if not ON_LINUX:
        return None
    (our_host, our_port), (host, port) = ours, theirs
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    ends = port.to_bytes(2, "big") + our_port.to_bytes(2, "big")
    for address in (host, our_host):
        ends += _socket.inet_pton(family, address).ljust(16, b"\0")
    asked = bytes([family, IPPROTO_TCP, 0, 0]) + ALL_STATES + ends + bytes(4) + NO_COOKIE
    head = (16 + len(asked), 4), (SOCK_DIAG_BY_FAMILY, 2), (NLM_F_REQUEST, 2), (0, 4), (0, 4)
    try:
        link = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
        try:
            link.settimeout(1.0)
            link.sendto(b"".join([number.to_bytes(size, sys.byteorder) for number, size in head]) + asked, (0, 0))
            answer, (sender, _) = link.recvfrom(4096)
        finally:
            link.close()
    except OSError:
        return None
    kind = int.from_bytes(answer[4:6], sys.byteorder)
    if sender != 0 or kind != SOCK_DIAG_BY_FAMILY or len(answer) < ANSWER_BYTES:
        return None
    is_open = answer[INODE_PLACE:ANSWER_BYTES] != bytes(4)
    return int.from_bytes(answer[USER_PLACE:INODE_PLACE], sys.byteorder) if is_open else None


def is_of_this_machine(host: str) -> bool:
    """Whether a socket can have this address; a machine may have several, and reach one from another."""
    return host.startswith("127.") or host == "::1" or (_can_be_bound(host) and not _can_be_bound(ELSEWHERE))


def _can_be_bound(host: str) -> bool:
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    probe = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        probe.bind((host, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


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
    except FileNotFoundError:  # no /proc, or a machine without IPv6; without a descriptor nothing is known
        return b""
    parts = []
    while part := posix.read(file, 65536):
        parts.append(part)
    posix.close(file)
    return b"".join(parts)
