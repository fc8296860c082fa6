"""What tests of one part may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.generators.python_bots import PythonBots


@pytest.fixture
def bots(tmp_path: Path) -> Iterator[PythonBots]:
    """Bots in Python, called inside this process."""
    bots = PythonBots(tmp_path)
    yield bots
    bots.clean_up()
