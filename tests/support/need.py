"""One rule for a server that is missing: skip by name at a desk, fail where `CI` is set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def need(reason: str | None) -> None:
    """Let the test go on when `reason` is None; otherwise skip it, or fail it in CI, with that reason."""
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def old_python(version: str) -> str:
    """The path of a Python `version` such as `2.7`, from PATH or from pyenv; without one the test is skipped."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted((root / "versions").glob(f"{version}.*/bin/python{version}"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")
    need(None if found else f"Python {version} is not installed")
    return str(found)
