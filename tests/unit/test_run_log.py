"""What a worker notes of the jobs that it runs, and what others read of it when it is dead."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from scalable.lib.queue.job import Lease
from scalable.lib.worker.run_log import MOST_LINES, RunLogs

WORKER = "host:17/1.1"


@pytest.fixture
def logs(tmp_path: Path) -> RunLogs:
    return RunLogs(tmp_path, b"one-boot")


def lease(job_id: int, token: str = "0123456789abcdef") -> Lease:
    return Lease(job_id, token, WORKER)


def begun(logs: RunLogs, *leases: Lease) -> list[bool]:
    """Whether each of these is known to have begun."""
    runs = logs.of(WORKER)
    assert runs is not None
    return [(each.job_id, each.token) in runs.begun for each in leases]


def succeeded(logs: RunLogs, *leases: Lease) -> list[bool]:
    """Whether each of these is known to have succeeded."""
    runs = logs.of(WORKER)
    assert runs is not None
    return [(each.job_id, each.token) in runs.succeeded for each in leases]


def test_nothing_is_known_of_a_worker_without_a_file(logs: RunLogs) -> None:
    assert logs.of(WORKER) is None


def test_what_it_ran_is_known_and_nothing_else(logs: RunLogs) -> None:
    log = logs.open(WORKER)
    first, second, of_another_claim = lease(1), lease(2**62), lease(1, "fedcba9876543210")
    assert begun(logs, first) == [False]

    log.begun(first)
    log.succeeded(first)
    log.begun(second)

    assert begun(logs, first, second, of_another_claim, lease(2)) == [True, True, False, False]
    assert succeeded(logs, first, second, of_another_claim) == [True, False, False]
    assert logs.of("host:17/1.2") is None


def test_the_last_runs_are_known_however_many_there_were(logs: RunLogs) -> None:
    log = logs.open(WORKER)
    runs = MOST_LINES // 2
    for number in range(1, 3 * runs):
        log.begun(lease(number))
        log.succeeded(lease(number))

    last = [lease(number) for number in range(2 * runs, 3 * runs)]
    assert begun(logs, *last) == succeeded(logs, *last) == [True] * runs
    assert begun(logs, lease(1), lease(2 * runs - 1)) == [False, False]


def test_several_slots_write_at_the_same_time(logs: RunLogs) -> None:
    log = logs.open(WORKER)
    together = threading.Barrier(4)

    def work(slot: int) -> None:
        together.wait(60)
        for number in range(200):
            log.begun(lease(slot * 1000 + number))

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert begun(logs, *(lease(slot * 1000 + number) for slot in range(4) for number in range(200))) == [True] * 800


def test_the_file_is_private_and_hidden_and_goes_with_its_worker(logs: RunLogs, tmp_path: Path) -> None:
    log = logs.open(WORKER)
    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.name.startswith(".ht")

    log.close()

    assert list(tmp_path.iterdir()) == []
    log.begun(lease(1))  # a slot that ends a moment later
    assert logs.of(WORKER) is None


def test_the_file_stays_when_jobs_are_still_held_and_goes_when_they_were_given_back(
    logs: RunLogs, tmp_path: Path
) -> None:
    log = logs.open(WORKER)
    log.begun(lease(3))
    log.close(is_needed=True)

    assert begun(logs, lease(3), lease(4)) == [True, False]
    logs.forget(WORKER)
    logs.forget(WORKER)
    assert list(tmp_path.iterdir()) == []


def test_after_a_fall_of_the_machine_nothing_is_known(logs: RunLogs, tmp_path: Path) -> None:
    """What was written last may not have reached the disk."""
    logs.open(WORKER).begun(lease(1))

    assert RunLogs(tmp_path, b"another-boot").of(WORKER) is None
    assert RunLogs(tmp_path, b"").of(WORKER) is None


@pytest.mark.parametrize("damage", [b"", b"one-boot", b"x" * 100_000])
def test_a_damaged_file_tells_nothing(logs: RunLogs, tmp_path: Path, damage: bytes) -> None:
    logs.open(WORKER).begun(lease(1))
    [file] = tmp_path.iterdir()
    file.write_bytes(damage)

    assert logs.of(WORKER) is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logs = RunLogs(tmp_path / "gone", b"one-boot")

    logs.open(WORKER).begun(lease(1))

    assert logs.of(WORKER) is None
    assert "runs are not noted" in caplog.text


def test_a_disk_that_is_full_makes_it_unknown_rather_than_wrong(logs: RunLogs, tmp_path: Path) -> None:
    """/dev/full is what the open file becomes: every write to it fails as on a full disk."""
    log = logs.open(WORKER)
    log.begun(lease(1))
    full = os.open("/dev/full", os.O_WRONLY)
    assert log._file is not None
    os.dup2(full, log._file)
    os.close(full)

    log.begun(lease(2))

    assert logs.of(WORKER) is None
    assert list(tmp_path.iterdir()) == []


def test_files_of_workers_that_ended_long_ago_are_deleted(logs: RunLogs, tmp_path: Path) -> None:
    logs.open(WORKER).begun(lease(1))
    [old] = tmp_path.iterdir()
    os.utime(old, (0, 0))
    (tmp_path / ".ht-secret").touch()
    os.utime(tmp_path / ".ht-secret", (0, 0))
    logs.open("host:17/1.2")

    logs.prune()

    assert logs.of(WORKER) is None
    assert logs.of("host:17/1.2") is not None
    assert (tmp_path / ".ht-secret").exists()
