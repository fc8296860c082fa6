"""The poke from whoever stored an update to the pool: heard at once, and never in the way of the one who pokes."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.host.poke import PokeSocket, open_poke_socket, poke

NAME = ".ht-poke.sock"


@pytest.fixture(params=["short path", "path longer than a socket's may be"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "short path":
        return tmp_path / NAME
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    return folder / NAME


@pytest.fixture
def pokes(path: Path) -> Iterator[PokeSocket]:
    pokes = PokeSocket(path)
    yield pokes
    pokes.close()


def test_a_poke_is_heard_at_once_and_once(path: Path, pokes: PokeSocket):
    poke(path)

    assert select.select([pokes], [], [], 10)[0]
    assert pokes.take() == 1
    assert pokes.take() == 0


def test_more_pokes_than_the_socket_holds_neither_wait_nor_fail(path: Path, pokes: PokeSocket):
    for _ in range(10_000):
        poke(path)

    assert 1 <= pokes.take() < 10_000


def test_nobody_listens_and_the_poke_does_nothing(path: Path):
    poke(path)

    assert not path.exists()


def test_the_socket_of_a_pool_that_was_killed_is_no_obstacle(path: Path):
    PokeSocket(path)._socket.close()  # the name stays behind, as after kill -9
    poke(path)

    pokes = PokeSocket(path)
    poke(path)

    assert pokes.take() == 1
    pokes.close()
    assert not path.exists()


def test_only_the_owner_may_poke(path: Path, pokes: PokeSocket):
    assert path.stat().st_mode & 0o077 == 0


def test_a_folder_without_sockets_is_told_and_lived_without(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert open_poke_socket(tmp_path / "not there" / NAME) is None

    assert "no poke socket, looking for updates instead" in caplog.text


def test_pokes_and_sockets_leave_no_descriptor_open(path: Path):
    before = len(os.listdir("/proc/self/fd"))
    pokes = PokeSocket(path)
    for _ in range(10):
        poke(path)
    pokes.close()

    assert len(os.listdir("/proc/self/fd")) == before
