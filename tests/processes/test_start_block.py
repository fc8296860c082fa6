"""The start block of the entry scripts: the same everywhere, and a readable line on a Python that is too old.

The web scripts must parse as a whole on Python 2.7, which is `python` on old hosts. `config.py` is only ever run by
hand, with a Python a person chose; it holds a dataclass, so it must parse on 3.6 but cannot on 2.7.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.need import old_python

SCALABLE = Path(__file__).resolve().parents[2] / "scalable"
SCRIPTS = ("config.py", "dashboard.py", "passenger_wsgi.py", "webhook_queue.py", "worker.py", "worker_pool.py")
ON_OLD = [(name, "3.6") for name in SCRIPTS] + [(name, "2.7") for name in SCRIPTS if name != "config.py"]
BLOCK = re.compile(r"^# --- start block.*?^# --- end of the start block ---$", re.MULTILINE | re.DOTALL)


def block_of(text: str) -> str:
    found = BLOCK.findall(text)
    assert len(found) == 1, f"{len(found)} start blocks"
    return found[0]


def different(texts: dict[str, str]) -> list[str]:
    """Names whose start block is not the one most of them have."""
    blocks = {name: block_of(text) for name, text in texts.items()}
    usual = max(blocks.values(), key=list(blocks.values()).count)
    return [name for name, block in blocks.items() if block != usual]


def test_the_start_block_is_the_same_in_every_entry_script():
    assert different({name: (SCALABLE / name).read_text(encoding="utf-8") for name in SCRIPTS}) == []


def test_one_changed_character_in_a_start_block_is_found():
    text = (SCALABLE / "worker.py").read_text(encoding="utf-8")

    assert different({"a.py": text, "b.py": text, "c.py": text.replace("(3, 9)", "(3, 8)")}) == ["c.py"]


def run_with(python: str, script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(script)],
        env={"PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("version", ["2.7", "3.6"])
def test_the_start_block_by_itself_parses_on_an_old_python(version: str, tmp_path: Path):
    script = tmp_path / "block.py"
    script.write_text(block_of((SCALABLE / "config.py").read_text(encoding="utf-8")), encoding="utf-8")

    done = run_with(old_python(version), script)

    assert done.returncode == 2
    assert "needs Python 3.9 or newer" in done.stderr


@pytest.mark.parametrize(("name", "version"), ON_OLD)
def test_an_old_python_gets_one_readable_line_and_exit_code_2(name: str, version: str):
    done = run_with(old_python(version), SCALABLE / name)

    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"\S+: Scalable mode needs Python 3\.9 or newer; this is {re.escape(version)}\n", done.stderr)


@pytest.mark.parametrize(("name", "version"), ON_OLD)
def test_an_old_python_under_a_web_server_answers_500_and_says_why(name: str, version: str):
    done = run_with(old_python(version), SCALABLE / name, GATEWAY_INTERFACE="CGI/1.1")

    head, _, body = done.stdout.partition("\n\n")
    assert head.split("\n")[0] == "Status: 500 Internal Server Error"
    assert "Content-Type: text/plain" in head
    assert "needs Python 3.9 or newer" in body
    assert "needs Python 3.9 or newer" in done.stderr


def test_this_python_starts_the_scripts_from_any_folder_without_a_word(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(SCALABLE / "worker_pool.py"), "--help"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: worker_pool.py")


def test_nothing_that_lies_beside_the_scripts_can_shadow_a_module(tmp_path: Path):
    """Given files named like modules of Python and of ours, in the bot's folder and in the working folder."""
    plugin = tmp_path / "bot" / "renamed-plugin"
    plugin.parent.mkdir()
    plugin.symlink_to(SCALABLE)
    for name in ("queue.py", "scalable.py", "config.py", "logging.py", "lib.py"):
        (plugin.parent / name).write_text("raise SystemExit('the wrong module was imported')\n")

    done = subprocess.run(
        [sys.executable, "-B", "renamed-plugin/worker_pool.py", "--help"],
        cwd=plugin.parent,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
