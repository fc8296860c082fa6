"""Which users of this machine the database's password may be shown to: those a server or a proxy to it runs as.

Whoever answers a login can pass it on to the real server and come in by it, whatever the method. So nothing of it is
sent to a program of another customer of the host, who may listen where the server does not: in /tmp, or on a port.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from typing import Optional

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.dialects.address import SOCKET_PLACES, MySqlAddress

ROOT = 0
# A host's panel gives this name to no customer.
SERVER = "mysql"
# Servers and proxies to them, as their packages name the user; a customer could be called so, a system user is none.
PACKAGED = ("mariadb", "_mysql", "proxysql", "maxscale", "mysqlrouter", "haproxy", "stunnel4", "stunnel")
FIRST_PERSON = 1000  # UID_MIN of login.defs(5)
MAX_LINKS = 40  # path_resolution(7)


def check_server_user(address: MySqlAddress, user: Optional[int], path: str) -> None:
    """Raise DatabaseUnavailable when `user`, who answers at the address, is neither the server nor this user.

    `path` is the socket's, empty over TCP. None, a user who cannot be told, passes: it is another machine.
    """
    if user is None or _is_known(user, address, path):
        return
    name = name_of(user)
    raise DatabaseUnavailable(
        f"{address}: user {name} answers there, not mysql, root or the user of this installation, so nothing was sent; "
        f"if that is your database's server or a proxy to it, set BOT_DB_SERVER_USER={name}, else tell your host"
    )


def socket_of(address: MySqlAddress) -> Optional[str]:
    """The path of the server's socket, where it is reached by one. For `localhost` one that a stranger made is passed
    over: else he could keep the queue from its database."""
    if address.socket != "":
        return address.socket
    return next((path for path in SOCKET_PLACES if is_of_a_server(path, address)), None)


def is_of_a_server(path: str, address: MySqlAddress) -> bool:
    """Whether there is a socket that a server made, or this user; by no link of somebody else's."""
    makers = _makers(path)
    return bool(makers) and _is_socket(path) and all(_is_known(maker, address, path) for maker in makers)


def sockets_of_strangers(address: MySqlAddress) -> dict[str, str]:
    """Those that `socket_of` passes over because of who made them, each with his name."""
    strangers = {
        path: [maker for maker in _makers(path) if not _is_known(maker, address, path)] for path in SOCKET_PLACES
    }
    return {path: name_of(makers[0]) for path, makers in strangers.items() if makers}


def _is_known(user: Optional[int], address: MySqlAddress, path: str) -> bool:
    if user in (ROOT, os.geteuid()) or (user is not None and user in _server_users(address.server_user)):
        return True
    return user is not None and path != "" and user == _only_writer(path)


def _server_users(named: str) -> Iterator[int]:
    if named.isdigit():
        yield int(named)
    for name in (SERVER, named, *PACKAGED):
        try:
            user = pwd.getpwnam(name).pw_uid
        except (KeyError, ValueError):
            continue
        if name not in PACKAGED or user < FIRST_PERSON:
            yield user


def _only_writer(path: str) -> Optional[int]:
    """The owner of the socket's folder, when beside root and this user nobody else can put a socket there.

    That is a folder which root, or whoever wrote the settings, meant for the server. None where others write as well,
    such as /tmp, or may change the way to it.
    """
    try:
        folders = list(_folders(path))
    except OSError:
        return None
    owner = folders[-1].st_uid
    others_write = any(folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) for folder in folders)
    return None if others_write or {folder.st_uid for folder in folders} - {ROOT, os.geteuid(), owner} else owner


def _folders(path: str) -> Iterator[os.stat_result]:
    """Every folder in which a part of the path is looked up, links followed one by one. Raises OSError."""
    folder, parts, links = "/", path.split("/"), 0
    while parts:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        yield os.lstat(folder)
        place = os.path.dirname(folder) if part == ".." else os.path.join(folder, part)
        if not stat.S_ISLNK(os.lstat(place).st_mode):
            folder = place
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(f"{path}: too many links")
        target = os.readlink(place)
        folder, parts = "/" if target.startswith("/") else folder, target.split("/") + parts


def _makers(path: str) -> list[int]:
    """Who made the file there, and who the one that it is a link to; empty when there is none."""
    found = []
    for state_of in (os.lstat, os.stat):
        try:
            found.append(state_of(path).st_uid)
        except OSError:  # nothing there, or a link that leads nowhere
            break
    return found


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def name_of(user: int) -> str:
    """His name; the number where there is none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
