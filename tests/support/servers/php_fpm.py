"""A private PHP-FPM for the tests: a pool of its own on a Unix socket, as a host has one for each of its customers.

Knows nothing about what it runs. The program is of another Debian release (tests/install.py): no service starts.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.places import private_command, private_root

from .children import Child, wait_until_ready

NAME, NAME_WITH_MYSQL, NAME_WITH_PDO = "php-fpm-8.4", "php-fpm-mysql", "php-fpm-pdo"
EXTENSIONS = {
    NAME: (),
    NAME_WITH_MYSQL: ("mysqlnd", "pdo", "pdo_mysql"),
    NAME_WITH_PDO: ("mysqlnd", "pdo", "pdo_mysql", "pdo_sqlite"),
}
PROGRAM = "usr/sbin/php-fpm8.4"

CONFIGURATION = """\
[global]
daemonize = no
pid = {folder}/pid
error_log = {folder}/fpm.log
[bot]
{user}
listen = {socket}
listen.mode = 0600
pm = static
pm.max_children = {children}
{pool}
"""


@dataclass(frozen=True)
class PhpFpm:
    """Where one running PHP-FPM is reached and where it writes."""

    socket: Path
    log: Path
    process: Child = field(repr=False)

    def stop(self) -> None:
        """End it and its children, and remove its socket; the log stays. Safe to repeat."""
        self.process.close()
        shutil.rmtree(self.socket.parent, ignore_errors=True)


def php_fpm_available(*, mysql: bool = False, name: str = NAME) -> str | None:
    """None when PHP-FPM can be started here, otherwise the reason in one line."""
    name = NAME_WITH_MYSQL if mysql else name
    if private_root(name).is_dir():
        return None
    return f"PHP-FPM: {name} is not there: python3 tests/install.py --only {name}"


def start_php_fpm(folder: Path, *, children: int = 2, pool: str = "", mysql: bool = False, name: str = NAME) -> PhpFpm:
    """A running PHP-FPM with `children` processes, which answers on its socket; the caller stops it.

    `folder` takes configuration and log; `pool` are further lines of its pool; `mysql`: with PDO for MySQL; `name`:
    another of the programs above. Its children run as this user, unless `pool` names one. Raises DidNotStart with the
    end of the log.
    """
    path = Path(tempfile.mkdtemp(prefix="fpm-")) / "s"  # a socket path has 107 characters at most (unix(7))
    log = folder / "fpm.log"
    user = "user = root\ngroup = root" if os.geteuid() == 0 else ""
    (folder / "fpm.conf").write_text(
        CONFIGURATION.format(folder=folder, user=user, socket=path, children=children, pool=pool)
    )
    name = NAME_WITH_MYSQL if mysql else name
    root = private_root(name)
    command = private_command(root, PROGRAM)
    command += ["--nodaemonize", "-n", "--fpm-config", str(folder / "fpm.conf")]
    extensions = next(iter(root.glob("usr/lib/php/2*")))
    command += ["-d", f"extension_dir={extensions}", "-d", "zend_extension=opcache.so", "-d", "extension=posix.so"]
    for extension in EXTENSIONS[name]:
        command += ["-d", f"extension={extension}.so"]
    command += ["--allow-to-run-as-root"] if os.geteuid() == 0 else []
    # TERM and not KILL: only the master gets the signal, and it has to end its own children.
    fpm = PhpFpm(path, log, Child(command, log=log, death_signal="TERM"))
    try:
        fpm.process.start()
        # Its name is there a moment before anything listens at it.
        wait_until_ready(fpm.process, lambda: answers(path), what="PHP-FPM", log=log)
    except BaseException:
        fpm.stop()
        raise
    return fpm


def answers(path: Path) -> bool:
    """Whether something listens at this Unix socket."""
    with socket.socket(socket.AF_UNIX) as link:
        return link.connect_ex(str(path)) == 0
