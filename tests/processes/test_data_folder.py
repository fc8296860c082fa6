"""DataFolder with several processes at once, which agree on one database and one secret, and with another user."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.data_folder import DataFolder
from tests.support.other_user import as_another_user, public_folder

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 6
# Says that it is ready, waits for a line, then asks the folder: all processes ask at the same moment.
ASK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.data_folder import DataFolder
folder = DataFolder(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
folder.prepare()
try:
    folder.remember_database(sys.argv[3])
    print("agreed", folder.secret().hex())
except ConfigurationError as error:
    print("refused", error)
"""


def ask_at_once(path: Path, identities: list[str]) -> list[str]:
    """The answer of one process for each of `identities`, all let go together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, str(ROOT), str(path), identity],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for identity in identities
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0] for process in processes]


def test_processes_that_start_together_agree_on_one_database(tmp_path: Path):
    identities = [f"database {'AB'[number % 2]}" for number in range(PROCESSES)]

    answers = ask_at_once(tmp_path / "data", identities)

    chosen = (tmp_path / "data" / ".ht-database").read_text().strip()
    assert chosen in identities
    for identity, answer in zip(identities, answers):
        assert answer.startswith("agreed" if identity == chosen else "refused"), answers
    refusals = [answer for answer in answers if answer.startswith("refused")]
    assert all("database A" in refusal and "database B" in refusal for refusal in refusals)


def test_processes_that_start_together_share_one_secret(tmp_path: Path):
    answers = ask_at_once(tmp_path / "data", ["the same"] * PROCESSES)

    assert len(set(answers)) == 1, answers
    assert bytes.fromhex(answers[0].split()[1]) == DataFolder(tmp_path / "data").secret()


@pytest.mark.parametrize("name", [".ht-secret", ".ht-queue.sqlite3", ".ht-link"])
def test_files_that_another_user_has_put_into_an_open_folder_are_refused(name: str):
    """Whoever knows the secret can make a cookie of the owner."""
    with public_folder() as place:
        theirs = DataFolder(place / "data")
        theirs.path.mkdir()
        theirs.path.chmod(0o777)
        plant = partial(os.symlink, "/etc/passwd") if name == ".ht-link" else partial(Path.write_text, data="0" * 64)
        assert as_another_user(lambda: plant(theirs.path / name) or "planted") in ("planted", "64")

        with pytest.raises(ConfigurationError, match=rf"{name} in it belongs to user nobody; look at it, and delete"):
            theirs.prepare()


def test_a_file_that_is_put_there_while_the_folder_is_being_closed_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Between our look at what is in it and the change of its mode; and by every process that comes later."""
    with public_folder() as place:
        folder = DataFolder(place / "data")
        folder.path.mkdir()
        folder.path.chmod(0o777)
        listdir, planted = os.listdir, []

        def list_and_let_plant(path: Path) -> list[str]:
            names = listdir(path)
            planted.append(as_another_user(lambda: (folder.path / ".ht-queue.sqlite3").write_text("theirs")))
            return names

        monkeypatch.setattr("scalable.lib.setup.private_folder.os.listdir", list_and_let_plant)
        with pytest.raises(ConfigurationError, match=r"\.ht-queue\.sqlite3 in it belongs to user nobody"):
            folder.prepare()
        monkeypatch.undo()

        assert planted[0] == "6"
        with pytest.raises(ConfigurationError, match=r"\.ht-queue\.sqlite3 in it belongs to user nobody"):
            folder.prepare()


def test_a_folder_of_another_user_is_refused_however_open_it_is():
    """He can put another one in its place. The one who runs us is `nobody` here."""
    with public_folder() as place:
        folder = DataFolder(place / "data")
        folder.path.mkdir()
        os.chown(folder.path, 1, 1)
        folder.path.chmod(0o777)

        said = as_another_user(lambda: refusal_of(folder))

    assert "it belongs to user daemon, who can replace what is in it" in said


def refusal_of(folder: DataFolder) -> str:
    try:
        folder.prepare()
    except ConfigurationError as error:
        return str(error)
    return "taken"
