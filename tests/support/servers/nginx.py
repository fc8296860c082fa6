"""A private nginx for the tests: the server block of a host that has nginx alone, on a port of 127.0.0.1.

The program is of another Debian release (tests/install.py): no service starts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.places import private_command, private_root

from .children import Child, accepts_connections, free_port, wait_until_ready

NAME = "nginx-1.26"
PROGRAM = "usr/sbin/nginx"

# Its worker is root where the tests are: what it does not show, it is not for a mode of the file.
CONFIGURATION = """\
{user}
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
{block}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """Where a running nginx is reached and where it writes."""

    url: str
    log: Path
    process: Child = field(repr=False)

    def stop(self) -> None:
        """End it and its workers. Safe to repeat."""
        self.process.close()


def nginx_available() -> str | None:
    """None when nginx can be started here, otherwise the reason in one line."""
    if private_root(NAME).is_dir():
        return None
    return f"nginx: {NAME} is not there: python3 tests/install.py --only {NAME}"


def start_nginx(folder: Path, *, root: Path, block: str) -> Nginx:
    """A running nginx that shows `root`, with the lines `block` in its server block; the caller stops it.

    `folder` takes configuration and log. Raises DidNotStart with the end of the log.
    """
    folder.mkdir()
    port, log, configuration = free_port(), folder / "error.log", folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(CONFIGURATION.format(user=user, folder=folder, port=port, root=root, block=block))
    command = [*private_command(private_root(NAME), PROGRAM), "-p", str(folder), "-c", str(configuration)]
    # TERM and not KILL: only the master gets the signal, and it has to end its own workers.
    nginx = Nginx(f"http://127.0.0.1:{port}", log, Child([*command, "-e", str(log)], log=log, death_signal="TERM"))
    try:
        nginx.process.start()
        wait_until_ready(
            nginx.process,
            lambda: accepts_connections(port),
            what="nginx",
            log=log,
        )
    except BaseException:
        nginx.stop()
        raise
    return nginx
