"""The packages this project needs: which version is used, which other one this Python has, what to do about it.

Those in scalable/vendor win, because the project was tested with them and those of this Python may change at any time.
A newer one that is not used is always reported: the older one may have a security hole.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Optional

from scalable.lib.setup.finding import Finding, error, ok, warning

# Import name → name in the package index.
PACKAGES = {
    "bottle": "bottle",
    "pymysql": "PyMySQL",
    "apscheduler": "APScheduler",
    "tzlocal": "tzlocal",
    "waitress": "waitress",
    "dotenv": "python-dotenv",
}
INSTALL = (
    "upload the folder scalable/vendor of the release, or: "
    "python3 -m pip install --target scalable/vendor -r requirements.txt"
)
_RELEASE = re.compile(r"\d+(\.\d+)*(\.post\d+)?", re.ASCII)


@dataclass(frozen=True)
class Package:
    """One of them: `vendored` is its version in scalable/vendor, `other` the one this Python has elsewhere."""

    module: str
    name: str
    vendored: Optional[str]
    other: Optional[str]

    @property
    def used(self) -> Optional[str]:
        """The version that is imported; None when there is none."""
        return self.vendored or self.other

    @property
    def is_older(self) -> bool:
        """Whether this Python has a newer release than the one that is used."""
        return _order(self.other) > _order(self.vendored) if self.vendored else False


def find_packages(vendor: Path, path: Optional[Sequence[str]] = None) -> list[Package]:
    """All of them. `vendor` is scalable/vendor, there or not; `path` is where else to look, by default sys.path."""
    folder = os.path.realpath(vendor)
    others = [each for each in (sys.path if path is None else path) if os.path.realpath(each or os.curdir) != folder]
    return [
        Package(module, name, _version(name, [str(vendor)]), _version(name, others))
        for module, name in PACKAGES.items()
    ]


def check_packages(packages: Sequence[Package]) -> list[Finding]:
    """Which versions are used, which are missing, and which newer ones are not used."""
    missing = [
        error("packages", f"{package.name} is missing: {INSTALL}") for package in packages if package.used is None
    ]
    seen = ", ".join(f"{package.name} {package.used}{_place(package)}" for package in packages if package.used)
    older = [warning("packages", _newer_elsewhere(each)) for each in packages if each.is_older]
    return [*(missing or [ok("packages", seen)]), *older]


def missing_package(problem: ModuleNotFoundError) -> str:
    """One sentence for the person who has to install it; `problem` is raised again when it names another module."""
    name = (problem.name or "").partition(".")[0]
    if name not in PACKAGES:
        raise problem
    return f"the Python package {PACKAGES[name]} is missing: {INSTALL}"


def _place(package: Package) -> str:
    if package.vendored is None:
        return " (this Python's own)"
    return f" (this Python has {package.other})" if package.other not in (None, package.vendored) else ""


def _newer_elsewhere(package: Package) -> str:
    stems = dict.fromkeys((package.module, package.name.lower().replace("-", "_")))
    files = " ".join(f"scalable/vendor/{stem}*" for stem in stems)
    return (
        f"{package.name} {package.vendored} of scalable/vendor is used, and this Python has the newer "
        f"{package.other}, which may repair something: take the newest release of Scalable mode, or use this "
        f"Python's own: rm -r {files}"
    )


def _version(name: str, path: list[str]) -> Optional[str]:
    """The version of the first one found, which is the one that would be imported."""
    for found in metadata.distributions(name=name, path=path):
        return found.version
    return None


def _order(version: Optional[str]) -> tuple[int, ...]:
    """For comparing; what is no final release counts as old, because it is not recommended."""
    if version is None or not _RELEASE.fullmatch(version):
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", version))
