"""The machines of a run of stress: each an installation with a pool, web server, small disk and clock of its own.

Knows how they are started and kept running, as a service manager does; nothing of what goes wrong with them.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers.served_installation import ServedSite

LIBFAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
SHARED_MEMORY = Path("/dev/shm")
AHEAD, BEHIND = "+1h", "-1h"
KEEP_SECONDS = 0.2
SLEEP_BY_SELECT = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"


@dataclass(frozen=True)
class Host:
    """One machine; `disk` is what its data folder and its log are on."""

    name: str
    site: ServedSite
    disk: Path

    def turn_the_clock(self) -> None:
        """From the next start of its pool on, its clock is wrong by an hour in the other direction."""
        environment = self.site.environment
        environment["FAKETIME"] = BEHIND if environment["FAKETIME"] == AHEAD else AHEAD


def cannot_run() -> str | None:
    """Why there can be no such host on this machine, in one line; None when there can be."""
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk", 1):
            pass
    except subprocess.CalledProcessError as error:
        return f"a disk that fills is mounted for it, which needs root ({error.stderr.decode().splitlines()[0]})"
    if not _libfaketime():
        return "libfaketime is not installed: python3 tests/install.py --only libfaketime"
    return None


def wrong_clock(folder: Path) -> dict[str, str]:
    """Variables that set the clock of a program, and of all it starts, wrong; CLOCK_MONOTONIC stays as it is.

    `folder` is for a file that Python reads when it starts: libfaketime 0.9.10 lets every sleep until a moment of
    CLOCK_MONOTONIC fail, which is how Python 3.11 and newer sleep.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SLEEP_BY_SELECT)
    return {
        "LD_PRELOAD": _libfaketime(),
        "FAKETIME": AHEAD,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(folder),
    }


def _libfaketime() -> str:
    return next((str(path) for path in Path("/").glob(LIBFAKETIME.lstrip("/"))), "")


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own at `folder`, in memory; gone afterwards with all that is on it."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "stress", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def kept_running(hosts: list[Host]) -> Iterator[None]:
    """Starts the pool of every host, and again whenever it ended, as a service manager does."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(KEEP_SECONDS):
            for host in hosts:
                if not host.site.pool.is_running():
                    host.site.pool.start()

    keeper = threading.Thread(target=keep, name="keeper")
    before = set(SHARED_MEMORY.glob("*faketime*"))
    try:
        with contextlib.ExitStack() as stack:
            for host in hosts:
                stack.enter_context(host.site)
            keeper.start()
            try:
                yield
            finally:
                over.set()
                keeper.join()
    finally:
        for leftover in set(SHARED_MEMORY.glob("*faketime*")) - before:  # of programs that were killed
            leftover.unlink(missing_ok=True)
