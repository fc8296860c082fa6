"""What a test needs beyond Python packages: skipped at a desk when missing, failed in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need(reason: str | None) -> None:
    """Skip the test at a desk, and fail it in CI, when something it needs is missing; `None`: nothing is."""
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def old_python(version: str) -> str:
    """The path of a Python `version` such as `2.7`, from PATH or from pyenv; without one the test is skipped."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted((root / "versions").glob(f"{version}.*/bin/python{version}"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")
    need(None if found else f"Python {version} is not installed")
    return str(found)
