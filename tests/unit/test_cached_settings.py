"""The note for the lean webhook: true as long as the settings and the program are those it was written from."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scalable.lib.ingest.fast_cgi.cached_settings import (
    DEPENDS_ON,
    MAX_BYTES,
    CachedSettings,
    find_cached_settings,
    fingerprint,
    store_cached_settings,
)
from scalable.lib.queue.dialects.prepared_insert import PreparedInsert
from tests.support.places import REPOSITORY

SECRET, PASSWORD = "s3cret", "pä'\"ss"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `scalable/` with all that a note depends on, and a data folder."""
    for name in (*DEPENDS_ON, ".htdata/keep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one\n")
    (tmp_path / ".htdata" / "keep").unlink()
    return tmp_path


def note() -> CachedSettings:
    return CachedSettings(
        SECRET,
        "chat",
        "INFO",
        "/poke.sock",
        PreparedInsert("/db.sock", ["u", PASSWORD, "d"], ["SET x"], "INSERT INTO ö"),
    )


def leave(folder: Path) -> None:
    store_cached_settings(str(folder / ".htdata"), fingerprint(str(folder), {}), note())


def find(folder: Path) -> CachedSettings | None:
    return find_cached_settings(str(folder / ".htdata"), fingerprint(str(folder), {}))


def test_a_note_is_found_as_it_was_left(folder: Path):
    assert find(folder) is None

    leave(folder)

    found, left = find(folder), note()
    assert found is not None
    for name in ("secret", "order", "log_level", "notification_socket"):
        assert getattr(found, name) == getattr(left, name)
    for name in PreparedInsert.__slots__:
        assert getattr(found.enqueue, name) == getattr(left.enqueue, name)


def test_the_note_is_private_and_hidden_from_the_web(folder: Path):
    leave(folder)

    (file,) = (folder / ".htdata").iterdir()
    assert file.name.startswith(".ht")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_all_it_depends_on_is_there():
    for name in DEPENDS_ON[1:]:
        assert (REPOSITORY / "scalable" / name).is_file(), name


@pytest.mark.parametrize("name", DEPENDS_ON)
@pytest.mark.parametrize("change", ["written", "replaced", "removed", "touched"])
def test_whatever_changes_afterwards_has_to_be_found_out_anew(folder: Path, name: str, change: str):
    leave(folder)
    file = folder / name
    before = file.stat()
    if change == "written":  # and its time set back, as some uploads do
        file.write_text("two\n")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "replaced":
        (folder / "other").write_text("one\n")
        (folder / "other").rename(file)
    elif change == "removed":
        file.unlink()
    else:
        os.utime(file)

    assert find(folder) is None


def test_the_note_of_another_installation_is_not_ours(folder: Path):
    leave(folder)

    assert find_cached_settings(str(folder / ".htdata"), fingerprint(f"{folder}/.", {})) is None


@pytest.mark.parametrize("environment", [{"BOT_TOKEN": ""}, {"BOT_CONFIG": "x"}, {b"BOT_X": b"y"}], ids=repr)
def test_with_settings_in_the_environment_there_is_no_note(folder: Path, environment: dict[str, str]):
    store_cached_settings(str(folder / ".htdata"), fingerprint(str(folder), environment), note())

    assert fingerprint(str(folder), environment) == ""
    assert find_cached_settings(str(folder / ".htdata"), fingerprint(str(folder), environment)) is None
    assert find(folder) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"\xff",
        b"{}",
        b"[]",
        b"1",
        b'"text"',
        b"[1, 2, 3, 4, 5, 6, 7]",
        b"x" * (MAX_BYTES + 1),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_note_that_cannot_be_read_is_none(folder: Path, content: bytes):
    (folder / ".htdata" / ".ht-lean").write_bytes(content)

    assert find(folder) is None


def test_a_folder_in_its_place_is_no_note(folder: Path):
    (folder / ".htdata" / ".ht-lean").mkdir()

    assert find(folder) is None


def test_a_note_that_cannot_be_left_says_so(folder: Path):
    (folder / ".htdata" / ".ht-lean").mkdir()

    with pytest.raises(OSError, match="directory"):
        leave(folder)
