"""Importing a module has no effect, and loads no package that the process does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.judges import architecture as rules
from tests.support.places import REPOSITORY

IMPORT_EVERYTHING = """
import importlib, json, os, sys
root, names = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, root)
import bottle, waitress.server, pymysql, dotenv, sqlite3, wsgiref.handlers, unittest.mock  # theirs is not ours to judge
import apscheduler.schedulers.background, apscheduler.executors.pool, apscheduler.triggers.interval
import argparse, multiprocessing, concurrent.futures.thread, logging.handlers
from importlib.machinery import SourceFileLoader

compiled, compiled_anew = {}, SourceFileLoader.get_code
def get_code(loader, name):  # each file once, though it is carried out for every module that imports it
    if loader.path not in compiled:
        compiled[loader.path] = compiled_anew(loader, name)
    return compiled[loader.path]
SourceFileLoader.get_code = get_code

class Untouchable(dict):
    def _read(self, *arguments):
        raise AssertionError("the environment was read while importing %s" % current)
    __getitem__ = __contains__ = __iter__ = get = items = keys = _read

EFFECTS = {
    "os.mkdir", "os.rename", "os.remove", "os.link", "os.chmod", "os.kill", "os.fork", "os.exec", "os.system",
    "subprocess.Popen", "socket.bind", "socket.connect", "socket.sendto", "sqlite3.connect", "fcntl.flock",
}
def watch(name, arguments):
    if current is None:
        return
    writes = name == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if name in EFFECTS or writes:
        raise AssertionError("importing %s does %s%r" % (current, name, arguments))
current = None
sys.addaudithook(watch)
os.environ = Untouchable()
path = list(sys.path)
for name in names:
    for loaded in [each for each in sys.modules if each.split(".")[0] == "scalable"]:
        del sys.modules[loaded]
    current = name
    importlib.import_module(name)
    current = None
    assert sys.path == path, "importing %s changed sys.path" % name
"""


def run_python(code: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments], cwd=folder, env={}, capture_output=True, text=True, timeout=240
    )


def test_importing_any_module_alone_does_nothing(tmp_path: Path):
    names = [source.module for source in rules.sources()]

    done = run_python(IMPORT_EVERYTHING, str(REPOSITORY), json.dumps(names), folder=tmp_path)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "effect",
    [
        "print('hello')",
        "open('made', 'w').close()",
        "import os; os.environ.get('HOME')",
        "import sys; sys.path.append('x')",
        "import subprocess; subprocess.Popen(['true'])",
    ],
)
def test_the_test_of_imports_sees_an_effect(tmp_path: Path, effect: str):
    package = tmp_path / "root" / "scalable"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(effect)
    folder = tmp_path / "folder"
    folder.mkdir()

    done = run_python(IMPORT_EVERYTHING, str(package.parent), '["scalable"]', folder=folder)

    assert (done.stdout, done.stderr, done.returncode) != ("", "", 0)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("scalable.webhook_queue", ("bottle", "pymysql", "sqlite3", "apscheduler", "argparse", "dotenv", "waitress")),
        ("scalable.lib.ingest.webhook_app", ("bottle", "pymysql", "sqlite3", "apscheduler", "waitress", "dotenv")),
        ("scalable.lib.ingest.pool_gateway", ("bottle", "pymysql", "sqlite3", "apscheduler", "waitress", "dotenv")),
        ("scalable.lib.dashboard.app", ("pymysql", "sqlite3", "apscheduler", "waitress", "dotenv")),
        ("scalable.lib.pool.worker_command", ("bottle", "apscheduler", "waitress", "pymysql")),
    ],
)
def test_a_process_does_not_pay_for_packages_it_does_not_need(tmp_path: Path, module: str, unwanted: tuple[str, ...]):
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {module}; print(*sorted(sys.modules))"

    done = run_python(code, str(REPOSITORY), folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert set(unwanted) & set(done.stdout.split()) == set()
