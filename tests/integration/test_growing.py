"""What docs/growing.md shows works as it is written there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.integration.conftest import database_settings
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.database_builds import SYSTEM_SERVER, find_build
from tests.support.servers.databases import Servers
from tests.support.servers.galera import galera_available
from tests.support.servers.served_installation import ServedSite

PAGE = REPOSITORY / "docs" / "growing.md"
BOT = REPOSITORY / "examples" / "bot.py"


def server_says(folder: Path, settings: str) -> subprocess.CompletedProcess[str]:
    """The server reads these settings, lists what they are, and ends."""
    file = folder / "settings.cnf"
    file.write_text(settings)
    (program,) = find_build(SYSTEM_SERVER).command
    return subprocess.run(
        [program, f"--defaults-file={file}", f"--datadir={folder}", "--verbose", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_server_understands_the_settings_of_a_cluster(tmp_path: Path) -> None:
    need(galera_available())
    [block] = re.findall(r"^```ini\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    shown = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line)

    listed = dict(re.findall(r"^([a-z-]+) +(\S+)$", server_says(tmp_path, block).stdout, re.MULTILINE))

    assert {name: listed[name.replace("_", "-")].upper() for name in shown} == {
        name: {"ON": "TRUE"}.get(value, value.upper()) for name, value in shown.items()
    }
    assert "wsrep_no_such_thing" in server_says(tmp_path, block + "wsrep_no_such_thing = 1\n").stderr


def test_an_installation_moves_to_another_database_when_the_note_of_the_old_one_is_deleted(
    servers: Servers, tmp_path: Path
) -> None:
    before = ServedSite(tmp_path, BOT)
    after = ServedSite(tmp_path, BOT, **database_settings(servers, "mariadb-10.11"))
    assert before.run("config.py").returncode == 0

    refused = after.run("config.py")
    (tmp_path / "data" / ".ht-database").unlink()
    moved = after.run("config.py")

    assert (refused.returncode, moved.returncode) == (2, 0)
    assert f"delete {tmp_path}/data/.ht-database" in refused.stdout
    assert "MariaDB" in moved.stdout
