"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.generators.python_bots import PythonBots
from tests.support.longest_first import seconds_of
from tests.support.servers.databases import Servers

# Inputs of chance are looked at by what they do: how long one takes, hypothesis would count in fifths of a second.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first; the order inside a file stays."""
    items.sort(key=lambda item: -seconds_of(item.nodeid))


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
