"""The poke from whoever stored an update to the pool: heard at once, and never in the way of the one who pokes."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.ingest.pool_notification import NotificationSocket, notify_pool, open_notification_socket

NAME = ".ht-poke.sock"


@pytest.fixture(params=["short path", "path longer than a socket's may be"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "short path":
        return tmp_path / NAME
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    return folder / NAME


@pytest.fixture
def notifications(path: Path) -> Iterator[NotificationSocket]:
    notifications = NotificationSocket(path)
    yield notifications
    notifications.close()


def test_a_poke_is_heard_at_once_and_once(path: Path, notifications: NotificationSocket):
    notify_pool(path)

    assert select.select([notifications], [], [], 10)[0]
    assert notifications.take() == 1
    assert notifications.take() == 0


def test_more_pokes_than_the_socket_holds_neither_wait_nor_fail(path: Path, notifications: NotificationSocket):
    for _ in range(10_000):
        notify_pool(path)

    assert 1 <= notifications.take() < 10_000


def test_nobody_listens_and_the_poke_does_nothing(path: Path):
    notify_pool(path)

    assert not path.exists()


def test_the_socket_of_a_pool_that_was_killed_is_no_obstacle(path: Path):
    NotificationSocket(path)._socket.close()  # the name stays behind, as after kill -9
    notify_pool(path)

    notifications = NotificationSocket(path)
    notify_pool(path)

    assert notifications.take() == 1
    notifications.close()
    assert not path.exists()


def test_only_the_owner_may_poke(path: Path, notifications: NotificationSocket):
    assert path.stat().st_mode & 0o077 == 0


def test_a_folder_without_sockets_is_told_and_lived_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert open_notification_socket(tmp_path / "not there" / NAME) is None

    assert "no poke socket, looking for updates instead" in caplog.text


def test_pokes_and_sockets_leave_no_descriptor_open(path: Path):
    before = len(os.listdir("/proc/self/fd"))
    notifications = NotificationSocket(path)
    for _ in range(10):
        notify_pool(path)
    notifications.close()

    assert len(os.listdir("/proc/self/fd")) == before
