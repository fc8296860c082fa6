"""What the figures were measured on, so that nobody compares them with those of another machine."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("PyMySQL", "huey", "peewee", "celery", "SQLAlchemy")


def describe(server_version: str, server_options: tuple[str, ...]) -> str:
    """Markdown lines: machine, its disk's fsync, versions, and the commit that was measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    kernel = platform.release().partition("-")[0]
    return "\n".join(
        [
            f"- Machine: {_processor()}, {os.cpu_count()} cores, {_memory_gigabytes()} GB, Linux {kernel}; "
            f"one fsync of 4 kB takes {_fsync_milliseconds():.2f} ms (median)",
            f"- Server: {server_version} with {' '.join(server_options)}, over its Unix socket, every commit "
            "flushed to disk unless a table says otherwise",
            f"- Client: Python {platform.python_version()}, {packages}",
            f"- Measured: commit {_commit()}, {time.strftime('%Y-%m-%d')}",
        ]
    )


def load() -> str:
    """How busy the machine was during the last minute, everything on it counted."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.machine()


def _memory_gigabytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30


def _fsync_milliseconds(times: int = 100) -> float:
    seconds = []
    with tempfile.NamedTemporaryFile(prefix="bench-") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        timeout=10,
        cwd=Path(__file__).parent,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def memory_megabytes(pid: int) -> float:
    """Proportional set size of a process and of all below it (proc(5), smaps_rollup): shared pages are counted once."""
    return memory_megabytes_of(family(pid))


def memory_megabytes_of(processes: Iterable[int]) -> float:
    """The same of these processes."""
    kilobytes = 0
    for process in processes:
        with suppress(OSError):  # it ended meanwhile
            found = re.search(r"^Pss: +([0-9]+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
            kilobytes += int(found.group(1)) if found else 0
    return kilobytes / 1024


def cpu_seconds(pid: int) -> float:
    """What a process and all that live below it have used so far, the children they waited for included."""
    ticks = 0
    for process in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that live below it."""
    found = [pid]
    for process in found:
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found
