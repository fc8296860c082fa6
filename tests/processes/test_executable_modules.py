"""What of the folder a web server that ignores .htaccess could run: the scripts, and no module or tool of a package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from scalable.lib.setup.finding import Verdict
from scalable.lib.setup.script_check import check_scripts
from scalable.lib.setup.script_repair import SCRIPTS, repair_scripts
from tests.support.places import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With packages as `pip install --target` leaves them, and modules as some file managers upload them."""
    folder = tmp_path / "scalable"
    shutil.copytree(REPOSITORY / "scalable", folder, ignore=shutil.ignore_patterns("__pycache__", ".ht*", "vendor"))
    for name in ("vendor/bin/bottle.py", "vendor/bottle.py", "vendor/bin/waitress-serve", "lib/start.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("a") as file:
            os.fchmod(file.fileno(), 0o755)
    return folder


def executable(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and os.access(path, os.X_OK)}


def test_the_check_tells_of_modules_that_are_executable_and_init_puts_that_right(folder: Path) -> None:
    [told] = [finding for finding in check_scripts(folder) if "is executable" in finding.seen]
    repaired = repair_scripts(folder)

    assert (told.verdict, told.remedy) == (Verdict.WARNING, "python3 scalable/config.py init")
    assert "(4 in all)" in told.seen
    assert {
        "scalable/vendor/bin/bottle.py: mode 644 instead of 755",
        "scalable/lib/start.py: mode 644 instead of 755",
    } < {finding.seen for finding in repaired}
    assert executable(folder) == set(SCRIPTS)
    assert [finding for finding in check_scripts(folder) if "is executable" in finding.seen] == []


def test_folders_stay_open_and_what_else_is_there_stays_as_it_is(folder: Path) -> None:
    tool = folder / "my-own-tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    repair_scripts(folder)

    assert "my-own-tool" in executable(folder)
    assert all(path.stat().st_mode & 0o111 for path in folder.rglob("*") if path.is_dir())
