"""Another user of the machine in the place of the database's server: nothing of the login reaches him.

Whoever answers a login can pass it on to the real server and come in by it: not even a proof of the password is sent.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib import peer_user
from scalable.lib.errors import DatabaseUnavailable, FastPathUnavailable
from scalable.lib.queue.dialects import server_trust
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.minimal_mysql import Connection
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from tests.support.fakes.stranger import SALT, STRANGER, Question, open_to_all, stranger
from tests.support.servers.cgi import CgiAnswer, cgi_variables, run_cgi
from tests.support.servers.databases import Servers
from tests.support.servers.site import copy_plugin

PASSWORD = "hush-hush"
QUESTIONS: dict[str, Question] = {
    "a proof with his salt": ("mysql_native_password", "mysql_native_password", SALT + b"\0"),
    "another proof with his salt": ("mysql_native_password", "caching_sha2_password", SALT + b"\0"),
    "the password, after a proof": ("caching_sha2_password", "caching_sha2_password", SALT + b"\0"),
    "the password in the clear": ("mysql_native_password", "mysql_clear_password", b""),
    "the password in the clear at once": ("mysql_clear_password", "mysql_clear_password", b""),
    "a dialog": ("mysql_native_password", "dialog", b"\x04Password: "),
    "a signature": ("client_ed25519", "client_ed25519", SALT + bytes(12)),
    "the password, encrypted for him": ("sha256_password", "sha256_password", SALT + b"\0"),
    "the oldest proof": ("mysql_old_password", "mysql_old_password", SALT[:8]),
}


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    yield open_to_all(folder)
    shutil.rmtree(folder)


def at(place: str | tuple[str, int]) -> MySqlAddress:
    host, port, socket = ("localhost", 3306, place) if isinstance(place, str) else (*place, None)
    return MySqlAddress(host, port, socket, "bot", "bot", PASSWORD)


def one(address: MySqlAddress) -> object:
    """What the database says to a first statement."""
    database = MySqlDatabase(address)
    try:
        return database.run(lambda session: session.rows("SELECT 1"))
    finally:
        database.close()


def check_that_he_hears_nothing(address: MySqlAddress) -> None:
    """By both ways; the quick one had found a server of root there before."""
    with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there.*BOT_DB_SERVER_USER") as caught:
        one(address)
    place: str | list[str | int] = address.socket or [address.host, address.port]
    with pytest.raises(FastPathUnavailable, match="answers"):
        Connection(place, ["bot", PASSWORD, "bot"], 0)

    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_socket_of_another_user_is_told_nothing(shared: Path, question: Question) -> None:
    with stranger(str(shared / "s"), question) as him:
        check_that_he_hears_nothing(at(str(shared / "s")))

        assert him.heard() == b""


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_port_of_another_user_is_told_nothing(question: Question) -> None:
    with stranger(("127.0.0.1", 0), question) as him:
        check_that_he_hears_nothing(at(("127.0.0.1", him.port)))

        assert him.heard() == b""


@pytest.mark.parametrize("has_netlink", [True, False])
@pytest.mark.parametrize("trick", ["hangs up his half", "listens no more"])
@pytest.mark.parametrize(("listens", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")])
def test_a_port_of_another_user_is_told_nothing_whatever_state_his_end_is_in(
    listens: str, asked: str, trick: str, has_netlink: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_netlink:
        monkeypatch.setattr(peer_user, "_user_by_netlink", lambda *_: None)
    with stranger((listens, 0), trick=trick) as him:
        with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there"):
            one(at((asked, him.port)))

        assert him.heard() == b""


def test_a_server_that_nobody_of_this_machine_can_be_told_to_be_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As while tables of many connections change, or where the kernel leads a port of this machine to another one."""
    monkeypatch.setattr(peer_user, "_user_by_netlink", lambda *_: None)
    monkeypatch.setattr(peer_user, "_in_table", lambda _: b"no such address")
    with stranger(("127.0.0.1", 0)) as him:
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:\d+: .*nothing was sent.*BOT_DB_HOST"):
            one(at(("127.0.0.1", him.port)))
        with pytest.raises(FastPathUnavailable):
            Connection(["127.0.0.1", him.port], ["bot", PASSWORD, "bot"], 0)

        assert him.heard() == b""


@pytest.mark.parametrize("has_netlink", [True, False])
@pytest.mark.parametrize("trick", ["", "hangs up his half"])
def test_an_address_of_this_machine_that_is_reached_from_another_one_of_it_is_no_other_machine(
    has_netlink: bool, trick: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the second address of a subnet is: the kernel takes the first one for our end."""
    own = own_address()
    if not has_netlink:
        monkeypatch.setattr(peer_user, "_user_by_netlink", lambda *_: None)
    with (
        stranger((own, 0), trick=trick) as him,
        socket.create_connection((own, him.port), source_address=("127.0.0.1", 0)) as link,
    ):
        link.recv(1)
        assert peer_user.user_at_other_end(link) == _number()


def own_address() -> str:
    """That of this machine on its network; nothing is sent. On loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("127.0.0.2", "127.0.0.2"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"), ("::", "localhost")],
)
def test_it_is_told_nothing_by_whatever_address_of_this_machine(listens: str, asked: str) -> None:
    with stranger((listens, 0)) as him:
        with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there"):
            one(at((asked, him.port)))

        assert him.heard() == b""


def test_localhost_passes_over_what_a_stranger_left_in_tmp(
    servers: Servers, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He can neither get the login, nor keep the queue from its database."""
    real = servers.fresh_database("mariadb-10.11")
    monkeypatch.setattr(server_trust, "SOCKET_PLACES", (str(shared / "s"), str(real.socket)))

    with stranger(str(shared / "s")) as him:
        assert one(dataclasses.replace(real, socket="")) == [(1,)]
        assert him.heard() == b""


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "/nowhere", "a socket of root", "a file of root"])
def test_localhost_passes_over_a_link_of_a_stranger_and_what_is_no_socket(
    shared: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """A link of his to a file of root would keep the queue from a server that it reaches by 127.0.0.1."""
    place, real = str(shared / "s"), str(shared / "real")
    monkeypatch.setattr(server_trust, "SOCKET_PLACES", (place,))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(real)
        if target == "a file of root":
            Path(place).touch()
        else:
            os.symlink(real if target == "a socket of root" else target, place)
            os.lchown(place, _number(), -1)
        address = dataclasses.replace(at(("localhost", 3306)), socket="")

        assert server_trust.socket_of(address) is None
        assert server_trust.is_of_a_server(real, address)
        named = {} if target == "a file of root" else {place: STRANGER}
        assert server_trust.sockets_of_strangers(address) == named


def test_localhost_follows_a_link_of_root_to_the_servers_socket(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As packages make one, for programs that look in /tmp."""
    place, real = str(shared / "s"), str(shared / "real")
    monkeypatch.setattr(server_trust, "SOCKET_PLACES", (place,))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(real)
        os.symlink(real, place)

        assert server_trust.socket_of(dataclasses.replace(at(("localhost", 3306)), socket="")) == place


def test_localhost_without_a_server_tells_neither_socket_nor_port_of_a_stranger(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_trust, "SOCKET_PLACES", (str(shared / "s"),))

    with stranger(str(shared / "s")) as socket, stranger(("127.0.0.1", 0)) as port:
        address = dataclasses.replace(at(("localhost", port.port)), socket="")
        with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there"):
            one(address)

        assert (socket.heard(), port.heard()) == (b"", b"")
        assert server_trust.sockets_of_strangers(address) == {str(shared / "s"): STRANGER}


@pytest.mark.parametrize("by_socket", [True, False], ids=["socket", "port"])
def test_a_stranger_between_us_and_the_server_gets_no_login_to_pass_on(
    servers: Servers, shared: Path, by_socket: bool
) -> None:
    """And who is named as a proxy does: it is the same program, so without the rule he would have come in."""
    real = servers.fresh_database("mariadb-10.11")
    place = str(shared / "s") if by_socket else ("127.0.0.1", 0)
    with stranger(place, pass_on_to=("127.0.0.1", real.port)) as him:
        between = dataclasses.replace(real, host="127.0.0.1", port=him.port or 1, socket=place if by_socket else None)
        with pytest.raises(DatabaseUnavailable, match=f"set BOT_DB_SERVER_USER={STRANGER}"):
            one(between)
        assert him.heard() == b""

        assert one(dataclasses.replace(between, server_user=STRANGER)) == [(1,)]
        assert one(dataclasses.replace(between, server_user=str(_number()))) == [(1,)]
        assert him.heard() != b""


def test_a_folder_in_which_only_the_servers_user_writes_vouches_for_its_socket(servers: Servers, shared: Path) -> None:
    """So a server of any user is found where root or its owner put it; not by a link that a stranger made."""
    real = servers.fresh_database("mariadb-10.11")
    home = Path(tempfile.mkdtemp(prefix="home-", dir="/var/lib"))
    try:
        home.chmod(0o755)
        shutil.chown(home, STRANGER, "nogroup")
        (shared / "link").symlink_to(home)
        os.lchown(shared / "link", _number(), -1)
        with stranger(str(home / "s"), pass_on_to=("127.0.0.1", real.port)) as him:
            vouched = dataclasses.replace(real, socket=str(home / "s"))
            assert one(vouched) == [(1,)]
            heard = him.heard()

            for path in (shared / "link" / "s", shared / ".." / shared.name / "link" / "." / "s"):
                with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there"):
                    one(dataclasses.replace(real, socket=str(path)))
            home.chmod(0o775)
            with pytest.raises(DatabaseUnavailable, match=f"user {STRANGER} answers there"):
                one(vouched)

            # The farewell of the first connection may have come later: the packet COM_QUIT.
            assert him.heard().removeprefix(heard) in (b"", b"\x01\x00\x00\x00\x01")
    finally:
        shutil.rmtree(home)


def test_a_customer_who_is_called_as_a_proxy_is_is_none(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.setattr(server_trust, "PACKAGED", (STRANGER,))  # its number is that of no system user

    with stranger(str(shared / "s")) as him:
        check_that_he_hears_nothing(at(str(shared / "s")))

        assert him.heard() == b""


def test_the_user_mysql_is_the_server_wherever_it_listens(
    servers: Servers, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another name in its place, because the machine of the tests need not have that user."""
    monkeypatch.setattr(server_trust, "SERVER", STRANGER)
    real = servers.fresh_database("mariadb-10.11")

    with stranger(str(shared / "s"), pass_on_to=("127.0.0.1", real.port)):
        assert one(dataclasses.replace(real, socket=str(shared / "s"))) == [(1,)]
    with stranger(("127.0.0.1", 0), pass_on_to=("127.0.0.1", real.port)) as him:
        assert one(dataclasses.replace(real, socket=None, host="127.0.0.1", port=him.port)) == [(1,)]


def _number() -> int:
    return pwd.getpwnam(STRANGER).pw_uid


def test_the_webhook_tells_a_stranger_in_the_servers_place_nothing_and_telegram_keeps_the_update(
    servers: Servers, shared: Path, tmp_path: Path
) -> None:
    """Given a webhook that stored updates the quick way; then the server is gone, and he listens where it was."""
    real = servers.fresh_database("mariadb-10.11")
    (shared / "s").symlink_to(str(real.socket))
    script = copy_plugin(tmp_path) / "webhook_queue.py"
    settings = {"HOST": str(shared / "s"), "NAME": real.database, "USER": real.user, "PASS": real.password}
    (script.parent / ".htenv").write_text("".join(f"BOT_DB_{name}='{value}'\n" for name, value in settings.items()))

    def send(number: int) -> CgiAnswer:
        body = b'{"update_id": %d}' % number
        return run_cgi([sys.executable, str(script)], {"PATH": "/usr/bin:/bin", **cgi_variables("POST", body)}, body)

    assert [send(number).status for number in (1, 2)] == [200, 200]
    assert (script.parent / ".htdata" / ".ht-lean").exists()
    (shared / "s").unlink()
    with stranger(str(shared / "s")) as him:
        answer = send(3)

        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
        assert f"user {STRANGER} answers there" in answer.log
        assert him.heard() == b""
