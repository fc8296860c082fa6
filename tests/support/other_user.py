"""What another user of the same machine can do: a piece of work, done in a child that has become `nobody`."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.need import need
from tests.support.waiting import PATIENCE_SECONDS

NAME = "nobody"
SYSTEM_PYTHON = "/usr/bin/python3"  # that of the tests may be in a folder which is closed to others


def as_another_user(work: Callable[[], object]) -> str:
    """What `work` returned, as text, or the name of the exception that it ended with. Needs root."""
    need(None if os.geteuid() == 0 else "only root can act as another user")
    other = pwd.getpwnam(NAME)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(other.pw_gid)
            os.setuid(other.pw_uid)
            said = str(work())
        except OSError as error:
            said = type(error).__name__
        except BaseException:  # noqa: BLE001 - the end of the child: what went wrong has to reach the test
            said = traceback.format_exc()
        finally:
            os.write(write_end, said.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said


@contextmanager
def program_of_another_user(code: str) -> Iterator[IO[str]]:
    """What a Python program of theirs prints; a line comes to its input when the test has seen enough. Needs root."""
    need(None if os.geteuid() == 0 else "only root can act as another user")
    with subprocess.Popen(
        [SYSTEM_PYTHON, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=NAME,
        group=pwd.getpwnam(NAME).pw_gid,
        extra_groups=[],
        cwd="/",
        env={},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.stdin.close()
            process.wait(PATIENCE_SECONDS)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach, as the home of a site; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="scalable-public-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
