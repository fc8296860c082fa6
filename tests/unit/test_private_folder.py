"""A data folder that was there already: made private, left readable, or refused; with another user: see processes."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.data_folder import DataFolder
from scalable.lib.setup.finding import Verdict
from scalable.lib.setup.machine_check import check_data_folder
from scalable.lib.setup.private_folder import opened_before


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    return folder


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o770, 0o775, 0o755, 0o711, 0o2777])
def test_an_open_folder_of_ours_is_made_private_with_all_that_is_in_it(folder: DataFolder, mode: int):
    folder.secret()
    folder.embedded_database.touch(0o666)
    folder.embedded_database.chmod(0o666)
    folder.path.chmod(mode)

    folder.prepare()

    assert stat.S_IMODE(folder.path.stat().st_mode) & 0o777 == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o750])
def test_a_home_stays_readable_but_our_files_in_it_do_not(tmp_path: Path, mode: int):
    """Or the web server could not reach the site in it."""
    (tmp_path / "public_html").mkdir()
    (tmp_path / "picture.png").touch(0o644)
    folder = DataFolder(tmp_path)
    folder.embedded_database.touch()
    folder.embedded_database.chmod(0o644)
    tmp_path.chmod(mode)

    folder.prepare()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert stat.S_IMODE(folder.embedded_database.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "picture.png").stat().st_mode) == 0o644


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o773])
def test_a_folder_with_other_things_that_others_may_write_is_refused(tmp_path: Path, mode: int):
    """As /tmp: they could put files of theirs in the place of ours."""
    (tmp_path / "something").touch()
    tmp_path.chmod(mode)

    with pytest.raises(ConfigurationError, match=rf"mode {mode:o}: others may write here; make it private \(chmod 700"):
        DataFolder(tmp_path).prepare()


@pytest.mark.parametrize(("of_folder", "of_file"), [(0o755, 0o644), (0o711, 0o604), (0o750, 0o640), (0o775, 0o620)])
def test_what_others_could_open_before_it_was_made_private_is_told_until_it_is_another_file(
    folder: DataFolder, of_folder: int, of_file: int
):
    """Who has it open reads on, whatever the modes are now."""
    database = folder.embedded_database
    database.write_text("rows")
    folder.path.chmod(of_folder)
    database.chmod(of_file)

    folder.prepare()
    folder.prepare()
    told = [found for found in check_data_folder(folder) if found.verdict is Verdict.WARNING]
    shutil.copy2(database, f"{database}.new")
    os.replace(f"{database}.new", database)

    assert len(told) == 1
    assert f"{database.name} could be opened by other users" in told[0].seen
    assert f"cp -p {database.name} {database.name}.new && mv {database.name}.new {database.name}" in told[0].remedy
    assert opened_before(folder.path) == []
    assert all(found.verdict is not Verdict.WARNING for found in check_data_folder(folder))


def test_secrets_that_others_could_read_are_told_until_they_are_made_anew(folder: DataFolder):
    folder.secret()
    folder.monitor_token(invent=True)
    folder.path.chmod(0o755)
    for file in (folder.path / ".ht-secret", folder.monitor_token_file):
        file.chmod(0o644)

    folder.prepare()
    told = [found.remedy for found in check_data_folder(folder) if found.verdict is Verdict.WARNING]
    for file in (folder.path / ".ht-secret", folder.monitor_token_file):
        file.unlink()
    folder.secret()
    folder.monitor_token(invent=True)

    assert len(told) == 1
    assert "delete .ht-monitor-token and .ht-secret" in told[0]
    assert opened_before(folder.path) == []


@pytest.mark.parametrize(("of_folder", "of_file"), [(0o700, 0o644), (0o755, 0o600), (0o744, 0o644)])
def test_what_nobody_could_open_is_not_told(folder: DataFolder, of_folder: int, of_file: int):
    folder.embedded_database.write_text("rows")
    folder.path.chmod(of_folder)
    folder.embedded_database.chmod(of_file)

    folder.prepare()

    assert opened_before(folder.path) == []


def test_a_home_that_stays_open_tells_of_our_files_in_it(tmp_path: Path):
    (tmp_path / "picture.png").write_text("x")
    folder = DataFolder(tmp_path)
    folder.embedded_database.write_text("rows")
    (tmp_path / ".ht-queue.sqlite3-wal").write_text("more rows")
    for file in tmp_path.iterdir():
        file.chmod(0o644)
    tmp_path.chmod(0o755)

    folder.prepare()

    assert opened_before(tmp_path) == [".ht-queue.sqlite3"]


def test_a_note_that_says_something_else_tells_of_nothing(folder: DataFolder):
    (folder.path / ".ht-was-open").write_text("[1, {}]\nno\n")

    assert opened_before(folder.path) == []
