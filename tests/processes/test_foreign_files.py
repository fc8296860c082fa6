"""Files of another user in the data folder, as a command that was run as root leaves them: which, and what helps."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import DatabaseUnavailable
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.retry_policy import RetryPolicy
from tests.support.other_user import NAME, as_another_user, public_folder

FILE = ".ht-queue.sqlite3"


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder of the user `nobody`, whose installation this is, with a queue."""
    with public_folder() as place:
        counts(place)  # once as this user: the other one may not be allowed to read Python's own modules
        folder = place / "data"
        folder.mkdir(0o700)
        os.chown(folder, pwd.getpwnam(NAME).pw_uid, -1)
        assert as_another_user(lambda: counts(folder)) == "0 pending"
        yield folder


def counts(folder: Path) -> str:
    queue = DatabaseQueue(open_database(SqliteAddress(folder / FILE)), "bot_jobs", RetryPolicy())
    try:
        queue.ensure_schema()
        return f"{queue.counts().pending} pending"
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        queue.close()


@pytest.mark.parametrize("name", [FILE, f"{FILE}-seen"])
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_a_file_of_root_is_named_with_the_command_that_helps(data: Path, name: str, mode: int) -> None:
    (data / name).chmod(mode)
    os.chown(data / name, 0, 0)

    said = as_another_user(lambda: counts(data))

    assert f"{name} belongs to user root, and user nobody may not read and write it" in said
    assert f"chown nobody {data / name}" in said


def test_after_that_command_it_goes_on(data: Path) -> None:
    note = data / f"{FILE}-seen"
    os.chown(note, 0, 0)
    assert "belongs to user root" in as_another_user(lambda: counts(data))

    os.chown(note, pwd.getpwnam(NAME).pw_uid, -1)

    assert as_another_user(lambda: counts(data)) == "0 pending"
