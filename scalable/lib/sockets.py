"""Unix sockets by path, also where the path is longer than the system allows for one. Imports next to nothing."""

import _socket
import posix

# sun_path of unix(7) has 108 bytes with its end, elsewhere 104.
MAX_PATH_BYTES = 103


class short_address:
    """What to bind or connect to for the socket `path`, while the block lasts.

    A path that is too long is reached through a descriptor of its folder, which needs /proc. Raises OSError when the
    folder is not there, or the path too long and there is no such way.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        self._folder = -1

    def __enter__(self) -> bytes:
        if len(self._path) <= MAX_PATH_BYTES:
            return self._path
        folder, _, name = self._path.rpartition(b"/")
        self._folder = posix.open(folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        return b"/proc/self/fd/%d/%b" % (self._folder, name)

    def __exit__(self, *_: object) -> None:
        if self._folder >= 0:
            posix.close(self._folder)


def send_datagram(path: bytes, content: bytes) -> None:
    """One datagram to the Unix socket `path`. Never waits; raises OSError when it cannot be taken now."""
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sender.setblocking(False)
        with short_address(path) as address:
            sender.sendto(content, address)
    finally:
        sender.close()
