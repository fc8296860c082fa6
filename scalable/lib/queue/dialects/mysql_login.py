"""How a connection of PyMySQL is made: by a socket or a port, and to whom it tells what of the password.

A server is asked to prove nothing by the protocol. So it is looked at who runs it, where that is a user of this machine
(server_trust.py), and what would tell the password itself is answered over TLS or to such a server alone.
"""

from __future__ import annotations

import struct
from typing import Any, Optional

import pymysql
import pymysql.connections
from pymysql import _auth
from pymysql.constants import CLIENT, CR

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.peer_user import user_at_other_end
from scalable.lib.queue.dialects.address import MySqlAddress
from scalable.lib.queue.dialects.mysql_errors import advice
from scalable.lib.queue.dialects.server_trust import check_server_user, socket_of

# Together well under the 60 s after which Telegram stops waiting for the webhook.
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS = 5, 10, 10
# Ways to log in that would give the password, or all that is needed to find it, to whoever listens or asks.
NEVER_ANSWERED = ("mysql_clear_password", "dialog", "mysql_old_password")
# What PyMySQL makes of a server that does not keep to the protocol.
_NO_SERVER = (ValueError, LookupError, AssertionError, struct.error)


def log_in(address: MySqlAddress, first_statement: str, conversions: dict[Any, Any]) -> ServerConnection:
    """A connection that is logged in, with `first_statement` run. Raises DatabaseUnavailable.

    `conversions` are PyMySQL's of values.
    """
    place: dict[str, Any] = {"host": address.host, "port": address.port}
    socket = socket_of(address)
    if socket:
        place = {"unix_socket": socket, "ssl_disabled": True}
    try:
        return ServerConnection(
            address,
            **place,
            user=address.user,
            password=address.password,
            database=address.database,
            charset="utf8mb4",
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            conv=conversions,
            init_command=first_statement,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            write_timeout=WRITE_SECONDS,
            auth_plugin_map={**dict.fromkeys(NEVER_ANSWERED, _Refuses), **_NEED_A_SAFE_WAY},
        )
    except (pymysql.err.Error, OSError, RuntimeError) as error:  # the last: a plugin needs a package that is not there
        raise DatabaseUnavailable(f"{address}: {advice(error)}") from error
    except _NO_SERVER as error:
        raise DatabaseUnavailable(f"{address}: what answers there is no MySQL or MariaDB server ({error})") from error


class ServerConnection(pymysql.connections.Connection):
    """Has looked who answers before it sends anything. `server_user`: who it is; None when that cannot be told."""

    def __init__(self, address: MySqlAddress, **options: Any) -> None:
        self._address = address
        self.server_user: Optional[int] = None
        super().__init__(**options)

    def _get_server_information(self) -> None:
        """The greeting of the server is read here; what comes next is the login."""
        connection: Any = self
        path = connection.unix_socket or ""
        if path:
            self._check_server(path)
        super()._get_server_information()  # type: ignore[misc]
        if not path:
            self._check_server(path)  # only now the connection is somebody's

    def _check_server(self, path: str) -> None:
        connection: Any = self
        try:
            self.server_user = user_at_other_end(connection._sock, path)
        except OSError as error:
            raise DatabaseUnavailable(
                f"{self._address}: {error}, so nothing was sent; if the kernel leads this address to another machine "
                "or a container, give that one's own address in BOT_DB_HOST"
            ) from error
        check_server_user(self._address, self.server_user, path)
        connection._secure = self.server_user is not None  # of what stays within the machine others hear nothing


class _Refuses:
    """Answers a server that asks for the password by one of NEVER_ANSWERED."""

    def __init__(self, _: object) -> None:
        pass

    def authenticate(self, _: object) -> None:
        raise _refusal("the server asks for the password itself")


class _CachingSha2:
    """As PyMySQL does it, but a password is never sent by the key that an unknown server gives for it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._was_told = False

    def authenticate(self, packet: Any) -> Any:
        """One step; what the server said to it."""
        if packet.is_extra_auth_data():
            return self._next_step(packet.get_all_data()[1:2])
        salt = packet.read_all()[: _auth.SCRAMBLE_LENGTH]
        return self._said_to(_auth.scramble_caching_sha2(self._connection.password, salt))

    def _next_step(self, wanted: bytes) -> Any:
        if wanted == b"\x03" and not self._was_told:  # it knew the password, and lets us in
            self._was_told = True
            return self._connection._read_packet()
        return self._tell_password("caching_sha2_password")

    def _tell_password(self, way: str) -> Any:
        """Once: who asks again is no server."""
        if not self._connection._secure or self._was_told:
            raise _refusal(f"{way} without TLS")
        self._was_told = True
        return self._said_to(self._connection.password + b"\0")

    def _said_to(self, answer: bytes) -> Any:
        self._connection.write_packet(answer)
        return self._connection._read_packet()


class _Sha256(_CachingSha2):
    """This one always wants the password itself."""

    def authenticate(self, packet: Any) -> Any:
        """The password, over TLS."""
        return self._tell_password("sha256_password")


_NEED_A_SAFE_WAY = {"caching_sha2_password": _CachingSha2, "sha256_password": _Sha256}


def _refusal(why: str) -> pymysql.err.OperationalError:
    return pymysql.err.OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, why)
