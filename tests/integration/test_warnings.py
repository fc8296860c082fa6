"""F9: what a bot wrote as a warning in a run that succeeded is kept, shown, counted; strict mode makes it a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.queue.job import JobSummary
from scalable.lib.runners.choose import create_runner
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.outcome import Outcome
from scalable.lib.setup.config import load_config
from tests.support.servers.idle_installation import Ticks

UPDATE = '{"update_id":1,"message":{"text":"hello"}}'
MODES = ("cli", "cgi", "fastcgi", "fpm")
# The first is that of FAULTS; each with a part of what is to be kept.
WARNINGS = {
    "its database is away": ('error_log("DB connection error: refused"); exit;', "DB connection error: refused"),
    "an undefined variable": ("ini_set('log_errors', '1'); echo $nothing;", "Undefined variable"),
    "its own words": ("ini_set('log_errors', '1'); trigger_error('quota', E_USER_WARNING);", "quota"),
    "several lines": ('error_log("first"); error_log("second");', "second"),
}
QUIET = {
    "nothing": "",
    "an answer": "echo 'PHP Warning:  the text of a user';",
    "what it hides": "@fopen('/nothing/here', 'r'); ini_set('log_errors', '1');",
}


class Bots:
    """Runs bots of PHP in one mode."""

    def __init__(self, folder: Path, mode: str, socket: str) -> None:
        self.folder = folder
        self._settings = {"BOT_LEGACY_MODE": mode, "BOT_FASTCGI_SOCKET": socket, "BOT_DATA_DIR": str(folder / "data")}
        (folder / "data").mkdir(mode=0o700)
        (folder / "scalable").mkdir()

    def run(self, code: str, payload: str = UPDATE, **settings: str) -> Outcome:
        (self.folder / "bot.php").write_text("<?php " + code)
        bot = load_config({**self._settings, **settings}, self.folder / "scalable").bot
        runner = create_runner(bot, {})
        try:
            return judge(runner.run(payload), bot.is_strict)
        finally:
            runner.close()


@pytest.fixture(params=MODES)
def bots(request: pytest.FixtureRequest, tmp_path: Path) -> Bots:
    if request.param != "fpm":
        return Bots(tmp_path, request.param, "")
    return Bots(tmp_path, "fastcgi", str(request.getfixturevalue("fpm").socket))


@pytest.fixture(params=["cli", "cgi", "fastcgi"])
def our_php(request: pytest.FixtureRequest, tmp_path: Path) -> Bots:
    return Bots(tmp_path, request.param, "")


@pytest.mark.parametrize("name", WARNINGS)
def test_the_warning_of_a_run_that_succeeded_is_kept(bots: Bots, name: str) -> None:
    code, expected = WARNINGS[name]

    outcome = bots.run(code)

    assert outcome.succeeded
    assert expected in outcome.warnings


@pytest.mark.parametrize("name", QUIET)
def test_what_is_no_warning_is_none(bots: Bots, name: str) -> None:
    outcome = bots.run(QUIET[name])

    assert outcome.succeeded
    assert outcome.warnings == ""


def test_a_strict_owner_has_it_tried_again_and_the_cause_names_it(bots: Bots) -> None:
    outcome = bots.run(WARNINGS["its database is away"][0], BOT_LEGACY_STRICT="1")

    assert not outcome.succeeded
    assert outcome.may_be_retried
    assert "DB connection error: refused" in outcome.cause
    assert "BOT_LEGACY_STRICT" in outcome.cause
    assert bots.run(QUIET["an answer"], BOT_LEGACY_STRICT="1").succeeded


def test_one_that_was_answered_early_is_not_run_again_for_it(our_php: Bots) -> None:
    code = "error_log('late'); fastcgi_finish_request(); usleep(400000);"

    outcome = our_php.run(code, BOT_LEGACY_STRICT="1")

    assert outcome.succeeded


@pytest.mark.parametrize("how", ["php.ini of the folder", "the bot itself"])
def test_php_s_own_log_is_kept_where_that_is_a_file(our_php: Bots, how: str) -> None:
    """Only what this run added to it, and the file stays the owner's."""
    log = our_php.folder / "php-errors.log"
    log.write_text("[01-Jan-2020 00:00:00 UTC] of long ago\n")
    code = "error_log('DB connection error: refused');"
    if how == "the bot itself":
        code = f"ini_set('error_log', '{log}'); " + code
    else:
        (our_php.folder / ".user.ini").write_text(f"error_log = {log}\n")

    outcome = our_php.run(code)

    assert outcome.succeeded
    assert "DB connection error: refused" in outcome.warnings
    assert "of long ago" not in outcome.warnings
    assert "DB connection error: refused" in log.read_text()


def test_a_strict_owner_gets_what_php_logs_from_php_and_not_from_the_file(our_php: Bots) -> None:
    """What another run writes there at the same time would fail this one."""
    log = our_php.folder / "php-errors.log"
    (our_php.folder / ".user.ini").write_text(f"error_log = {log}\n")

    told = our_php.run("error_log('refused');", BOT_LEGACY_STRICT="1")
    of_others = our_php.run(f"file_put_contents('{log}', 'another run', FILE_APPEND);", BOT_LEGACY_STRICT="1")

    assert not told.succeeded
    assert of_others.succeeded


def test_a_log_that_php_may_not_read_is_left_alone(our_php: Bots) -> None:
    (our_php.folder / ".user.ini").write_text("error_log = /nothing/here/at/all.log\n")
    code = "set_error_handler(function () { file_put_contents(__DIR__ . '/handled', 'x', FILE_APPEND); });"

    outcome = our_php.run(code + " error_log('x');")

    assert outcome.succeeded
    assert not (our_php.folder / "handled").exists()


PYTHON = """
import logging, sys, traceback
log = logging.getLogger("shop")

def handle(update):
    {code}
"""
PYTHON_WARNINGS = {
    "to standard error": ("print('refused', file=sys.stderr)", "refused"),
    "by logging": ("log.error('DB connection error: %s', 'refused')", "DB connection error: refused"),
    "an exception it swallowed": (
        "try:\n        1 / 0\n    except ZeroDivisionError:\n        traceback.print_exc()",
        "ZeroDivisionError",
    ),
    "line by line": ("sys.stderr.writelines(['refused\\n'])", "refused"),
    "by a handler of its own": (
        "handler = logging.StreamHandler(sys.stderr)\n    log.addHandler(handler)\n    log.warning('refused')\n"
        "    log.removeHandler(handler)",
        "refused",
    ),
    "as bytes": ("sys.stderr.buffer.write(b'refused')", "refused"),
}
PYTHON_QUIET = {
    "to standard output": "print('WARNING: a text of a user')",
    "a remark by logging": "log.info('all is well')",
    "a remark by a handler of its own": (
        "handler = logging.StreamHandler(sys.stderr)\n    log.addHandler(handler)\n    log.setLevel('INFO')\n"
        "    log.info('all is well')\n    log.removeHandler(handler)"
    ),
}


def run_python(folder: Path, code: str) -> Outcome:
    (folder / "bot.py").write_text(PYTHON.replace("{code}", code))
    bot = load_config({"BOT_LEGACY_PATH": "../bot.py:handle", "BOT_DATA_DIR": str(folder)}, folder / "scalable").bot
    runner = create_runner(bot, {})
    try:
        return judge(runner.run(UPDATE))
    finally:
        runner.close()


@pytest.mark.parametrize("name", PYTHON_WARNINGS)
def test_a_python_function_warns_by_standard_error_and_by_logging(tmp_path: Path, name: str) -> None:
    code, expected = PYTHON_WARNINGS[name]

    outcome = run_python(tmp_path, code)

    assert outcome.succeeded
    assert outcome.warnings.count(expected) == 1 or name == "an exception it swallowed"
    assert expected in outcome.warnings


@pytest.mark.parametrize("name", PYTHON_QUIET)
def test_what_a_python_function_says_otherwise_is_no_warning(tmp_path: Path, name: str) -> None:
    outcome = run_python(tmp_path, PYTHON_QUIET[name])

    assert outcome.succeeded
    assert outcome.warnings == ""


# Warns of every second update.
NOISY_BOT = """<?php
$update = json_decode(file_get_contents("php://input"), true);
if ($update["update_id"] % 2) { error_log("DB connection error: refused, update " . $update["update_id"]); exit; }
"""


@pytest.fixture
def ticks(tmp_path: Path) -> Iterator[Ticks]:
    (tmp_path / "bot.php").write_text(NOISY_BOT)
    with Ticks(tmp_path, tmp_path / "bot.php", BOT_LEGACY_MODE="fastcgi", BOT_WORKER_SLOTS="1") as ticks:
        yield ticks


def by_update(ticks: Ticks) -> dict[int, JobSummary]:
    return {job.update_id or 0: job for job in ticks.queue.newest(100)}


def test_they_are_with_the_job_in_the_log_once_and_counted(ticks: Ticks) -> None:
    """Of a chat and of many, one by one and in a row."""
    for number in range(1, 21):
        ticks.store(number, chat=7 if number <= 10 else number)

    drain = ticks.run("worker.py", "--drain")

    jobs = by_update(ticks)
    assert {job.status for job in jobs.values()} == {"done"}
    assert sorted(number for number, job in jobs.items() if job.warned) == list(range(1, 20, 2))
    assert jobs[1].error_message == "DB connection error: refused, update 1"
    assert jobs[2].error_message is None
    assert len(re.findall(r"bot warned ", drain.stderr)) == 1, drain.stderr
    listed = json.loads(ticks.run("dashboard.py", "list", "--status", "warned", "--json").stdout)["jobs"]
    assert sorted(job["update_id"] for job in listed) == list(range(1, 20, 2))
    overview = json.loads(ticks.run("dashboard.py", "--json").stdout)
    assert (overview["last_hour"]["done"], overview["last_hour"]["warned"]) == (20, 10)
    assert "DB connection error" in ticks.run("dashboard.py", "show", str(jobs[1].id)).stdout


def test_a_bot_that_mostly_warns_does_not_look_as_if_it_worked(ticks: Ticks) -> None:
    for number in range(1, 12, 2):
        ticks.store(number, chat=number)
    ticks.run("worker.py", "--drain")

    health = ticks.run("dashboard.py", "health", "--json")

    told = json.loads(health.stdout)
    assert health.returncode == 1
    assert "warned" in [reason["code"] for reason in told["reasons"]], told


def test_with_the_strict_setting_the_update_is_tried_again(ticks: Ticks) -> None:
    ticks.store(1, chat=7)
    ticks.store(2, chat=8)

    ticks.run("worker.py", "--drain", BOT_LEGACY_STRICT="1", BOT_BREAKER="0", BOT_JOB_MAX_ATTEMPTS="1")

    jobs = by_update(ticks)
    assert jobs[1].status == "failed"
    assert "DB connection error: refused" in (jobs[1].error_message or "")
    assert jobs[2].status == "done"
