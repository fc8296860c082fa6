"""A MariaDB Galera cluster of three nodes on this machine: started, looked at, cut down by KILL and brought back.

The nodes begin as copies of the first one's data, so that one that joins, or comes back, is only sent the changes it
missed (an incremental state transfer); the server wants a script even for that, which is here. A node that needs a full
copy of another one's data is not what this shows: it would not start.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from scalable.lib.queue.dialects.address import MySqlAddress
from tests.support.servers.children import Child, free_port, tail, wait_until_ready
from tests.support.servers.database_builds import (
    ADMIN_USER,
    BOT_USER,
    PASSWORD,
    SYSTEM_SERVER,
    Build,
    data_template,
    find_build,
)
from tests.support.servers.database_servers import DatabaseServer, available
from tests.support.servers.site import wait_until

NODES = 3
PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
# A statement waits until its node has all that was committed anywhere before (manual: "wsrep_sync_wait").
EVERYTHING = 7
NEW_CLUSTER = "--wsrep-new-cluster"
UNKNOWN_STATE = "00000000-0000-0000-0000-000000000000"
# What belongs to a node and not to its data.
OF_ONE_NODE = shutil.ignore_patterns("galera.cache", "gvwstate.dat")
# What the server runs on the node that joins, and on the one that gives (manual: "Introduction to State Snapshot
# Transfers", scriptable). The first says where it can be told the position; the second tells it there, by a pipe.
TRANSFER_METHOD = "changes_only"
TRANSFER_SCRIPT = """\
#!/bin/sh
bypass=no
while [ $# -gt 0 ]; do
    case $1 in
        --role) role=$2; shift ;;
        --address) address=$2; shift ;;
        --datadir) data=$2; shift ;;
        --gtid) position=$2; shift ;;
        --bypass) bypass=yes ;;
        --mysqld-args) break ;;
    esac
    shift
done
if [ "$role" = joiner ]; then
    pipe=${data%/}/transfer
    rm -f "$pipe" && mkfifo "$pipe" && echo "ready $pipe" && exec cat "$pipe"
fi
[ "$bypass" = yes ] || { echo "a full copy of the data was asked for" >&2; exit 1; }
echo "$position" > "$address" && echo "done $position"
"""


@dataclass(frozen=True)
class Ports:
    """Where a node listens: for clients, for the other nodes, and for the changes it missed."""

    clients: int
    group: int
    changes: int


@dataclass(frozen=True)
class View:
    """What a node says about its cluster: how many it sees, whether it takes statements, and its own state."""

    size: int
    is_ready: bool
    state: str

    @property
    def is_synced(self) -> bool:
        """True when the node is a full member."""
        return self.is_ready and self.state == "Synced"


class GaleraNode:
    """One node; `server` is how it is reached, and changes when the node is started again."""

    def __init__(self, build: Build, name: str, folder: Path, ports: Ports, peers: str, socket: Path) -> None:
        self._build = build
        self._name = name
        self._folder = folder
        self._ports = ports
        self._peers = peers
        self._socket = socket
        self.server = self._server(())

    def prepare(self, other: GaleraNode | None = None) -> None:
        """Its data folder: a fresh one, or what the other node had when it stopped."""
        data = data_template(self._build) if other is None else other._folder / "data"
        shutil.copytree(data, self._folder / "data", ignore=OF_ONE_NODE)
        (self._folder / "tmp").mkdir()

    def start(self, *options: str) -> None:
        """Start the process; returns when it is a member of the cluster. Raises DidNotStart."""
        self._socket.unlink(missing_ok=True)
        self.server.process.close()
        self.server = self._server(options)
        self.server.process.start()
        wait_until_ready(
            self.server.process,
            self._is_member,
            what=self.server.name,
            log=self.server.log,
        )

    def position(self) -> str:
        """The state that the data of a node that died has, found as Debian's galera_recovery does it.

        The server says it and should end then; of MariaDB 10.11.19 one in several never does, so it is not waited for.
        """
        log = self._folder / "recovery.log"
        log.unlink(missing_ok=True)
        server = Child([*self._command(), "--wsrep-recover"], log=log, environment=self._environment())
        server.start()
        try:
            wait_until_ready(
                server,
                lambda: _position_in(log) is not None,
                what=f"recovery of {self._name}",
                log=log,
            )
        finally:
            server.kill()
            server.close()
        return str(_position_in(log))

    def sees(self) -> View | None:
        """What it says; None while it does not answer."""
        try:
            status = dict(self.ask("SHOW STATUS LIKE 'wsrep_%'"))
        except (pymysql.err.Error, OSError):
            return None
        return View(
            int(status.get("wsrep_cluster_size", 0)),
            status.get("wsrep_ready") == "ON",
            status.get("wsrep_local_state_comment", ""),
        )

    def ask(self, statement: str, database: str | None = None, wait_for: int = 0) -> list[tuple[Any, ...]]:
        """The rows of a statement of the administrator; `wait_for` is its wsrep_sync_wait."""
        with self.server.connect(database, as_admin=True) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION wsrep_sync_wait = %s", (wait_for,))
            cursor.execute(statement)
            return list(cursor.fetchall())

    def set(self, option: str, value: str) -> None:
        """Change an option of the provider while it runs (manual: "wsrep_provider_options")."""
        self.ask(f"SET GLOBAL wsrep_provider_options = '{option}={value}'")

    def may_come_back(self) -> bool:
        """Whether its data is of a known state; while DDL runs, the node notes that it is not (`grastate.dat`)."""
        noted = (self._folder / "data" / "grastate.dat").read_text(encoding="ascii")
        return re.search(rf"^uuid: +(?!{UNKNOWN_STATE})[0-9a-f-]{{36}}$", noted, re.MULTILINE) is not None

    def log_tail(self) -> str:
        """The end of its log, for a message."""
        return tail(self.server.log)

    def _is_member(self) -> bool:
        view = self.sees()
        return view is not None and view.is_synced

    def _server(self, more: Sequence[str]) -> DatabaseServer:
        log = self._folder / "server.log"
        process = Child([*self._command(), *more], log=log, environment=self._environment())
        return DatabaseServer(
            f"{self._name} of Galera",
            self._build.version,
            str(self._socket),
            self._ports.clients,
            self._folder,
            log,
            process,
            user=BOT_USER,
            admin_user=ADMIN_USER,
            password=PASSWORD,
        )

    def _environment(self) -> dict[str, str]:
        """The server finds the script by PATH."""
        return {**os.environ, "PATH": f"{self._folder.parent}:{os.environ['PATH']}"}

    def _command(self) -> list[str]:
        ports = self._ports
        provider = {
            "gmcast.listen_addr": f"tcp://127.0.0.1:{ports.group}",
            "ist.recv_addr": f"127.0.0.1:{ports.changes}",
            "gcache.size": "64M",
        }
        return [
            *self._build.command,
            *self._build.base_options(self._folder / "data", self._folder / "tmp"),
            f"--socket={self._socket}",
            f"--port={ports.clients}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self._folder}/server.pid",
            "--skip-name-resolve",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={PROVIDER}",
            f"--wsrep-cluster-address={self._peers}",
            f"--wsrep-node-name={self._name}",
            f"--wsrep-node-address=127.0.0.1:{ports.group}",
            f"--wsrep-sst-method={TRANSFER_METHOD}",
            "--wsrep-provider-options=" + ";".join(f"{name}={value}" for name, value in provider.items()),
        ]


class GaleraCluster:
    """Three nodes, numbered from 0, of which one at a time may be killed and brought back."""

    def __init__(self, folder: Path) -> None:
        """Prepares them in `folder`. Raises NotAvailable when this machine has no MariaDB."""
        build = find_build(SYSTEM_SERVER)
        script = folder / f"wsrep_sst_{TRANSFER_METHOD}"
        script.write_text(TRANSFER_SCRIPT)
        script.chmod(0o755)
        self._sockets = Path(tempfile.mkdtemp(prefix="db-"))
        ports = [Ports(free_port(), free_port(), free_port()) for _ in range(NODES)]
        peers = "gcomm://" + ",".join(f"127.0.0.1:{port.group}" for port in ports)
        self.nodes = [
            GaleraNode(
                build, f"node-{number}", folder / f"node-{number}", ports[number], peers, self._sockets / str(number)
            )
            for number in range(NODES)
        ]

    def start(self) -> None:
        """Make the first node a cluster of its own, copy it, and start all; returns when each is a member."""
        first, *others = self.nodes
        first.prepare()
        first.start(NEW_CLUSTER)
        first.server.process.stop()
        for node in others:
            node.prepare(first)
        first.start(NEW_CLUSTER)
        for node in others:
            node.start()

    def sees(self, number: int) -> View | None:
        """What the node says about the cluster; None while it does not answer."""
        return self.nodes[number].sees()

    def kill(self, number: int) -> None:
        """End the node as a power cut would; not in the middle of DDL, after which it would need a full copy."""
        wait_until(self.nodes[number].may_come_back, self.log_tails)
        self.nodes[number].server.kill()

    def bring_back(self, number: int) -> None:
        """Start a killed node on what it had; returns when it has caught up. Raises DidNotStart."""
        node = self.nodes[number]
        node.start(f"--wsrep-start-position={node.position()}")

    def create_database(self) -> str:
        """An empty database that every node has; its name."""
        name = self.nodes[0].server.create_database()
        self.record()
        return name

    def address(self, number: int, database: str) -> MySqlAddress:
        """A database as it is reached at one node."""
        server = self.nodes[number].server
        return MySqlAddress(server.host, server.port, None, database, server.user, server.password)

    def record(self) -> None:
        """Return when every node has what was committed at any node before."""
        for node in self.nodes:
            node.ask("SELECT 1", wait_for=EVERYTHING)

    @contextmanager
    def held_back(self, number: int, database: str) -> Iterator[None]:
        """While the block runs, the node gets what others commit but does not show it: as one that cannot keep up.

        It applies changes in their order, and the first of them is to a table that somebody locked there.
        """
        other = self.nodes[(number + 1) % NODES]
        other.ask("CREATE TABLE IF NOT EXISTS obstacle (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY)", database)
        self.record()
        with self.nodes[number].server.connect(database, as_admin=True) as holder, holder.cursor() as cursor:
            cursor.execute("LOCK TABLES obstacle WRITE")
            other.ask("INSERT INTO obstacle VALUES ()", database)
            yield
            cursor.execute("UNLOCK TABLES")

    def log_tails(self) -> list[str]:
        """The ends of all logs, for a message."""
        return [node.log_tail() for node in self.nodes]

    def stop(self) -> None:
        """End every node in order, by force after 20 seconds; the folder stays."""
        for node in reversed(self.nodes):
            node.server.process.close()
        shutil.rmtree(self._sockets, ignore_errors=True)


def _position_in(log: Path) -> str | None:
    found = re.search(r"Recovered position:\s*(\S+:-?\d+)\n", log.read_text(errors="replace"))
    return found and found.group(1)


def galera_available() -> str | None:
    """None when a cluster can be started here, otherwise the reason in one line."""
    if not PROVIDER.exists():
        return f"{PROVIDER} is not there: python3 tests/install.py --only galera-4"
    return available(SYSTEM_SERVER)


@contextmanager
def running_cluster(folder: Path) -> Iterator[GaleraCluster]:
    """A cluster that ends with the block."""
    with ExitStack() as stack:
        cluster = GaleraCluster(folder)
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster
