"""What a host lets one user have: read from its own files, and turned into a number of runs."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

import pytest

from scalable.lib.host_room import MEGABYTE, SECONDS, HostLimit, HostRoom, host_limits, runs_left
from scalable.lib.setup.finding import Verdict
from scalable.lib.setup.machine_check import check_limits

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         100000 kB\nMemAvailable:   12000000 kB\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host without a limit of its own; what a test adds is what it shows."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return tmp_path


def write(root: Path, folder: str, **files: str) -> None:
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(f"{text}\n")


def memory(
    used: int, most: int, cache: str, used_name: str = "memory__current", most_name: str = "memory__max"
) -> dict[str, str]:
    """The files of a control group that say what it uses and may use, and how much of that is cache, all in MB."""
    name, megabytes = cache.split()
    statistics = f"anon 1\n{name} {int(megabytes) * MEGABYTE}"
    return {used_name: str(used * MEGABYTE), most_name: str(most * MEGABYTE), "memory__stat": statistics}


def shown(root: Path) -> list[str]:
    return [str(limit) for limit in host_limits(root)]


def test_a_host_that_shows_nothing_limits_nothing(root: Path) -> None:
    assert host_limits(root) == []
    assert runs_left([]) == math.inf


def test_the_machine_has_what_it_calls_available(root: Path) -> None:
    write(root, "proc", meminfo=MEMINFO)

    assert shown(root) == ["3906 of 15625 MB memory"]


def test_a_control_group_of_version_2_and_those_above_it(root: Path) -> None:
    write(root, "proc/self", cgroup="0::/users/alice")
    write(root, "sys/fs/cgroup/users/alice", pids__current="7", pids__max="max", memory__max="max")
    write(root, "sys/fs/cgroup/users", pids__current="40", pids__max="100", **memory(700, 1000, "inactive_file 200"))

    assert sorted(shown(root)) == ["40 of 100 processes and threads", "500 of 1000 MB memory"]


def test_control_groups_of_version_1(root: Path) -> None:
    write(root, "proc/self", cgroup="9:name=systemd:/\n8:pids:/alice\n4:cpu,memory:/alice\n0::/")
    write(root, "sys/fs/cgroup/pids/alice", pids__current="5", pids__max="50")
    old_names = memory(300, 512, "total_inactive_file 100", "memory__usage_in_bytes", "memory__limit_in_bytes")
    write(root, "sys/fs/cgroup/memory/alice", **old_names)

    assert sorted(shown(root)) == ["200 of 512 MB memory", "5 of 50 processes and threads"]


def test_the_number_that_means_no_limit_is_none(root: Path) -> None:
    write(root, "proc/self", cgroup="4:memory:/")
    write(root, "sys/fs/cgroup/memory", memory__usage_in_bytes="1", memory__limit_in_bytes="9223372036854771712")

    assert host_limits(root) == []


def test_a_group_that_only_the_host_of_a_container_has_is_passed_over(root: Path) -> None:
    write(root, "proc/self", cgroup="0::/docker/0123456789ab")
    write(root, "sys/fs/cgroup", pids__current="10", pids__max="20")

    assert shown(root) == ["10 of 20 processes and threads"]


def test_files_that_say_something_else_are_no_limit(root: Path) -> None:
    write(root, "proc/self", cgroup="0::/")
    write(root, "proc", meminfo="nothing of the kind")
    write(root, "sys/fs/cgroup", pids__current="many", pids__max="20")

    assert host_limits(root) == []


def test_threads_of_this_user_count_against_the_limit_of_processes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(root).st_uid or 1)
    for process, threads in (("11", 3), ("12", 1)):
        for thread in range(threads):
            (root / "proc" / process / "task" / str(thread)).mkdir(parents=True)
        os.chown(root / "proc" / process, os.stat(root).st_uid or 1, -1)

    assert shown(root) == ["4 of 100 processes and threads"]


def test_root_is_not_held_to_the_limit_of_processes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert host_limits(root) == []


@pytest.mark.parametrize(
    ("limit", "runs"),
    [
        (HostLimit("processes and threads", 60, 100), 10),
        (HostLimit("processes and threads", 88, 100), 0),
        (HostLimit("processes and threads", 200, 100), 0),
        (HostLimit("memory", 420 * MEGABYTE, 1000 * MEGABYTE), 10),
    ],
)
def test_a_tenth_is_kept_free(limit: HostLimit, runs: int) -> None:
    assert limit.runs_left == runs
    assert runs_left([limit, HostLimit("memory", 0, 10**12)]) == runs


def test_the_host_is_asked_now_and_then() -> None:
    now, asked = 0.0, []

    def read() -> list[HostLimit]:
        asked.append(now)
        return [HostLimit("processes and threads", len(asked) * 30, 100)]

    room = HostRoom(read, lambda: now)
    assert [room.runs_left() for _ in range(3)] == [20, 20, 20]
    now += SECONDS

    assert room.runs_left() == 10
    assert asked == [0.0, SECONDS]


def test_the_check_says_how_many_runs_there_is_room_for() -> None:
    limits = [HostLimit("processes and threads", 60, 100), HostLimit("memory", 100 * MEGABYTE, 1024 * MEGABYTE)]

    enough, too_few = check_limits(4, limits), check_limits(11, limits)

    seen = "60 of 100 processes and threads, 100 of 1024 MB memory"
    assert (enough.verdict, enough.seen) == (Verdict.OK, f"{seen}; room for 10 more runs of the bot at a time")
    assert too_few.verdict is Verdict.WARNING
    assert too_few.seen == (
        f"{seen}: there is room for 10 more runs of the bot at a time, a tenth kept free; the pool has 11 workers"
    )
    assert too_few.remedy == "lower BOT_WORKER_POOL_SIZE"
