"""Who may import whom, and the other rules of the house that a reader of source text can check.

The rooms and their order are the picture in docs/architecture.md, read from there: a room knows itself and the rooms in
the lines below its own, and nothing beside or above it.

Each checker is also fed a text that breaks its rule: a checker that finds nothing anywhere would prove nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

import pytest

from tests.support.judges import architecture as rules
from tests.support.judges.architecture import Source
from tests.support.places import REPOSITORY

ENTRY_SCRIPTS = (
    "config.py",
    "dashboard.py",
    "passenger_wsgi.py",
    "webhook_queue.py",
    "worker.py",
    "worker_pool.py",
)
SOURCES = rules.sources()
LIB = [source for source in SOURCES if source.path.startswith("scalable/lib/")]
ENTRIES = [source for source in SOURCES if source.path.count("/") == 1 and source.path != "scalable/__init__.py"]


def picture() -> list[list[str]]:
    """The lines of the picture in docs/architecture.md from the top, each with the rooms that stand side by side."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
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
    "pymysql": ("scalable/lib/queue/dialects/mysql",),
    "sqlite3": ("scalable/lib/queue/dialects/",),
    "bottle": ("scalable/lib/dashboard/", "scalable/lib/pool/tick_app.py"),
    "waitress": (
        "scalable/lib/ingest/batch_receiver.py",
        "scalable/lib/ingest/update_gateway.py",
        "scalable/lib/ingest/request_parser.py",
        "scalable/lib/pool/web_server.py",
    ),
    "dotenv": ("scalable/lib/setup/settings_file.py",),
    "http": ("scalable/lib/http_client/",),
    "urllib.request": (),
    "wsgiref": ("scalable/lib/ingest/cgi.py",),
    # Running a bot and judging its run do not know each other, though they share a room.
    "scalable.lib.runners.judgement": ("scalable/lib/worker/",),
    "scalable.lib.runners.outcome": ("scalable/lib/worker/", "scalable/lib/runners/judgement.py"),
}
THIRD_PARTY = ("apscheduler", "pymysql", "bottle", "waitress", "dotenv")
READS_THE_ENVIRONMENT = ("scalable/lib/ingest/cgi.py", "scalable/lib/start.py")  # a CGI request is its environment

MEDIAN_FUNCTION_LINES = 7
EVENING_LINES = 5500
# What files of the evening path import, and a reader of the path need not open: a pattern, and what it is.
BESIDE_THE_WAY = {
    "scalable/lib/logs.py": "how a log line is written",
    "scalable/lib/sockets.py": "a shorter path for a socket",
    "scalable/lib/web_refusal.py": "a script that is for a shell is not run by a web server",
    "scalable/lib/stop_signal.py": "how a process is told to stop",
    "scalable/lib/deadline.py": "a deadline and a tick",
    "scalable/lib/captured_output.py": "the ends of a long output",
    "scalable/lib/redaction.py": "bot tokens are hidden in what others say",
    "scalable/lib/usual_path.py": "the PATH of the programs we start",
    "scalable/lib/ingest/fast_cgi/protocol.py": "another way in: how CGI and the pool frame what they say",
    "scalable/lib/ingest/after*.py": "work after the response, where no pool runs",
    "scalable/lib/queue/claim_request.py": "what a claim asks for, a value",
    "scalable/lib/queue/origins.py": "the bot's side is down: whom an update is from",
    "scalable/lib/queue/dialects/address.py": "how an address is spelled",
    "scalable/lib/queue/dialects/prepared_insert.py": "another way in: CGI without most imports",
    "scalable/lib/queue/dialects/sqlite_file.py": "whether somebody put another file in the place of ours",
    "scalable/lib/queue/dialects/sent_statement.py": "for the pool's own server: an answer that is not waited for",
    "scalable/lib/queue/enqueue_batch.py": "for the pool's own server: several rows by one statement",
    "scalable/lib/queue/lease_batch.py": "several jobs renewed or done at once: fewer statements, the same way",
    "scalable/lib/queue/maintenance.py": "jobs that nobody runs: deadlines, old rows",
    "scalable/lib/queue/reaping.py": "jobs that nobody runs: those of a worker that died",
    "scalable/lib/queue/schema.py": "creates the tables, once",
    "scalable/lib/queue/held_jobs.py": "several jobs of a lane under one lease: fewer statements, the same way",
    "scalable/lib/queue/lane_walk.py": "another way to candidates, while a flood in one chat is put aside",
    "scalable/lib/queue/history.py": "for the dashboard: earlier runs of a job",
    "scalable/lib/queue/notes.py": "for the dashboard: short texts that all processes read",
    "scalable/lib/queue/operator_actions.py": "for the dashboard: what its owner does to jobs",
    "scalable/lib/queue/requeue.py": "for the dashboard: failed jobs run again",
    "scalable/lib/queue/views/*.py": "for the dashboard: what its pages ask",
    "scalable/lib/queue/counters.py": "for the dashboard: what each worker counted",
    "scalable/lib/queue/worker_registry.py": "for the dashboard: which workers there are",
    "scalable/lib/host_limits.py": "a host that allows no more processes",
    "scalable/lib/telegram/reply_scope.py": "what somebody wrote, printed by a bot as if it were its own answer",
    "scalable/lib/worker/run_log.py": "what a worker notes for the case of its death",
    "scalable/lib/worker/claim_size.py": "how many jobs are claimed at once",
    "scalable/lib/worker/outage_gate.py": "the bot's side is down: claims are held, one job is tried",
    "scalable/lib/worker/releases.py": "jobs given back not run",
    "scalable/lib/worker/slot_group.py": "more slots than one: when they are opened",
    "scalable/lib/worker/worker_heartbeat.py": "for the dashboard: the worker's row",
    "scalable/lib/worker/maintenance.py": "what a worker without a pool does now and then",
    "scalable/lib/worker/recycling.py": "when a worker is replaced by a fresh one",
    "scalable/lib/runners/php/fastcgi_protocol.py": "the bytes of FastCGI, as its specification has them",
    "scalable/lib/runners/php/fastcgi_server.py": "which PHP is reached, and what to do when it is lost",
    "scalable/lib/runners/*working_on.py": "a bot that has answered, and works on",
    "scalable/lib/worker/after_answer.py": "a bot that has answered, and works on",
    "scalable/lib/runners/bot_file.py": "is the bot there, and may it be read?",
    "scalable/lib/worker/wakeup.py": "how a worker waits while there is nothing to do",
    "scalable/lib/worker/warning_log.py": "a line of the log for what bots write as warnings",
    "scalable/lib/runners/bot_environment.py": "which variables the bot gets",
    "scalable/lib/runners/process.py": "another runner: the bot as a program",
    "scalable/lib/ingest/webhook_address.py": "how the webhook learns its own address",
    "scalable/lib/runners/php/script_report.py": "how the script ended, as PHP itself reports it",
    "scalable/lib/runners/php/p*.py": "how PHP is started, by whose settings, and what address the bot is told",
    "scalable/lib/runners/php/fpm.py": "how connections to PHP are kept",
}
# Modules whose tests are named by behaviour: a pattern, the tests, and why they are not named by the module.
TESTED_ELSEWHERE = {
    "scalable/lib/queue/*": ("tests/contract/test_*.py", "the queue keeps one contract on every database"),
    "scalable/lib/dashboard/*": ("tests/integration/test_dashboard*.py", "pages and actions are asked over HTTP"),
    "scalable/lib/setup/*check*.py": ("tests/integration/test_check_command.py", "checks look at whole installations"),
    "scalable/lib/setup/webhook_secret.py": ("tests/integration/test_init.py", "what the set-up does about it"),
    "scalable/lib/runners/php/constant_text.py": ("tests/unit/test_bot_source.py", "one subject in several files"),
    "scalable/lib/runners/php/source_signs.py": ("tests/unit/test_bot_source.py", "one subject in several files"),
    "scalable/lib/peer_user.py": ("tests/processes/test_strangers_server.py", "seen with a real other user"),
    "scalable/lib/setup/script_repair.py": ("tests/integration/test_first_line.py", "seen by running the scripts"),
    "scalable/lib/setup/settings*.py": ("tests/unit/test_settings.py", "one subject in several files"),
    "scalable/lib/setup/files.py": ("tests/unit/test_data_folder.py", "seen in the folder they are written to"),
    "scalable/lib/setup/finding.py": ("tests/unit/test_checks.py", "values of the checks"),
    "scalable/lib/setup/addresses.py": ("tests/integration/test_init.py", "the addresses that the set-up shows"),
    "scalable/lib/setup/shell.py": ("tests/integration/test_usual_failures.py", "how every script ends"),
    "scalable/lib/setup/storage.py": ("tests/integration/test_usual_failures.py", "opened by every script"),
    "scalable/lib/pool/control.py": ("tests/integration/test_ways_to_start.py", "stops and asks a real pool"),
    "scalable/lib/pool/maintenance_schedule.py": ("tests/integration/test_several_machines.py", "one leads"),
    "scalable/lib/pool/services.py": ("tests/integration/test_ways_to_start.py", "what a running pool starts"),
    "scalable/lib/pool/tick_app.py": ("tests/integration/test_tick.py", "asked over HTTP"),
    "scalable/lib/pool/web_server.py": ("tests/integration/test_batch_receiver.py", "asked over HTTP"),
    "scalable/lib/pool/webhook_admin.py": ("tests/unit/test_alerts.py", "what alerts ask of Telegram"),
    "scalable/lib/pool/worker_command.py": ("tests/integration/test_cron_mode.py", "a command line"),
    "scalable/lib/ingest/pipeline.py": ("tests/integration/test_bad_input.py", "asked by every way in"),
    "scalable/lib/ingest/fast_cgi/protocol.py": ("tests/fuzz/test_wire.py", "read and written by both sides"),
    "scalable/lib/ingest/poller.py": ("tests/integration/test_poll.py", "asks a Telegram"),
    "scalable/lib/ingest/responses.py": ("tests/integration/test_wsgi.py", "asked over HTTP"),
    "scalable/lib/ingest/webhook_app.py": ("tests/integration/test_wsgi.py", "asked over HTTP"),
    "scalable/lib/runners/run_result.py": ("tests/unit/test_judgement.py", "values only"),
    "scalable/lib/runners/python/*": ("tests/unit/test_python_*.py", "one subject in several files"),
    "scalable/lib/runners/php/f*.py": ("tests/integration/test_php_*.py", "needs a real PHP-FPM"),
    "scalable/lib/runners/php/prelude.py": ("tests/integration/test_php_*.py", "needs real PHPs"),
    "scalable/lib/runners/php/php_ini.py": ("tests/integration/test_php_*.py", "needs real PHPs"),
    "scalable/lib/runners/outcome.py": ("tests/unit/test_judgement.py", "values only"),
    "scalable/lib/worker/completion_buffer.py": ("tests/unit/test_worker.py", "tested with the worker it belongs to"),
    "scalable/lib/worker/job_list.py": ("tests/unit/test_worker.py", "tested with the worker it belongs to"),
    "scalable/lib/worker/releases.py": ("tests/unit/test_worker.py", "tested with the worker it belongs to"),
    "scalable/lib/worker/lease_renewer.py": ("tests/unit/test_worker.py", "tested with the worker it belongs to"),
    "scalable/lib/worker/legacy_bot_worker.py": ("tests/unit/test_worker.py", "the worker itself"),
    "scalable/lib/http_client/*": ("tests/processes/test_http_connection.py", "one subject in several files"),
    "scalable/lib/captured_output.py": ("tests/processes/test_process_runner.py", "seen in what runners keep"),
    "scalable/lib/errors.py": ("tests/unit/*.py", "raised by everything"),
    "scalable/lib/installation.py": ("tests/integration/test_ways_to_start.py", "wiring"),
    "scalable/lib/start.py": ("tests/processes/test_start_block.py", "runs with the start block"),
    "scalable/lib/inherited_umask.py": ("tests/processes/test_private_files.py", "seen in the modes of what is made"),
    "scalable/lib/sockets.py": ("tests/unit/test_pool_*.py", "seen in the sockets of the pool"),
}
# Words that had another meaning in this project's first version, or were metaphors; see docs/glossary.md.
OLD_WORDS = frozenset(
    re.findall(
        r"\w+",
        "express lean look heart pulse endings settle often seldom upkeep housekeeping flight land linger visit guard "
        "spent poke ring announce kick handover watch",
    )
)
OLD_PAIRS = ("by_hand", "hand_over", "usual_request", "not_usual", "same_settings", "look_around")
# Settings keep their names: BOT_WORKER_KICK.
STAYS = ("worker_kick",)


def old_words(source: Source) -> list[str]:
    return rules.names_with(source, OLD_WORDS, OLD_PAIRS, STAYS)


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


def test_half_of_the_functions_have_seven_lines_or_fewer():
    lengths = [rules.length_of(node) for source in LIB for node in rules.functions(source)]

    assert median(lengths) <= MEDIAN_FUNCTION_LINES


def test_each_thing_has_one_word_and_the_old_words_are_gone():
    assert problems(old_words, LIB) == []


def test_every_module_has_tests_that_are_found_by_its_name():
    tests = [file.stem.removeprefix("test_") for file in (REPOSITORY / "tests").rglob("test_*.py")]
    unknown = [
        source.path
        for source in LIB
        if len(source.text.splitlines()) > 30
        and not any(f"_{Path(source.path).stem}_" in f"_{name}_" for name in tests)
        and not any(fnmatch(source.path, pattern) for pattern in TESTED_ELSEWHERE)
    ]

    assert unknown == [], "name their tests after them, or say in TESTED_ELSEWHERE which tests they have"


@pytest.mark.parametrize("tests", sorted({tests for tests, _ in TESTED_ELSEWHERE.values()}))
def test_what_is_tested_elsewhere_names_tests_that_exist(tests: str):
    assert list(REPOSITORY.glob(tests)), tests


# The evening path


def evening_path() -> list[str]:
    """The files that docs/architecture.md names in its reading order."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    [found] = re.findall(r"## The evening path\n.*?```text\n(.*?)```", text, re.DOTALL)
    return [line.split()[0] for line in found.splitlines()]


def test_the_evening_path_exists_and_can_be_read_in_an_evening():
    known = {source.path: len(source.text.splitlines()) for source in SOURCES}

    assert [path for path in evening_path() if path not in known] == []
    assert sum(known[path] for path in evening_path()) <= EVENING_LINES


def test_the_evening_path_leaves_out_only_what_is_beside_the_way():
    listed = set(evening_path())
    named = [
        f"{source.path} imports {path}"
        for source in SOURCES
        if source.path in listed
        for path in rules.files_imported_at_top(source, SOURCES)
        if path not in listed and not any(fnmatch(path, pattern) for pattern in BESIDE_THE_WAY)
    ]

    assert named == [], "list the file in docs/architecture.md, or say in BESIDE_THE_WAY why it is left out"


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
    (places, "scalable/lib/runners/php/fastcgi.py", "from scalable.lib.runners.judgement import judge"),
    (places, "scalable/lib/runners/process.py", "from scalable.lib.runners.outcome import Outcome"),
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
    (old_words, "scalable/lib/x.py", "def settle(): pass"),
    (old_words, "scalable/lib/x.py", "class LeanNote: pass"),
    (old_words, "scalable/lib/x.py", "def send(poke_first): pass"),
    (old_words, "scalable/lib/x.py", "self.is_spent = True"),
    (old_words, "scalable/lib/x.py", "from scalable.lib.queue import by_hand"),
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
