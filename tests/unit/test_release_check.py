"""The files that are here, compared with those of the release."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scalable.lib.setup.finding import Verdict
from scalable.lib.setup.release_check import check_files

FILES = {
    "webhook_queue.py": b"#!/usr/bin/env python3\nprint('here')\n",
    "lib/logs.py": b"x = 1\n",
    ".htaccess": b"Require all denied\n",
    "vendor/bottle.py": b"y = 2\n",
}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in FILES.items()]
    (tmp_path / "SHA256SUMS").write_text("".join(lines))
    return tmp_path


def told(plugin: Path) -> tuple[Verdict, str]:
    [finding] = check_files(plugin)
    return finding.verdict, finding.seen


def test_all_as_released(plugin: Path) -> None:
    assert told(plugin) == (Verdict.OK, "4, all as released")


def test_a_copy_of_the_project_itself_has_no_list_and_is_not_compared(plugin: Path) -> None:
    (plugin / "SHA256SUMS").unlink()

    assert check_files(plugin) == []


def test_another_interpreter_in_the_first_line_and_an_edited_htaccess_are_the_owners_to_choose(plugin: Path) -> None:
    (plugin / "webhook_queue.py").write_bytes(b"#!/opt/python311/bin/python3\nprint('here')\n")
    (plugin / ".htaccess").write_bytes(b"#Options +ExecCGI\n")

    assert told(plugin)[0] is Verdict.OK


def test_a_missing_file_is_an_error_and_named(plugin: Path) -> None:
    (plugin / "lib/logs.py").unlink()

    assert told(plugin) == (
        Verdict.ERROR,
        "1 of the release not there (lib/logs.py): upload the release again, as binary files",
    )


def test_a_package_that_was_taken_away_is_a_warning_because_the_checks_may_have_advised_it(plugin: Path) -> None:
    (plugin / "vendor/bottle.py").unlink()

    verdict, seen = told(plugin)

    assert verdict is Verdict.WARNING
    assert "vendor/bottle.py" in seen


def test_a_changed_file_is_a_warning(plugin: Path) -> None:
    (plugin / "lib/logs.py").write_bytes(b"x = 2\n")

    verdict, seen = told(plugin)

    assert verdict is Verdict.WARNING
    assert "1 other than in the release (lib/logs.py): fine if you changed them" in seen


def test_line_ends_of_a_text_upload_are_told_apart_from_a_change(plugin: Path) -> None:
    for name in ("lib/logs.py", "webhook_queue.py"):
        (plugin / name).write_bytes(FILES[name].replace(b"\n", b"\r\n"))

    assert told(plugin) == (
        Verdict.WARNING,
        "2 with other line ends (webhook_queue.py, lib/logs.py): upload the release again, as binary files",
    )


def test_a_list_that_was_damaged_is_told(plugin: Path) -> None:
    (plugin / "SHA256SUMS").write_bytes(b"\xff\xfe")

    verdict, seen = told(plugin)

    assert verdict is Verdict.WARNING
    assert "cannot be read" in seen
