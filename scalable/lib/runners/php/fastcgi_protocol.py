"""The records of FastCGI 1.0, as a web server needs them for a responder: written whole, read in any pieces.

Bytes in, bytes out: uses no sockets. Source: the FastCGI Specification, sections 3 to 5; what PHP makes of it,
main/fastcgi.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from types import MappingProxyType

VERSION = 1
HEADER_BYTES = 8
# Requests on one connection come one after the other, so one id is enough.
REQUEST_ID = 1
RESPONDER = 1
KEEP_CONNECTION = 1
# PHP refuses a record whose content and padding are more than 65535 together.
MAX_CONTENT_BYTES = 65528

_HEADER = struct.Struct(">BBHHBx")
_BEGIN = struct.Struct(">HB5x")
_END = struct.Struct(">4xB3x")


class RecordType(IntEnum):
    """What a record is; only those of one request."""

    BEGIN_REQUEST = 1
    END_REQUEST = 3
    PARAMS = 4
    STDIN = 5
    STDOUT = 6
    STDERR = 7


class ProtocolStatus(IntEnum):
    """How a server says that it ended a request; anything but the first means that it refused it."""

    REQUEST_COMPLETE = 0
    CANT_MPX_CONN = 1
    OVERLOADED = 2
    UNKNOWN_ROLE = 3


class NotFastCgi(ValueError):
    """What came cannot be FastCGI."""


def begin_request(variables: Mapping[str, str], keep_connection: bool) -> bytes:
    """How a request begins: its role, and variables, to which `finish_request` adds the last one."""
    begin = _BEGIN.pack(RESPONDER, KEEP_CONNECTION if keep_connection else 0)
    return _record(RecordType.BEGIN_REQUEST, begin) + b"".join(_params(variables.items()))


def finish_request(body: bytes, variables: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """The rest of a request: the length of its body, which only now is known, more `variables`, and the body."""
    length = b"".join(_params([("CONTENT_LENGTH", str(len(body))), *variables.items()]))
    stdin = b"".join(_pieces(RecordType.STDIN, body))
    # An empty record ends each of the two streams.
    return length + _record(RecordType.PARAMS, b"") + stdin + _record(RecordType.STDIN, b"")


def encode_pair(name: str, value: str) -> bytes:
    """One name-value pair: both lengths, in 1 byte up to 127 and in 4 above, then both texts, as file names are."""
    encoded = name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape")
    return b"".join((*map(_length, encoded), *encoded))


def read_end_request(content: bytes) -> int:
    """The protocol status of an END_REQUEST. Raises NotFastCgi when it is too short."""
    if len(content) < _END.size:
        raise NotFastCgi(f"the record that ends the request has {len(content)} bytes, expected {_END.size}")
    return int(_END.unpack_from(content)[0])


class RecordReader:
    """Puts records together from pieces of any size."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of what came."""
        return not self._buffer

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(type, content) of every record of our request that `data` completes, up to its END_REQUEST.

        Records of other requests, and of none, are left out. What follows an END_REQUEST stays, unread, for the next
        call. Raises NotFastCgi at the first byte that cannot begin a record.
        """
        buffer = self._buffer + data if self._buffer else data
        records: list[tuple[int, bytes]] = []
        position = 0
        while position < len(buffer) and not (records and records[-1][0] == RecordType.END_REQUEST):
            if buffer[position] != VERSION:
                raise NotFastCgi(f"a record begins with byte {buffer[position]}, expected {VERSION}")
            begin = position + HEADER_BYTES
            if begin > len(buffer):
                break
            _, kind, request_id, content_bytes, padding_bytes = _HEADER.unpack_from(buffer, position)
            end = begin + content_bytes
            if end + padding_bytes > len(buffer):
                break
            position = end + padding_bytes
            if request_id == REQUEST_ID:
                records.append((kind, buffer[begin:end]))
        self._buffer = buffer[position:]
        return records


def _params(pairs: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """PARAMS records of whole pairs: PHP does not put a pair together that is spread over two records."""
    content = b""
    for name, value in pairs:
        pair = encode_pair(name, value)
        if len(content) + len(pair) > MAX_CONTENT_BYTES:
            yield from _pieces(RecordType.PARAMS, content)
            content = b""
        content += pair
    yield from _pieces(RecordType.PARAMS, content)


def _pieces(kind: RecordType, data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), MAX_CONTENT_BYTES):
        yield _record(kind, data[start : start + MAX_CONTENT_BYTES])


def _record(kind: RecordType, content: bytes) -> bytes:
    return _HEADER.pack(VERSION, kind, REQUEST_ID, len(content), 0) + content


def _length(data: bytes) -> bytes:
    return bytes((len(data),)) if len(data) < 128 else struct.pack(">I", len(data) | 0x80000000)
