"""take_file_lock: one holder, a private file that no child inherits, and readable problems."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.pool.file_lock import take_file_lock


def test_there_is_one_holder_and_the_lock_is_free_when_its_descriptor_is_closed(tmp_path: Path):
    descriptor = take_file_lock(tmp_path / "lock")
    assert descriptor is not None
    assert take_file_lock(tmp_path / "lock") is None

    os.close(descriptor)

    assert take_file_lock(tmp_path / "lock") is not None


def test_the_file_is_private_and_no_child_inherits_it(tmp_path: Path):
    descriptor = take_file_lock(tmp_path / "lock")

    assert descriptor is not None
    assert not os.get_inheritable(descriptor)
    assert (tmp_path / "lock").stat().st_mode & 0o077 == 0


def test_a_lock_that_becomes_free_between_two_tries_is_taken(tmp_path: Path):
    held = take_file_lock(tmp_path / "lock")
    assert held is not None
    timer = threading.Timer(0.05, os.close, [held])
    timer.start()

    assert take_file_lock(tmp_path / "lock", tries=500) is not None
    timer.join(60)


def test_a_lock_that_is_not_taken_leaves_no_descriptor_open(tmp_path: Path):
    take_file_lock(tmp_path / "lock")
    before = len(os.listdir("/proc/self/fd"))

    assert take_file_lock(tmp_path / "lock", tries=2) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_cannot_be_opened_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="missing/lock: the lock cannot be opened"):
        take_file_lock(tmp_path / "missing" / "lock")


def test_a_file_system_without_locks_is_named_with_the_setting_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(ConfigurationError, match=r"no locks \(No locks available\); name a local folder"):
        take_file_lock(tmp_path / "lock")


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o666, 0o777])
def test_a_file_that_others_could_open_is_private_from_then_on(tmp_path: Path, mode: int):
    """Whoever may open a file may hold its lock, and a pool would never start."""
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(mode)

    assert take_file_lock(tmp_path / "lock") is not None

    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_link_that_somebody_put_in_its_place_is_not_followed(tmp_path: Path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")

    with pytest.raises(ConfigurationError, match="cannot be opened"):
        take_file_lock(tmp_path / "lock")

    assert (tmp_path / "precious").read_text() == "kept"
