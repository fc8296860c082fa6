"""What both ends of a hand-over agree on: pool_client in the CGI process, and pool_gateway in the pool.

The gateway greets, the client sends its request, the gateway its response. The request goes as SCGI
(python.ca/scgi/protocol.txt): all variables of the web server as they are, in one netstring, then the body. Nothing a
visitor sends can become another variable, because names and values are counted and never parsed. The response is a
netstring, too, so that half a response of a pool that died is never taken for one; an empty one declines the request.

Imports nothing that takes time, as pool_client.
"""

from scalable.lib.ingest.request_body import read_up_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Optional

# Each is set by every web server that starts a script, and by no shell.
MARKS = (b"GATEWAY_INTERFACE", b"REQUEST_METHOD")
# The file name of the gateway's socket, in the data folder.
SOCKET_NAME = b".ht-gateway.sock"
# That of the pool's quickest way in, for updates alone: update_gateway.
UPDATES_SOCKET_NAME = b".ht-updates.sock"
# What the gateway says when it begins with a connection; nothing of a request is sent before.
GREETING = b"scalable 1\n"
# What is sent to the pool's other socket when an update was stored.
NOTIFICATION = b"!"
MAX_VARIABLES_BYTES = 256 * 1024
# A larger body is refused anyway, and does not have to be passed on for that.
MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_RESPONSE_BYTES = 10**10


def is_web_request(environment: "Mapping[bytes, bytes]") -> bool:
    """Whether a web server started this process for a request."""
    return any(mark in environment for mark in MARKS)


def netstring(content: bytes) -> bytes:
    """`content` with its length before it: `5:hello,`."""
    return b"%d:%b," % (len(content), content)


def read_netstring(read: "Callable[[int], bytes]", max_bytes: int) -> "Optional[bytes]":
    """The content of a netstring; None when it ends early. `read` is given the most bytes it may return.

    Raises ValueError when it does not begin with a length of at most `max_bytes`.
    """
    digits = b""
    while len(digits) < len(str(max_bytes)) + 2:
        byte = read(1)
        if byte == b":" and digits.isdigit() and int(digits) <= max_bytes:
            content = read_up_to(read, int(digits) + 1)
            return content[:-1] if len(content) > int(digits) and content.endswith(b",") else None
        digits += byte or b"?"
    raise ValueError(f"expected a netstring of at most {max_bytes} bytes, got {digits!r}")
