"""find_python: this very program, or one of the same installation when a web server runs Python inside itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.pool.find_python import ask_python, find_python

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def python(path: Path) -> Path:
    return program(path, f'#!/bin/sh\nexec {sys.executable} "$@"\n')


def test_a_python_that_runs_this_process_is_it():
    assert find_python() == sys.executable


@pytest.mark.parametrize("executable", ["/usr/sbin/apache2", "/usr/bin/uwsgi", "/opt/lsws/lswsgi", "", "/no/python3"])
def test_a_web_server_is_none_and_the_one_of_its_installation_is(tmp_path: Path, executable: str):
    found = find_python(executable, [str(python(tmp_path / "bin" / "python3").parent.parent)])

    assert found == str(tmp_path / "bin" / "python3")
    assert subprocess.run([found, "-c", "print('runs')"], capture_output=True, text=True).stdout == "runs\n"


def test_the_same_version_comes_before_another_one(tmp_path: Path):
    python(tmp_path / "bin" / "python3")
    same = python(tmp_path / "bin" / f"python{VERSION}")

    assert find_python("", [str(tmp_path)]) == str(same)


def test_the_virtual_environment_comes_before_what_it_was_made_from(tmp_path: Path):
    virtual, base = (python(tmp_path / name / "bin" / "python3") for name in ("virtual", "base"))

    assert find_python("", [str(tmp_path / "virtual"), str(tmp_path / "base")]) == str(virtual)
    virtual.unlink()
    assert find_python("", [str(tmp_path / "virtual"), str(tmp_path / "base")]) == str(base)


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/nowhere/to-be-found\n", "no program at all\x00"])
def test_one_that_does_not_run_or_is_too_old_is_passed_over(tmp_path: Path, text: str):
    program(tmp_path / "bin" / f"python{VERSION}", text)
    good = python(tmp_path / "bin" / "python")

    assert find_python("", [str(tmp_path)]) == str(good)


def test_without_any_it_says_where_it_looked(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=rf"this process is lswsgi, and there is none in {tmp_path}/bin"):
        find_python("lswsgi", [str(tmp_path), str(tmp_path)])


def test_a_python_is_asked_with_the_options_its_first_line_gives_it(tmp_path: Path) -> None:
    quick = ask_python(sys.executable, str(tmp_path), ("bottle", "nowhere"), ["-S"])

    assert quick is not None
    assert quick.missing == ("nowhere",), "packages are found although it starts without them"
    assert ask_python(sys.executable, str(tmp_path), (), ["-Z"]) is None
