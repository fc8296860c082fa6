"""Where PHP is searched for during a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import pytest

from scalable.lib.runners.php import find_php as finding
from scalable.lib.runners.php.find_php import forget_php
from scalable.lib.runners.php.php_ini import forget_settings


@contextmanager
def php_found_only_in(folder: Optional[Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this folder alone, None: as always; what is known of it is forgotten before and after."""
    if folder is not None:
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setattr(finding, "PLACES", ())
        monkeypatch.setattr(finding, "PATTERNS", ())
    forget_php()
    forget_settings()
    yield
    forget_php()
    forget_settings()
