"""Starting processes and threads where the host allows only so many of them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from scalable.lib.errors import NoProcessLeft

# fork(2), pipe(2): too many processes, no memory, too many files of this process or of the system.
_EXHAUSTED = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


@contextmanager
def within_limits() -> Iterator[None]:
    """Around something that starts a process or a thread: raises NoProcessLeft when a limit of the host forbids it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _EXHAUSTED:
            raise
        raise _no_process_left(error) from error
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise _no_process_left(error) from error


def _no_process_left(error: Exception) -> NoProcessLeft:
    return NoProcessLeft(
        f"the bot could not be started ({error}): the host limits how many processes you may have at the same time; "
        "lower BOT_WORKER_POOL_SIZE, or ask the host for more"
    )
