"""Logging in: what a server may ask for, and what is never answered."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import DatabaseUnavailable, FastPathUnavailable
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.minimal_mysql import Connection
from scalable.lib.queue.dialects.mysql import MySqlDatabase
from scalable.lib.queue.dialects.mysql_session import returns_rows

PASSWORD = "hush-hush"
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
SALT = b"12345678901234567890"


class AskingServer:
    """Greets as a server does, and asks every client to log in by another plugin; `heard` is all that clients said."""

    def __init__(self, path: str | tuple[str, int], plugin: bytes, question: bytes) -> None:
        self.heard = b""
        self._plugin, self._question = plugin, question
        self._listener = socket.socket(socket.AF_UNIX if isinstance(path, str) else socket.AF_INET)
        self._listener.bind(path)
        self.port = 0 if isinstance(path, str) else int(self._listener.getsockname()[1])
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(10)
                self._ask(client)

    def _ask(self, client: socket.socket) -> None:
        low, high = (CAPABILITIES & 0xFFFF).to_bytes(2, "little"), (CAPABILITIES >> 16).to_bytes(2, "little")
        greeting = b"\x0a5.5.5-10.11.0-MariaDB\0" + bytes(4) + SALT[:8] + b"\0" + low + b"\x2d\x02\0" + high
        greeting += bytes([21]) + bytes(10) + SALT[8:] + b"\0mysql_native_password\0"
        self._send(client, 0, greeting)
        self.heard += client.recv(4096)
        self._send(client, 2, b"\xfe" + self._plugin + b"\0" + self._question)
        try:
            while more := client.recv(4096):
                self.heard += more
                self._send(client, more[3] + 1, b"\x01\x04")
        except OSError:
            pass

    def _send(self, client: socket.socket, number: int, content: bytes) -> None:
        client.sendall(len(content).to_bytes(3, "little") + bytes([number]) + content)


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:  # short enough for a socket
        yield str(Path(folder) / "s")


@pytest.mark.parametrize(
    ("plugin", "question"),
    [
        (b"client_ed25519", SALT + bytes(12)),
        (b"mysql_clear_password", b""),
        (b"dialog", b"\x04Password: "),
        (b"mysql_old_password", SALT[:8]),
        (b"auth_gssapi_client", b"principal\0"),
        (b"parsec", SALT + bytes(12)),
    ],
    ids=lambda value: value.decode(errors="replace") if value.isascii() and value[:1].isalpha() else "",
)
def test_a_plugin_that_is_not_known_is_told_in_one_line_and_never_answered(
    path: str, plugin: bytes, question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F30: ed25519, and five more."""
    monkeypatch.setitem(sys.modules, "nacl", None)
    server = AskingServer(path, plugin, question)

    check_that_nothing_is_told(server, MySqlAddress("localhost", 3306, path, "bot", "bot", PASSWORD), path)


@pytest.mark.parametrize("has_cryptography", [False, True])
@pytest.mark.parametrize("plugin", [b"sha256_password", b"caching_sha2_password"])
def test_over_the_network_without_tls_the_password_is_not_told(
    plugin: bytes, has_cryptography: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F30: not by a key of the server either: it proves nothing. Who answers cannot be told, as on another machine."""
    monkeypatch.setattr("pymysql._auth._have_cryptography", has_cryptography)
    for module in ("mysql_login", "minimal_mysql"):
        monkeypatch.setattr(f"scalable.lib.queue.dialects.{module}.user_at_other_end", lambda *_: None)
    server = AskingServer(("127.0.0.1", 0), plugin, SALT + b"\0")
    address = MySqlAddress("127.0.0.1", server.port, None, "bot", "bot", PASSWORD)

    check_that_nothing_is_told(server, address, ["127.0.0.1", server.port])


def check_that_nothing_is_told(server: AskingServer, address: MySqlAddress, place: str | list[str | int]) -> None:
    with pytest.raises(DatabaseUnavailable, match="mysql_native_password") as caught:
        MySqlDatabase(address).run(lambda session: session.rows("SELECT 1"))
    with pytest.raises(FastPathUnavailable):
        Connection(place, ["bot", PASSWORD, "bot"], os.geteuid())
    server.close()

    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD.encode() not in server.heard
    assert len(server.heard) < 2 * 400  # the two greetings, and nothing more


@pytest.mark.parametrize(
    ("server_info", "expected"),
    [
        ("5.5.5-10.4.34-MariaDB-1:10.4.34+maria~ubu2004", False),
        ("5.5.5-10.5.0-MariaDB", True),
        ("10.11.19-MariaDB-0+deb12u1", True),
        ("11.8.6-MariaDB-log", True),
        ("5.5.5-10.3.39-MariaDB", False),
        ("8.0.36", False),
        ("9.7.0-debug", False),
        ("", False),
    ],
)
def test_which_servers_return_the_rows_of_an_insert(server_info: str, expected: bool) -> None:
    assert returns_rows(server_info) is expected


@pytest.mark.parametrize("plugin", [b"caching_sha2_password", b"sha256_password"])
def test_a_server_that_asks_again_and_again_is_left(path: str, plugin: bytes) -> None:
    """One of this user, who may hear the password: it is told once."""
    server = AskingServer(path, plugin, SALT + b"\0")

    with pytest.raises(DatabaseUnavailable):
        MySqlDatabase(MySqlAddress("localhost", 3306, path, "bot", "bot", PASSWORD)).run(lambda _: None)
    server.close()

    assert server.heard.count(PASSWORD.encode()) == 1


@pytest.mark.parametrize(
    "greeting",
    [b"", b"\x0a", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\0\0\0hello", b"\x0a\0\0\0\x0a8.0.1\0abc", b"\xff" * 80],
)
def test_what_is_no_database_server_is_told_in_one_line(path: str, greeting: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(4)
        answers = threading.Thread(target=lambda: _say(listener, greeting), daemon=True)
        answers.start()
        with pytest.raises(DatabaseUnavailable) as caught:
            MySqlDatabase(MySqlAddress("localhost", 3306, path, "bot", "bot", PASSWORD)).run(lambda _: None)
        answers.join(60)

    assert "\n" not in str(caught.value)


def _say(listener: socket.socket, greeting: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.sendall(greeting)
