"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.generators.python_bots import PythonBots
from tests.support.servers.databases import Servers


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Real database servers, started when first asked for."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.stop()


@pytest.fixture
def bots(tmp_path: Path) -> Iterator[PythonBots]:
    """Bots in Python, called inside this process."""
    bots = PythonBots(tmp_path)
    yield bots
    bots.clean_up()
