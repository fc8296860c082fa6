"""A data folder that was there already: made private, left readable, or refused; with another user: see processes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.data_folder import DataFolder


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
