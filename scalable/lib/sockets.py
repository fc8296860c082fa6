"""Unix sockets by path, also where the path is longer than the system allows for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# sun_path of unix(7) has 108 bytes with its end, elsewhere 104.
MAX_PATH_BYTES = 103


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """What to bind or connect to for the socket `path`, while the block lasts.

    A path that is too long is reached through a descriptor of its folder, which needs /proc. Raises OSError when the
    folder is not there, or the path too long and there is no such way.
    """
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
