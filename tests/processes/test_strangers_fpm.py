"""Another user of the machine in the place of the host's PHP-FPM: no update reaches him, no answer of his counts."""

from __future__ import annotations

import errno
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib import peer_user
from scalable.lib.errors import BotMissing
from scalable.lib.runners.php import fpm_trust
from scalable.lib.runners.php.fpm import HostServer
from tests.support.fakes.stranger import STRANGER, open_to_all, stranger
from tests.support.other_user import program_of_another_user

V6_ONLY = """
import socket, sys
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
listener.bind(("::", {port}))
listener.listen()
print("listens", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    yield open_to_all(folder)
    shutil.rmtree(folder)


def refuses(address: str) -> None:
    server = HostServer(address)
    with pytest.raises(BotMissing, match=f"user {STRANGER} listens there.*nothing was sent"):
        server.check()
    with pytest.raises(BotMissing, match=f"BOT_FASTCGI_SOCKET={address.replace('[', '.').replace(']', '.')}"):
        server.connect(time.monotonic() + 5)


def test_a_socket_that_a_stranger_made_where_all_write_gets_nothing(shared: Path) -> None:
    with stranger(str(shared / "s")) as him:
        refuses(str(shared / "s"))

        assert him.heard() == b""


def test_by_a_link_of_ours_neither(shared: Path, tmp_path: Path) -> None:
    with stranger(str(shared / "s")) as him:
        (tmp_path / "fpm.sock").symlink_to(shared / "s")
        refuses(str(tmp_path / "fpm.sock"))

        assert him.heard() == b""


@pytest.mark.parametrize(
    ("listens", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("::", "localhost"),
    ],
)
def test_a_port_on_which_a_stranger_listens_gets_nothing(listens: str, asked: str) -> None:
    with stranger((listens, 0)) as him:
        refuses(f"{asked}:{him.port}")

        assert him.heard() == b""


@pytest.mark.parametrize(("listens", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("::", "127.0.0.1")])
@pytest.mark.parametrize("trick", ["listens no more", "hangs up at once"])
def test_a_port_on_which_he_listened_until_he_was_connected_to_gets_nothing(
    listens: str, asked: str, trick: str
) -> None:
    with stranger((listens, 0), trick=trick) as him:
        with pytest.raises(BotMissing, match=f"user {STRANGER} listens there.*nothing was sent"):
            HostServer(f"{asked}:{him.port}").check()

        assert him.heard() == b""


def test_a_socket_in_a_folder_that_only_its_user_can_write_is_his() -> None:
    """Such as that of a container, whose PHP-FPM runs as the user 1000 or another one."""
    folder = Path(tempfile.mkdtemp(prefix="fpm-", dir="/run"))
    try:
        shutil.chown(folder, STRANGER)
        folder.chmod(0o755)
        with stranger(str(folder / "s")):
            HostServer(str(folder / "s")).check()
            folder.chmod(0o777)
            refuses(str(folder / "s"))
    finally:
        shutil.rmtree(folder)


def test_one_who_listens_for_ipv6_alone_at_the_port_is_not_in_the_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with program_of_another_user(V6_ONLY.format(port=port)) as him:
            assert him.readline() == "listens\n"
            HostServer(f"127.0.0.1:{port}").check()


def test_without_a_free_descriptor_nobody_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_none(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with stranger(("127.0.0.1", 0)) as him, socket.create_connection(("127.0.0.1", him.port)) as link:
        monkeypatch.setattr(peer_user, "_user_by_netlink", lambda *_: None)
        monkeypatch.setattr("posix.open", has_none)
        monkeypatch.setattr(Path, "read_text", has_none)
        for look in (fpm_trust.stranger_at, peer_user.user_at_other_end):
            with pytest.raises(OSError, match="Too many open files"):
                look(link)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_our_own_server_and_one_of_the_system_are_connected_to(host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        port = server.getsockname()[1]
        HostServer(f"[{host}]:{port}" if ":" in host else f"{host}:{port}").check()


def test_where_the_machine_does_not_say_who_listens_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_user, "_user_by_netlink", lambda *_: None)
    monkeypatch.setattr(peer_user, "TABLES", ("/no/such/table",))
    with stranger(("127.0.0.1", 0)) as him:
        HostServer(f"127.0.0.1:{him.port}").check()
