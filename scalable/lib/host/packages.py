"""The packages this project stands on: which version is there, and what to do when one is missing."""

from __future__ import annotations

from importlib import metadata
from typing import Optional

# Import name → name in the package index.
PACKAGES = {
    "bottle": "bottle",
    "pymysql": "PyMySQL",
    "apscheduler": "APScheduler",
    "waitress": "waitress",
    "dotenv": "python-dotenv",
}
INSTALL = "python3 -m pip install --target scalable/vendor -r requirements.txt"


def package_versions() -> dict[str, Optional[str]]:
    """Version by package name; None for one that is not installed."""
    return {name: _version(name) for name in PACKAGES.values()}


def _version(name: str) -> Optional[str]:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def missing_package(error: ModuleNotFoundError) -> str:
    """One sentence for the person who has to install it; an unknown module is a defect and raised again."""
    name = (error.name or "").partition(".")[0]
    if name not in PACKAGES:
        raise error
    return f"the Python package {PACKAGES[name]} is missing: {INSTALL}"
