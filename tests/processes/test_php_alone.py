"""PHP that stores an update without Python: who is told the login of the database, with another user about."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.queue.dialects.address import MySqlAddress
from tests.processes.test_php_door import ALONE, FOLDER, PHP, PHP_CGI, ask, php
from tests.support.fakes.stranger import STRANGER, open_to_all, stranger
from tests.support.need import need
from tests.support.servers.databases import Servers
from tests.support.servers.site import copy_plugin

CLEAR = ("mysql_native_password", "mysql_clear_password", b"")
CALL = "require '{folder}/lib/door/door.php'; require '{folder}/lib/door/server_place.php'; echo json_encode({what});"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    need(None if Path(PHP_CGI).exists() and Path(PHP).exists() else "PHP: not installed: python3 tests/install.py")
    return copy_plugin(tmp_path)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    yield open_to_all(folder)
    shutil.rmtree(folder)


def tell(plugin: Path, host: str, name: str = "n", user: str = "u", password: str = "p4ss") -> None:
    settings = {"HOST": host, "NAME": name, "USER": user, "PASS": password}
    (plugin / ".htenv").write_text("".join(f"BOT_DB_{key}='{value}'\n" for key, value in settings.items()))


def store(plugin: Path, *options: str, program: str = PHP_CGI) -> tuple[bytes, str]:
    """Head of the answer, and what was written beside it."""
    head, _, beside = ask(plugin, b'{"update_id": 1}', *ALONE, *options, program=program)
    assert "p4ss" not in beside
    return head, beside


def called(what: str) -> object:
    return json.loads(php(CALL.format(folder=FOLDER, what=what), ""))


def own_address(family: socket.AddressFamily, elsewhere: str) -> str:
    """That of this machine in its network, from where it would speak to that other one."""
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        try:
            link.connect((elsewhere, 9))
        except OSError:
            need(f"network: this machine has no address to reach {elsewhere}")
        return str(link.getsockname()[0])


# By an address

PLACES = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0.0.0.0",
    "localhost:",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0.0.0.0]",
    "own",
    "own, as IPv6",
]


@pytest.mark.parametrize("place", PLACES)
def test_the_login_is_told_to_no_other_user_by_whatever_address_of_this_machine(plugin: Path, place: str) -> None:
    own = own_address(socket.AF_INET, "192.0.2.77") if place.startswith("own") else ""
    place = {"own": own, "own, as IPv6": f"[::ffff:{own}]"}.get(place, place.rstrip(":"))
    with stranger(("::", 0), CLEAR) as him:
        tell(plugin, f"{place}:{him.port}")

        head, beside = store(plugin)

        assert b"Status: 503" in head
        assert "so nothing was sent" in beside
        assert him.heard() == b""


def test_nor_by_an_address_of_this_machine_in_ipv6(plugin: Path) -> None:
    own = own_address(socket.AF_INET6, "2001:db8::1")
    with stranger((own, 0), CLEAR) as him:
        tell(plugin, f"[{own}]:{him.port}")

        assert "so nothing was sent" in store(plugin)[1]
        assert him.heard() == b""


@pytest.mark.parametrize("hosts", ["::1 db.example", "::1 db.example\n127.0.0.1 db.example", "127.0.0.3 db.example"])
def test_nor_by_a_name(plugin: Path, tmp_path: Path, hosts: str) -> None:
    with stranger(("::", 0), CLEAR) as him:
        tell(plugin, f"db.example:{him.port}")

        head, beside = store(plugin, program=with_hosts(tmp_path, hosts))

        assert b"Status: 503" in head
        assert "no server of a known user is seen" in beside
        assert him.heard() == b""


def with_hosts(folder: Path, hosts: str) -> str:
    """A php-cgi that has another /etc/hosts."""
    can = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    need(None if can.returncode == 0 else "unshare(1): needs root")
    (folder / "hosts").write_text(f"{hosts}\n")
    program = folder / "php-cgi"
    inner = 'mount --make-rprivate / && mount --bind "$1" /etc/hosts && shift && exec "$@"'
    program.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{inner}' sh {folder}/hosts {PHP_CGI} \"$@\"\n")
    program.chmod(0o755)
    return str(program)


def test_nor_where_php_may_take_no_address(plugin: Path) -> None:
    """It cannot be told then which are of this machine."""
    own = own_address(socket.AF_INET, "192.0.2.77")
    with stranger(("0.0.0.0", 0), CLEAR) as him:
        tell(plugin, f"{own}:{him.port}")
        forbidden = "disable_functions=proc_open,stream_socket_server,gethostbynamel,posix_getpwnam"

        head, _, beside = ask(plugin, b'{"update_id": 1}', "-d", forbidden)

        assert b"Status: 503" in head
        assert "so nothing was sent" in beside
        assert him.heard() == b""


def test_an_address_that_nobody_can_take_here_is_of_another_machine() -> None:
    """TEST-NET-3 and the like are nobody's. What is of nobody of these is refused."""
    elsewhere = ["203.0.113.7", "198.51.100.7", "2001:db8::7"]
    here = ["127.0.0.1", "127.9.9.9", "::1", own_address(socket.AF_INET, "192.0.2.77")]

    told = called(f"array_map('scalable_is_elsewhere', {json.dumps(elsewhere + here)})")

    assert told == [True] * len(elsewhere) + [False] * len(here)


def fresh_tables(servers: Servers, plugin: Path) -> tuple[MySqlAddress, object]:
    """A database with our tables, which the plugin is set to; and how making them went."""
    real = servers.fresh_database("mariadb-10.11")
    tell(plugin, f"127.0.0.1:{real.port}", real.database, real.user, real.password)
    return real, subprocess.run([sys.executable, str(plugin / "config.py")], capture_output=True, check=False)


@pytest.mark.parametrize("his", ["127.0.0.2", "::1"])
def test_a_server_is_found_whoever_listens_at_another_address_with_its_port(
    servers: Servers, plugin: Path, his: str
) -> None:
    real, made = fresh_tables(servers, plugin)
    with stranger((his, real.port)) as him:
        _, content, beside = ask(plugin, b'{"update_id": 1}', *ALONE)

        assert b'"queued_job_id":' in content, (made, beside)
        assert him.heard() == b""


def test_a_name_is_tried_address_by_address_without_those_of_strangers(
    servers: Servers, plugin: Path, tmp_path: Path
) -> None:
    real, made = fresh_tables(servers, plugin)
    tell(plugin, f"db.example:{real.port}", real.database, real.user, real.password)
    with stranger(("::1", real.port), CLEAR) as him:
        program = with_hosts(tmp_path, "::1 db.example\n127.0.0.1 db.example")
        _, content, beside = ask(plugin, b'{"update_id": 1}', *ALONE, program=program)

        assert b'"queued_job_id":' in content, (made, beside)
        assert him.heard() == b""


# By a socket


@pytest.mark.parametrize("host", ["socket", "localhost"])
def test_the_login_is_told_to_no_socket_of_another_user(plugin: Path, shared: Path, host: str) -> None:
    with stranger(str(shared / "s"), CLEAR) as him:
        tell(plugin, "localhost" if host == "localhost" else str(shared / "s"))

        head, beside = store(plugin, "-d", f"pdo_mysql.default_socket={shared}/s")

        assert b"Status: 503" in head
        assert "so nothing was sent" in beside
        assert him.heard() == b""


def test_a_socket_is_judged_with_the_way_to_it_and_its_path_has_no_link(shared: Path) -> None:
    """So what PDO is given cannot lead elsewhere, when it gets there."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "real"))
        (shared / "file").touch()
        (shared / "folder").mkdir()
        links = {"of root": "real", "to a file": "file", "his": "real", "his to a file": "file", "around": "around"}
        for name, target in {**links, "in a folder": "folder/.././of root", "nowhere": "gone", "folders": "."}.items():
            (shared / name).symlink_to(target)
        (shared / "his folders").symlink_to(".")
        for name in ("his", "his to a file", "his folders"):
            os.lchown(shared / name, number(), -1)
        real = str(shared / "real")

        wanted = {
            "real": real,
            "of root": real,
            "in a folder": real,
            "folders/./../" + shared.name + "/real": real,
            "file": None,
            "to a file": None,
            "his": None,
            "his to a file": None,
            "his folders/real": None,
            "around": None,
            "nowhere": None,
            "gone": None,
            "file/real": None,
        }
        assert {name: judged(str(shared / name)) for name in wanted} == wanted


@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o775, 0), (0o755, 1), (0o1777, 1)])
def test_a_socket_of_root_where_a_stranger_could_put_another_one_is_none(shared: Path, mode: int, owner: int) -> None:
    (shared / "a").mkdir()
    (shared / "a" / "b").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "a" / "b" / "s"))
        assert judged(f"{shared}/a/b/s") == f"{shared}/a/b/s"

        os.chown(shared / "a", number() if owner else 0, -1)
        (shared / "a").chmod(mode)

        assert judged(f"{shared}/a/b/s") is None


def test_a_path_that_php_would_cut_is_none(shared: Path) -> None:
    folder = shared / ("long" * 20)
    folder.mkdir()
    (shared / "link").symlink_to(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "link" / "socket-of-it"))

        assert judged(str(shared / "link" / "socket-of-it")) is None


def test_a_folder_in_which_only_the_servers_user_writes_vouches_for_its_socket(shared: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="home-", dir="/var/lib"))
    try:
        home.chmod(0o755)
        shutil.chown(home, STRANGER, "nogroup")
        for name in ("link", "his link"):
            (shared / name).symlink_to(home)
        os.lchown(shared / "his link", number(), -1)
        with stranger(str(home / "s")):
            assert judged(f"{home}/s") == f"{home}/s"
            assert judged(f"{shared}/link/s") is None
            assert judged(f"{shared}/his link/s") is None
            home.chmod(0o1777)
            assert judged(f"{home}/s") is None
    finally:
        shutil.rmtree(home)


def judged(path: str) -> object:
    return called(f"scalable_servers_socket({json.dumps(path)}, scalable_server_users(''))")


def number() -> int:
    return pwd.getpwnam(STRANGER).pw_uid
