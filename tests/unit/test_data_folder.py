"""The data folder: private, and of one mind about its database and its secret, however many processes ask at once."""

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


def test_a_new_folder_is_private_and_may_be_prepared_again(tmp_path: Path):
    folder = DataFolder(tmp_path / "not" / "there" / "yet")

    folder.prepare()
    folder.prepare()

    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert not folder.others_may_enter()


def test_everything_written_is_private_and_has_a_name_web_servers_refuse(folder: DataFolder):
    folder.remember_database("MySQL database 'bot' at db:3306")
    folder.secret()

    files = list(folder.path.iterdir())
    assert len(files) == 2
    assert all(file.name.startswith(".ht") for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


@pytest.mark.parametrize(("mode", "open_to_others"), [(0o700, False), (0o770, True), (0o755, True), (0o701, True)])
def test_a_folder_others_may_look_into_is_noticed(folder: DataFolder, mode: int, open_to_others: bool):
    folder.path.chmod(mode)

    assert folder.others_may_enter() is open_to_others


def test_a_file_in_the_place_of_the_folder_is_a_readable_problem(tmp_path: Path):
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigurationError, match=r"BOT_DATA_DIR='.*/data': the folder cannot be made \(File exists\)"):
        DataFolder(tmp_path / "data").prepare()


def test_a_folder_below_a_file_is_a_readable_problem(tmp_path: Path):
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigurationError, match=r"the folder cannot be made \(Not a directory\)"):
        DataFolder(tmp_path / "data" / "below").prepare()


def test_the_same_database_is_accepted_again_and_another_one_stops_and_names_both(folder: DataFolder):
    folder.remember_database("SQLite file one")
    folder.remember_database("SQLite file one")

    with pytest.raises(ConfigurationError) as caught:
        folder.remember_database("MySQL database two")

    message = str(caught.value)
    assert "would use MySQL database two, but this installation uses SQLite file one" in message
    assert str(folder.database_note) in message


def test_the_database_may_be_changed_on_purpose_by_deleting_the_note(folder: DataFolder):
    folder.remember_database("SQLite file one")
    folder.database_note.unlink()

    folder.remember_database("MySQL database two")

    assert folder.database_note.read_text() == "MySQL database two\n"


def test_the_secret_is_long_and_is_no_other_folders_secret(folder: DataFolder, tmp_path: Path):
    other = DataFolder(tmp_path / "other")
    other.prepare()

    assert len(folder.secret()) == 32
    assert folder.secret() == folder.secret()
    assert folder.secret() != other.secret()


def test_reading_the_secret_again_writes_nothing(folder: DataFolder):
    """So that a full disk does not close the dashboard, and a page view is no write."""
    folder.secret()
    before = folder.path.stat().st_mtime_ns

    folder.secret()

    assert folder.path.stat().st_mtime_ns == before


def test_nothing_is_left_behind_by_the_ones_that_came_second(folder: DataFolder):
    for _ in range(3):
        folder.remember_database("one")
        folder.secret()

    assert sorted(file.name for file in folder.path.iterdir()) == [".ht-database", ".ht-secret"]


@pytest.mark.parametrize("name", [".ht-database", ".ht-secret"])
def test_a_note_that_cannot_be_read_is_a_readable_problem(folder: DataFolder, name: str):
    """As when another user wrote it; a folder in its place fails for every user, root too."""
    (folder.path / name).mkdir()

    with pytest.raises(ConfigurationError, match=rf"{name}: cannot be read"):
        folder.secret() if name == ".ht-secret" else folder.remember_database("one")


def test_a_folder_that_vanished_is_a_readable_problem(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"\.ht-secret: cannot be written \(No such file or directory\)"):
        DataFolder(tmp_path / "gone").secret()


def test_the_invented_password_is_made_when_it_is_asked_for_and_stays(folder: DataFolder):
    assert folder.monitor_token() == ""
    assert not folder.monitor_token_file.exists()

    invented = folder.monitor_token(invent=True)

    assert len(invented) == 32
    assert DataFolder(folder.path).monitor_token() == DataFolder(folder.path).monitor_token(invent=True) == invented
    assert stat.S_IMODE(folder.monitor_token_file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", ["", "short", "x" * 15, "with a space, and long enough", "x" * 300, "x" * 20 + "\n\n"]
)
def test_an_invented_password_that_is_none_is_refused_by_name(folder: DataFolder, content: str):
    """An empty one would be no password: nobody could log in, and nobody would know why."""
    folder.monitor_token_file.write_text(content)

    for invent in (False, True):
        with pytest.raises(ConfigurationError, match=r"\.ht-monitor-token: expected 16 or more"):
            folder.monitor_token(invent)
