"""Refuses to be run by a web server, for scripts that are for a shell. Imports next to nothing.

A web server that runs every script of the folder hands the words of a query over as arguments (RFC 3875, 4.4), so
`worker_pool.py?--stop` would stop the pool for anybody.
"""

import posix
import sys

TEXT = b"This script is for a shell. A web server may not run it, so nothing was done.\n"
HEAD = b"Status: 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n\r\n"
REASON = (
    b"refused: started by a web server, or by a program with its environment; for the latter, take "
    b"GATEWAY_INTERFACE and REQUEST_METHOD out of the environment\n"
)
EXIT_CODE = 2
MAX_BODY_BYTES = 2 * 1024 * 1024


def waits_for_requests() -> bool:
    """Whether standard input is a socket that takes connections: so a web server starts a program of FastCGI."""
    import _socket

    try:
        standard_input = _socket.socket(fileno=0)
    except OSError:  # closed, or no socket
        return False
    try:
        return standard_input.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN) != 0
    except OSError:  # a kind that never takes any
        return False
    finally:
        standard_input.detach()


def refuse(content_length: bytes = b"") -> None:
    """Answer 403, say why in the log, and end the process. `content_length` is the request's variable."""
    _read_body(content_length)
    for file, text in ((1, HEAD + TEXT), (2, sys.argv[0].encode("utf-8", "surrogateescape") + b": " + REASON)):
        try:  # noqa: SIM105 - contextlib would have to be loaded
            posix.write(file, text)
        except OSError:  # nobody reads it
            pass
    posix._exit(EXIT_CODE)


def _read_body(length: bytes) -> None:
    """Else a server that still writes it loses our answer."""
    left = min(int(length), MAX_BODY_BYTES) if length.isdigit() and len(length) < 20 else 0
    try:
        while left > 0 and (part := posix.read(0, min(left, 65536))):
            left -= len(part)
    except OSError:  # there is none
        pass
