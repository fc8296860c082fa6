"""Who listens in the place of the host's PHP-FPM: whether an update, and what the bot is told, may be sent there.

Whoever answers a FastCGI request reads the update, and says what the bot says: the worker makes calls of the Bot API
for it. Another customer may listen on a port while PHP-FPM is down, or make a socket where others write. Sources:
unix(7), SO_PEERCRED, which of a server is the user who called listen(2): of PHP-FPM its master; proc(5), /proc/net/tcp.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import stat
import sys
from pathlib import Path
from typing import Optional

from scalable.lib import peer_user
from scalable.lib.peer_user import is_of_this_machine, user_at_other_end

# A web server's user, or another one of the system: UID_MIN of login.defs(5). A customer is none.
FIRST_PERSON = 1000
LISTENS = "0A"


def stranger_at(link: socket.socket, path: str = "") -> Optional[str]:
    """The name of the user at the other end of `link`, when it is one who is not to be sent anything.

    `path` is that of a Unix socket. Raises OSError when the other end is gone.

    None: root, this user, a system user, and the one in whose folder a socket is, where nobody else can make one; also
    another machine, and whoever cannot be told, because there are no tables.
    """
    if not path and not is_of_this_machine(str(_plain(link.getpeername()[0]))):
        return None
    users: list[Optional[int]] = [] if path else [*_listeners(link.getpeername())]
    # Who listened until he had accepted has the other end.
    known = users or [user_at_other_end(link, path)]
    unknown = [user for user in known if user is not None and not _is_known(user, path)]
    return _name_of(unknown[0]) if unknown else None


def _is_known(user: int, path: str) -> bool:
    return user < FIRST_PERSON or user == os.geteuid() or (path != "" and _is_only_writer(user, Path(path)))


def _is_only_writer(user: int, path: Path) -> bool:
    """Whether beside root and this user only `user` can put a socket there, or change the way to it."""
    try:
        folders = [folder.stat() for folder in path.resolve().parents]
    except OSError:
        return False
    others_write = any(folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for folder in folders)
    return not others_write and {folder.st_uid for folder in folders} <= {0, os.geteuid(), user}


def _listeners(there: tuple[str, int]) -> list[int]:
    """The users who listen where the kernel leads a connection to this address: at the address itself, else at all of
    IPv4, else at all of IPv6. A socket of IPv6 alone looks like the last in the table, and takes none of IPv4."""
    address = _plain(there[0])
    found: dict[ipaddress.IPv4Address | ipaddress.IPv6Address, list[int]] = {}
    for table in peer_user.TABLES:
        for line in _lines(table):
            fields = line.split()
            host, _, port = fields[1].partition(":")
            if fields[3] == LISTENS and int(port, 16) == there[1]:
                found.setdefault(_address(host), []).append(int(fields[7]))
    everywhere = [ipaddress.IPv4Address(0)] if address.version == 4 else []
    return next((found[place] for place in (address, *everywhere, ipaddress.IPv6Address(0)) if place in found), [])


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _lines(table: str) -> list[str]:
    try:
        return Path(table).read_text("ascii").splitlines()[1:]
    except FileNotFoundError:  # no /proc, or a machine without IPv6
        return []


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As the tables have it: each four bytes as one number of this machine."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    address = ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
    return getattr(address, "ipv4_mapped", None) or address


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
