"""The commands in the documents name scripts, subcommands and options that the scripts have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.judges.documents import DOCUMENTS, read
from tests.support.places import REPOSITORY

SCALABLE = REPOSITORY / "scalable"


def test_every_command_names_a_script_and_options_it_has(tmp_path: Path) -> None:
    named = r"python3 \S*scalable/(\w+\.py)([^\n`>&]*)"
    commands = [command for document in DOCUMENTS for command in re.findall(named, read(document))]
    assert commands
    told: dict[tuple[str, ...], str] = {}
    for script, rest in set(commands):
        assert (SCALABLE / script).is_file(), script
        for option in re.findall(r"--[a-z-]+", rest):
            subcommand = re.findall(r"^[a-z-]+", rest.strip())[:1] if not rest.strip().startswith("-") else []
            command = (script, *subcommand)
            told[command] = told.get(command) or help_of(script, subcommand, tmp_path)
            assert re.search(rf"{option}(?![\w-])", told[command]), (script, option)


def help_of(script: str, subcommand: list[str], folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    done = subprocess.run(
        [sys.executable, str(SCALABLE / script), *subcommand, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "BOT_DATA_DIR": str(folder), "BOT_LEGACY_PATH": "../examples/bot.py"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
