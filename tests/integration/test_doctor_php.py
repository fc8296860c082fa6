"""doctor.php where PHP is old, or may start no programs, and what it reads of a settings file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.old_php import old_php_cgi, old_php_cgi_available
from tests.support.servers.site import copy_plugin

PHP = "/usr/bin/php"


def run(folder: Path, command: list[str], **environment: str) -> str:
    done = subprocess.run(
        [*command, str(folder / "scalable" / "doctor.php")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **environment},
    )
    assert done.returncode in (0, 2), done
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    need(None if Path(PHP).exists() else "PHP: php-cli is not installed: python3 tests/install.py")
    plugin = copy_plugin(tmp_path)
    (tmp_path / "bot.php").write_text("<?php file_get_contents('php://stdin');")
    (plugin / ".htenv").write_text("BOT_MONITOR_TOKEN=hush-owner\n")
    (plugin / ".htenv").chmod(0o600)
    return tmp_path


def test_php_of_another_decade_runs_it_too(folder: Path) -> None:
    need(old_php_cgi_available())

    said = run(folder, [old_php_cgi(folder), "-q"])

    assert "PHP 7.4" in said
    assert not re.search("Parse error|Fatal error|Warning:|Deprecated:|Notice:", said)
    assert "config.py, database" in said


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o777])
@pytest.mark.parametrize("holds", [[".ht-secret"], ["of-the-owner"], [".ht-planted"]])
def test_it_judges_the_data_folder_as_config_py_does(folder: Path, holds: list[str], mode: int) -> None:
    data = folder / "scalable" / ".htdata"
    data.mkdir()
    for name in holds:
        (data / name).write_text("0" * 64)
        os.chown(data / name, *((1, 1) if name == ".ht-planted" else (-1, -1)))
    data.chmod(mode)

    said = run(folder, [PHP])

    [of_doctor] = re.findall(r"^(\w+) +data folder: (.*)", said, re.MULTILINE)
    of_config, *more = re.findall(r"^(\w+) +config.py, data folder: (.*)", said, re.MULTILINE)
    assert of_doctor[0] == of_config[0], said
    could_be_read = holds == [".ht-secret"] and mode & 0o011 != 0  # what was open has been closed; that it was is told
    assert [verdict for verdict, _ in more] == ["warning"] * could_be_read
    needed = "ok" if mode == 0o700 or holds == [".ht-secret"] else "error" if mode & 0o022 else "warning"
    assert of_doctor[0] == ("error" if holds == [".ht-planted"] else needed)


def test_it_writes_through_no_link_that_another_user_has_planted(folder: Path) -> None:
    """He knows the number that its process will have, or tries them all."""
    data, precious = folder / "scalable" / ".htdata", folder / "bot.php"
    data.mkdir()
    data.chmod(0o777)
    kept = precious.read_bytes()
    # As PHP is the process that this one becomes, its number is known before it is started.
    script = 'ln -s "$1" "$2/.ht-trial.$$" && chown -h nobody "$2/.ht-trial.$$" && exec "$3" "$4"'
    said = run(folder, ["sh", "-c", script, "sh", str(precious), str(data), PHP])

    assert precious.read_bytes() == kept
    assert "belongs to nobody" in said
    assert "data folder" in said


def test_the_lock_of_its_page_makes_no_file_where_a_planted_link_leads(folder: Path) -> None:
    data, elsewhere = folder / "scalable" / ".htdata", folder / "elsewhere"
    data.mkdir()
    data.chmod(0o777)
    (data / ".ht-doctor.lock").symlink_to(elsewhere)
    code = '$_SERVER["REQUEST_METHOD"] = "POST"; $_POST["token"] = "wrong"; include $argv[1];'  # as its page is asked

    said = run_code(folder, code)

    assert "not the password" in said
    assert not elsewhere.exists()


def run_code(folder: Path, code: str) -> str:
    done = subprocess.run(
        [PHP, "-r", code, str(folder / "scalable" / "doctor.php")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_it_uses_nothing_that_php_5_4_does_not_know() -> None:
    source = (REPOSITORY / "scalable" / "doctor.php").read_text()
    code = re.sub(r"""/\*.*?\*/|//[^\n]*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", "''", source, flags=re.DOTALL)

    for newer in (
        r"\?\?",
        r"\bfn\s*\(",
        r"\)\s*:\s*\??\w+\s*\{",
        r"\.\.\.",
        r"<=>",
        r"\bint\s+\$",
        r"\bstring\s+\$",
        r"^\s*\[[^\]]*\]\s*=",
        r"\bmatch\s*\(",
        r"\?->",
        r"\bconst\s+\w+\s*=",
    ):
        assert not re.search(newer, code, re.MULTILINE), newer


@pytest.mark.parametrize(
    "options",
    [
        ["-d", "disable_functions=proc_open,exec,shell_exec,system,passthru,popen"],
        ["-d", "error_reporting=-1"],
    ],
    ids=["no programs", "every notice"],
)
def test_where_php_may_start_no_programs_it_still_says_what_it_sees(folder: Path, options: list[str]) -> None:
    (folder / "scalable" / "webhook_queue.py").chmod(0o644)

    said = run(folder, [PHP, "-n", "-d", "display_errors=1", *options])

    assert not re.search("Fatal error|Warning:|Deprecated:|Notice:", said)
    assert re.search("^error +scripts: .*webhook_queue.py, mode 644.*chmod 755", said, re.MULTILINE)
    if "disable_functions" in options[1]:
        assert re.search("^warning +php: the host forbids PHP to start programs", said, re.MULTILINE)
        assert "config.py," not in said


@pytest.mark.parametrize(
    "line",
    [
        "BOT_MONITOR_TOKEN=hush-owner",
        "\ufeffBOT_MONITOR_TOKEN='hush-owner'",
        'export BOT_MONITOR_TOKEN="hush-owner"',
        "BOT_MONITOR_TOKEN = hush-owner # mine",
        "BOT_MONITOR_TOKEN='hush-owner' # mine\r",
    ],
)
def test_it_reads_the_password_as_python_does_and_never_shows_it(folder: Path, line: str) -> None:
    plugin = folder / "scalable"
    (plugin / ".htenv").write_text(f"{line}\nBOT_DATA_DIR=hush-owner\n")
    ask = "$_SERVER['REQUEST_METHOD'] = 'POST'; $_POST = array('token' => $argv[1]); include $argv[2];"

    pages = [
        subprocess.run(
            [PHP, "-r", ask, given, str(plugin / "doctor.php")],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={"PATH": "/usr/bin:/bin"},
        ).stdout
        for given in ("hush-owner", "hush-owne")
    ]

    assert "<pre>" in pages[0]
    assert "<pre>" not in pages[1]
    assert "hush-owner" not in pages[0] + pages[1]
