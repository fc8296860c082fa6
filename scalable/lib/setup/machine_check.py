"""Checks the machine: the data folder and its disk, and how many processes and how much memory this user may have."""

from __future__ import annotations

import errno
import os
import resource
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.host_room import MEGABYTE, HostLimit, host_limits, runs_left
from scalable.lib.setup.data_folder import DataFolder
from scalable.lib.setup.files import mode_of
from scalable.lib.setup.finding import Finding, error, ok, warning
from scalable.lib.setup.private_folder import opened_before

LITTLE_SPACE_BYTES = 50 * 1024 * 1024
TRIAL_BYTES = 256 * 1024
# Of one worker's Python and its bot; measured, see docs/hosting.md.
MEMORY_OF_A_PROCESS = 128 * MEGABYTE
# File systems whose locks are not reliable (sqlite.org/faq.html#q5).
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "fuse.gluster", "ceph", "afs", "9p")
ROOM = "delete what is not needed, such as logs and old backups, or ask the host for more"


def check_data_folder(folder: DataFolder) -> list[Finding]:
    """Whether it can be made, is private, and takes what is written; made when it is missing."""
    try:
        folder.prepare()
    except ConfigurationError as problem:
        return [error("data folder", str(problem))]
    seen = f"{folder.path}, mode {mode_of(folder.path):o}"
    if folder.others_may_enter():
        readable = f"{seen}: it holds other things too, so it stays as it is, and others may see their names"
        private = warning("data folder", readable, f"chmod 700 {folder.path}, or BOT_DATA_DIR={folder.path}/.htdata")
    else:
        private = ok("data folder", f"{seen}, writable and private")
    return [private, *check_what_was_open(folder), check_disk(folder.path), *_file_system(folder.path)]


def check_what_was_open(folder: DataFolder) -> list[Finding]:
    """A warning where others could open files before they were made private: who has done so reads on."""
    names = opened_before(folder.path)
    if not names:
        return []
    database, secrets_of_ours = folder.embedded_database.name, [name for name in names if name in folder.secret_files]
    steps = [f"in {folder.path}, while pool and webhook are stopped and nothing of them runs:"]
    steps += [f"cp -p {name} {name}.new && mv {name}.new {name}" for name in names if name == database]
    steps += [f"delete {' and '.join(secrets_of_ours)}, new ones are made"] if secrets_of_ours else []
    remedy = f"{steps[0]} {'; '.join(steps[1:])}"
    seen = f"{', '.join(names)} could be opened by other users before it was made private; who did reads on"
    return [warning("data folder", seen, remedy)]


def check_disk(folder: Path) -> Finding:
    """Whether a file can be written, which a quota may forbid though there is space."""
    try:
        _try_to_write(folder)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            why = "the disk is full" if problem.errno == errno.ENOSPC else "your quota is used up"
            return error("disk", f"{why}: nothing can be written to {folder} ({_space(folder)})", ROOM)
        return error("disk", f"nothing can be written to {folder} ({problem.strerror})", "ask the host about this disk")
    state = os.statvfs(folder)
    if state.f_bavail * state.f_frsize < LITTLE_SPACE_BYTES:
        return warning("disk", f"little space is left for {folder}: {_space(folder)}", ROOM)
    return ok("disk", _space(folder))


def _try_to_write(folder: Path) -> None:
    path = folder / f".ht-trial.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        with path.open("xb") as stream:  # a link that somebody left there is not written through
            stream.write(b"\0" * TRIAL_BYTES)
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        path.unlink(missing_ok=True)


def _space(folder: Path) -> str:
    disk = os.statvfs(folder)
    files = f", {disk.f_favail} files" if disk.f_files and disk.f_favail < 1000 else ""
    free, whole = (blocks * disk.f_frsize // MEGABYTE for blocks in (disk.f_bavail, disk.f_blocks))
    return f"{free} MB{files} free of {whole} MB"


def _file_system(folder: Path) -> list[Finding]:
    kind = file_system_of(folder)
    if not kind.startswith(NETWORK_FILE_SYSTEMS):
        return []
    seen = f"{folder} is on a network drive ({kind}), where locks and the embedded database are not reliable"
    return [warning("disk", seen, "set BOT_DATA_DIR to a folder on a local disk, and use MySQL or MariaDB")]


def file_system_of(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Its kind, as mount(8) names it; empty where the system has no mountinfo (proc(5))."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    best, kind, place = "", "", os.path.realpath(folder)
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4] if len(before.split()) > 4 else ""
        covers = place == point or place.startswith(point.rstrip("/") + "/")
        if point and covers and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def check_limits(pool_size: int, limits: Optional[Sequence[HostLimit]] = None) -> Finding:
    """What this user may use, against what the pool needs at least: one run of the bot in each worker at a time.

    `limits`: those of this host when they are not given.
    """
    known = host_limits() if limits is None else limits
    seen = ", ".join(map(str, known)) or "none can be seen"
    left = runs_left(known)
    if left < pool_size:
        room = f"{seen}: there is room for {left:.0f} more runs of the bot at a time, a tenth kept free"
        return warning("limits", f"{room}; the pool has {pool_size} workers", "lower BOT_WORKER_POOL_SIZE")
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    if memory != resource.RLIM_INFINITY and memory < MEMORY_OF_A_PROCESS:
        why = f"a process may have {memory // MEGABYTE} MB of memory, which may be too little"
        return warning("limits", why, "ask the host for more memory")
    return ok("limits", f"{seen}; room for {left:.0f} more runs of the bot at a time" if known else seen)
