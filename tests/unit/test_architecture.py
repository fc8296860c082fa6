"""Who may import whom, and the other rules of the house that a reader of source text can check.

The rooms and their order are the picture in docs/architecture.md, read from there: a room knows itself and the rooms in
the lines below its own, and nothing beside or above it.

Each checker is also fed a text that breaks its rule: a checker that finds nothing anywhere would prove nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.judges import architecture as rules
from tests.support.judges.architecture import Source

ROOT = Path(__file__).resolve().parents[2]
ENTRY_SCRIPTS = (
    "config.py",
    "dashboard.py",
    "passenger_wsgi.py",
    "webhook_queue.py",
    "worker.py",
    "worker_pool.py",
)
SOURCES = [
    Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "scalable").rglob("*.py"))
    if "vendor" not in path.parts
]
LIB = [source for source in SOURCES if source.path.startswith("scalable/lib/")]
ENTRIES = [source for source in SOURCES if source.path.count("/") == 1 and source.path != "scalable/__init__.py"]


def picture() -> list[list[str]]:
    """The lines of the picture in docs/architecture.md from the top, each with the rooms that stand side by side."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    [found] = re.findall(r"```text\n(entry scripts .*?)```", text, re.DOTALL)
    lines = [re.split(r" {2,}", line.strip()) for line in found.replace("entry scripts", "entry_scripts").splitlines()]
    rooms = [[f"lib/{room}" for room in names[0].split(" | ")] for names in lines]
    return [[name[:-3] for name in ENTRY_SCRIPTS], *rooms[1:-1], ["lib"], ["__version__"]]


LAYERS = picture()
# Without a row of their own, because every other module is below them.
PACKAGE_FILES = ("scalable/__init__.py", "scalable/lib/__init__.py")
# Where a package from outside, or a module of Python with a rule of its own, may be imported.
PLACES = {
    "apscheduler": ("scalable/lib/pool/",),
    "pymysql": ("scalable/lib/queue/dialects/mysql.py",),
    "sqlite3": ("scalable/lib/queue/dialects/",),
    "bottle": ("scalable/lib/dashboard/", "scalable/lib/pool/tick_app.py"),
    "waitress": ("scalable/lib/ingest/batch_receiver.py", "scalable/lib/pool/web_server.py"),
    "dotenv": ("scalable/lib/setup/settings.py",),
    "http": ("scalable/lib/http_client/",),
    "urllib.request": (),
    "wsgiref": ("scalable/lib/ingest/cgi.py",),
}
THIRD_PARTY = ("apscheduler", "pymysql", "bottle", "waitress", "dotenv")
READS_THE_ENVIRONMENT = ("scalable/lib/ingest/cgi.py", "scalable/lib/start.py")  # a CGI request is its environment


def edges(source: Source) -> list[str]:
    if source.path in PACKAGE_FILES:
        return [source.at(node, f"a package file imports {name}") for node, name in rules.imports(source)]
    return rules.forbidden_edges(source, LAYERS)


def places(source: Source) -> list[str]:
    return rules.misplaced_packages(source, PLACES)


def packages(source: Source) -> list[str]:
    return rules.unknown_packages(source, THIRD_PARTY)


def lengths(source: Source) -> list[str]:
    return rules.too_long(source, 400, 40)


def logging_set_up(source: Source) -> list[str]:
    return rules.calls_of(source, "configure_logging", "basicConfig")


def problems(check: Callable[[Source], list[str]], sources: list[Source]) -> list[str]:
    assert sources, "there is nothing to check: has the folder moved?"
    return [problem for source in sources for problem in check(source)]


def test_all_the_entry_scripts_are_known():
    assert sorted(Path(source.path).name for source in ENTRIES) == sorted(ENTRY_SCRIPTS)


def test_every_layer_imports_only_the_layers_below_it():
    assert problems(edges, SOURCES) == []


def test_packages_are_imported_only_where_they_belong():
    assert problems(places, SOURCES) == []


def test_nothing_is_imported_that_requirements_do_not_name():
    assert problems(packages, SOURCES) == []


def test_every_import_is_absolute():
    assert problems(rules.relative_imports, SOURCES) == []


def test_lib_receives_values_and_does_not_read_the_environment():
    others = [source for source in LIB if source.path not in READS_THE_ENVIRONMENT]

    assert problems(rules.environment_reads, others) == []


def test_processes_are_started_only_in_runners_and_pool():
    others = [s for s in SOURCES if not s.path.startswith(("scalable/lib/runners/", "scalable/lib/pool/"))]

    assert problems(rules.started_processes, others) == []


def test_sql_is_written_only_in_lib_queue():
    others = [source for source in SOURCES if not source.path.startswith("scalable/lib/queue/")]

    assert problems(rules.sql_texts, others) == []


def test_only_entry_scripts_set_up_logging():
    assert problems(logging_set_up, LIB) == []


def test_entry_scripts_hold_no_classes_because_passenger_does_not_register_the_module():
    assert problems(rules.classes, ENTRIES) == []


def test_entry_scripts_are_short_because_they_are_wiring():
    long = [s.path for s in ENTRIES if len(s.text.splitlines()) > 85]

    assert long == []


def test_files_and_functions_are_short():
    assert problems(lengths, SOURCES) == []


def test_no_error_is_caught_without_saying_which():
    assert problems(rules.bare_excepts, SOURCES) == []


def test_whatever_is_public_in_lib_says_what_it_is():
    assert problems(rules.undocumented, LIB) == []


def test_whatever_is_public_in_lib_has_types():
    assert problems(rules.untyped, LIB) == []


OFFENCES = [
    (edges, "scalable/lib/queue/job.py", "from scalable.lib.dashboard.overview import Overview"),
    (edges, "scalable/lib/queue/job.py", "def late():\n    import scalable.lib.worker.loop"),
    (edges, "scalable/lib/worker/loop.py", "from scalable.lib.ingest import pipeline"),
    (edges, "scalable/lib/runners/process.py", "from scalable.lib.queue.job import Lease"),
    (edges, "scalable/lib/installation.py", "from scalable.config import main"),
    (edges, "scalable/lib/setup/checks.py", "from scalable.lib.dashboard.app import create_dashboard_app"),
    (edges, "scalable/lib/errors.py", "from scalable.lib.telegram.update import Update"),
    (edges, "scalable/lib/webby/new.py", "from scalable.lib.queue.job import Lease"),
    (edges, "scalable/__init__.py", "from scalable.lib.queue.job import Lease"),
    (edges, "scalable/worker_pool.py", "from scalable.worker import main"),
    (edges, "scalable/config.py", "import scalable.worker"),
    (edges, "scalable/config.py", "import scalable"),
    (places, "scalable/lib/worker/loop.py", "import apscheduler.schedulers.background"),
    (places, "scalable/lib/queue/database_queue.py", "def late():\n    from pymysql import err"),
    (places, "scalable/lib/queue/database_queue.py", "import sqlite3"),
    (places, "scalable/lib/setup/checks.py", "from bottle import Bottle"),
    (places, "scalable/worker_pool.py", "import waitress"),
    (places, "scalable/lib/worker/loop.py", "import urllib.request"),
    (rules.relative_imports, "scalable/lib/queue/x.py", "from .job import Update"),
    (rules.relative_imports, "scalable/lib/queue/x.py", "from . import job"),
    (rules.environment_reads, "scalable/lib/x.py", "import os\nhome = os.environ['HOME']"),
    (rules.environment_reads, "scalable/lib/x.py", "import os\nhome = os.getenv('HOME')"),
    (rules.environment_reads, "scalable/lib/x.py", "from os import environ"),
    (rules.environment_reads, "scalable/lib/x.py", "import posix\nhome = posix.environ[b'HOME']"),
    (rules.started_processes, "scalable/lib/dashboard/x.py", "import subprocess"),
    (rules.started_processes, "scalable/lib/dashboard/x.py", "from multiprocessing import Process"),
    (rules.started_processes, "scalable/lib/dashboard/x.py", "import os\nos.system('true')"),
    (rules.started_processes, "scalable/lib/dashboard/x.py", "import os\nos.execv('/bin/true', ['true'])"),
    (rules.sql_texts, "scalable/lib/dashboard/x.py", "rows = run('SELECT id FROM bot_jobs')"),
    (rules.sql_texts, "scalable/lib/dashboard/x.py", "name = 'x'\nrows = run(f'DELETE FROM {name} LIMIT 1')"),
    (rules.sql_texts, "scalable/lib/dashboard/x.py", "change = '''\n  UPDATE bot_jobs\n  SET status = 'done' '''"),
    (logging_set_up, "scalable/lib/dashboard/x.py", "import logging\nlogging.basicConfig()"),
    (rules.classes, "scalable/worker.py", "class Worker:\n    pass"),
    (rules.bare_excepts, "scalable/lib/x.py", "try:\n    work()\nexcept:\n    pass"),
    (lengths, "scalable/lib/x.py", "x = 1\n" * 401),
    (lengths, "scalable/lib/x.py", "def long():\n" + "    x = 1\n" * 40),
    (rules.undocumented, "scalable/lib/x.py", "def public():\n    return 1"),
    (rules.undocumented, "scalable/lib/x.py", '"""Here."""\nclass Public:\n    """Here."""\n    def do(self): pass'),
    (rules.untyped, "scalable/lib/x.py", "def public(value) -> None: ..."),
    (rules.untyped, "scalable/lib/x.py", "def public(value: int): ..."),
    (rules.untyped, "scalable/lib/x.py", "class Public:\n    def do(self, *values) -> None: ..."),
]


@pytest.mark.parametrize(("check", "path", "text"), OFFENCES)
def test_a_checker_finds_the_offence_it_is_for(check: Callable[[Source], list[str]], path: str, text: str):
    found = check(Source(path, text))

    assert found
    assert all(line.startswith(f"{path}:") for line in found)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its own modules")
def test_the_checker_of_packages_finds_one_nobody_named():
    assert packages(Source("scalable/lib/x.py", "import requests"))


def test_the_checker_of_sql_leaves_explanations_alone():
    assert rules.sql_texts(Source("scalable/lib/x.py", '"""SELECT id FROM x is what the queue does."""')) == []


IMPORT_EVERYTHING = """
import importlib, json, os, sys
root, names = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, root)
import bottle, waitress.server, pymysql, dotenv, sqlite3, wsgiref.handlers, unittest.mock  # theirs is not ours to judge
import apscheduler.schedulers.background, apscheduler.executors.pool, apscheduler.triggers.interval
import argparse, multiprocessing, concurrent.futures.thread, logging.handlers

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
        [sys.executable, "-B", "-c", code, *arguments], cwd=folder, env={}, capture_output=True, text=True, timeout=60
    )


def test_importing_any_module_alone_does_nothing(tmp_path: Path):
    names = [source.module for source in SOURCES]

    done = run_python(IMPORT_EVERYTHING, str(ROOT), json.dumps(names), folder=tmp_path)

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

    done = run_python(code, str(ROOT), folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert set(unwanted) & set(done.stdout.split()) == set()
