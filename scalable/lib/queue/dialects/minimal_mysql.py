"""The least of a MySQL client: logs in on this machine, and runs statements that return no rows.

PyMySQL takes longer to import than all the rest of a request. What this client does not support, and every answer of
the server that is not a plain success, raises FastPathUnavailable; then PyMySQL is used, which reports the error.
Source: the protocol's pages in the MySQL and MariaDB manuals (handshake v10, response 41, COM_QUERY, OK packet).
"""

from __future__ import annotations

import _socket

from scalable.lib.errors import FastPathUnavailable
from scalable.lib.peer_user import user_at_other_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from scalable.lib.queue.dialects.prepared_insert import PreparedInsert

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
UTF8MB4_GENERAL_CI = 45
# LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
_OK, _SWITCH = 0x00, 0xFE
_FAST, _FULL = b"\x01\x03", b"\x01\x04"


class Connection:
    """One connection to a server on this machine; `address` is a path, or a host and a port.

    `account` is user, password and database. Nothing of it is sent when anybody but `server_user` answers, the user
    who was found to be the server's before. Raises FastPathUnavailable.
    """

    def __init__(self, address: str | list[str | int], account: list[str], server_user: int) -> None:
        family = _socket.AF_UNIX if isinstance(address, str) else _socket.AF_INET
        self._path = address if isinstance(address, str) else ""
        self._server_user = server_user
        self._sequence = 0
        self._socket = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect(address if isinstance(address, str) else tuple(address))
            self._log_in(*(part.encode() for part in account))
            self._socket.settimeout(ANSWER_SECONDS)
        except (OSError, IndexError) as error:
            self._socket.close()
            raise FastPathUnavailable(error) from error

    def close(self) -> None:
        """Send COM_QUIT, else the server would log an aborted connection; never raises."""
        try:
            self._sequence = 0
            self._send(b"\x01")
        except OSError:  # gone already
            pass
        self._socket.close()

    def run(self, sql: str) -> int:
        """Run one statement that returns no rows; the id it made, if any."""
        try:
            self._sequence = 0
            self._send(b"\x03" + sql.encode())
            packet = self._receive()
            if packet[0] != _OK:
                raise FastPathUnavailable(packet[:3].hex())
            _, rest = _number(packet[1:])
            return _number(rest)[0]
        except (OSError, IndexError) as error:
            raise FastPathUnavailable(error) from error

    def _log_in(self, user: bytes, password: bytes, database: bytes) -> None:
        greeting = self._receive()
        if greeting[0] != 10:
            raise FastPathUnavailable("another protocol")
        user_there = user_at_other_end(self._socket, self._path)
        if user_there != self._server_user:
            raise FastPathUnavailable(f"user {user_there} answers")
        _, _, rest = greeting[1:].partition(b"\0")
        salt, plugin = rest[4:12] + rest[31:43], rest[44:].partition(b"\0")[0]
        proof = _proof(plugin, password, salt)
        self._send(
            CAPABILITIES.to_bytes(4, "little")
            + (1 << 24).to_bytes(4, "little")
            + bytes([UTF8MB4_GENERAL_CI])
            + bytes(23)
            + user
            + b"\0"
            + bytes([len(proof)])
            + proof
            + database
            + b"\0"
            + plugin
            + b"\0"
        )
        packet = self._receive()
        if packet[0] == _SWITCH:
            plugin, _, salt = packet[1:].partition(b"\0")
            self._send(_proof(plugin, password, salt[:20]))
            packet = self._receive()
        if packet == _FULL:  # not in the server's cache yet; only this machine hears it
            self._send(password + b"\0")
            packet = self._receive()
        elif packet == _FAST:
            packet = self._receive()
        if packet[0] != _OK:
            raise FastPathUnavailable(packet[:3].hex())

    def _send(self, content: bytes) -> None:
        if len(content) >= 0xFFFFFF:
            raise FastPathUnavailable("more than one packet")
        self._socket.sendall(len(content).to_bytes(3, "little") + bytes([self._sequence]) + content)
        self._sequence += 1

    def _receive(self) -> bytes:
        head = self._exactly(4)
        self._sequence = (head[3] + 1) % 256
        return self._exactly(int.from_bytes(head[:3], "little")) or b"\xff"

    def _exactly(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            more = self._socket.recv(length - len(received))
            if not more:
                raise FastPathUnavailable("the server hung up")
            received += more
        return received


def insert(prepared: PreparedInsert, row: dict[str, str | float | None]) -> int:
    """The id of the row that its statement makes with the parameters `row`. Raises FastPathUnavailable."""
    connection = Connection(prepared.address, prepared.account, prepared.server_user)
    try:
        for setting in prepared.session:
            connection.run(setting)
        return connection.run(_rendered(prepared.statement, row))
    finally:
        connection.close()


def _rendered(statement: str, row: dict[str, str | float | None]) -> str:
    """With values that need no escaping: numbers, and texts as hexadecimal digits, which hold no `:name`."""
    for name, value in row.items():
        statement = statement.replace(f":{name}", _literal(value))
    return statement


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return f"_utf8mb4 X'{value.encode().hex()}'"
    if isinstance(value, (int, float)):
        return repr(value)
    raise FastPathUnavailable(type(value))


def _proof(plugin: bytes, password: bytes, salt: bytes) -> bytes:
    """The proof of the password, for the two plug-ins that accounts usually have."""
    if not password:
        return b""
    if plugin == b"mysql_native_password":
        return _mixed(_sha1(password), _sha1(salt + _sha1(_sha1(password))))
    if plugin == b"caching_sha2_password":
        return _mixed(_sha256(password), _sha256(_sha256(_sha256(password)) + salt))
    raise FastPathUnavailable(plugin)


def _mixed(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other))


def _sha1(content: bytes) -> bytes:
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]  # hashlib loads OpenSSL, which takes 4 ms
    except ImportError:
        from hashlib import sha1
    return bytes(sha1(content, usedforsecurity=False).digest())  # as the protocol has it


def _sha256(content: bytes) -> bytes:
    from hashlib import sha256  # the module beneath it has another name in every third version of Python

    return sha256(content).digest()


def _number(content: bytes) -> tuple[int, bytes]:
    """A length-encoded integer, and what follows it."""
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(content[0], 0)
    if not size:
        return content[0], content[1:]
    return int.from_bytes(content[1 : 1 + size], "little"), content[1 + size :]
