"""Ordinary and hostile bots in every mode, on real servers, made by the settings as a worker makes them.

Whatever the bot does, after every run the worker lives, the run was over in time, nothing of it is left but what TABLE
says, the worker has no descriptor, thread or child more than before, and the next update succeeds on the same runner.
"""

from __future__ import annotations

import hashlib
import json
import re
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.queue.database_queue import DatabaseQueue
from scalable.lib.queue.dialects.address import SqliteAddress
from scalable.lib.queue.dialects.sqlite import SqliteDatabase
from scalable.lib.queue.retry_policy import RetryPolicy
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.runner import Runner
from scalable.lib.stop_signal import StopSignal
from scalable.lib.telegram.update import Update
from scalable.lib.worker.legacy_bot_worker import LegacyBotWorker
from scalable.lib.worker.reply_sender import ReplySender
from scalable.lib.worker.slot import Report, Slot
from scalable.lib.worker.slot_group import SlotGroup, SlotLimit
from tests.support.fakes.second_reaper import LeaseWatch
from tests.support.generators.bots import outcome_of
from tests.support.generators.every_bot import CALL, ORDINARY
from tests.support.generators.every_mode import HOW, Stage, belongings, run
from tests.support.servers.served_installation import ServedSite
from tests.support.waiting import PATIENCE_SECONDS, eventually

# Rows: bots of every_bot.py; columns: modes. A cell is a word of MEANINGS, or - where the bot cannot be.
# * means that a process of the run lives on when the run is over: nothing the worker can do ends it. What a web server
# answers is all that is known in mode http, and of the host's PHP-FPM: an error behind a 200 is not seen there.
TABLE = """
bot                    | cli php | cli py  | cli sh  | cgi     | fastcgi | fpm     | http    | python
succeeds               | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
answers with a call    | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
fails                  | exit 1  | exit 1  | exit 1  | 500     | 500     | 500     | 500     | exit 1
refuses for good       | exit 65 | exit 65 | exit 65 | 400     | 400     | 400     | 400     | exit 65
asks to wait, busy     | -       | -       | -       | 429     | 429     | 429     | 429     | -
asks to wait, down     | -       | -       | -       | 503     | 503     | 503     | 503     | -
uncaught exception     | fatal   | exit 1  | -       | fatal   | fatal   | 500     | 500     | raised
syntax error           | parse   | exit 1  | exit 2  | parse   | parse   | 500     | 500     | import
hides a fatal error    | fatal   | -       | -       | fatal   | fatal   | 500     | 500     | -
hides it behind 200    | fatal   | -       | -       | fatal   | fatal   | 200     | 200     | -
allocates without end  | fatal   | exit 1  | exit 1  | fatal   | fatal   | 500     | 500     | memory
kills itself           | SIGKILL | SIGKILL | SIGKILL | SIGKILL | died 9  | closed  | 500     | -
crashes                | SIGSEGV | SIGSEGV | SIGSEGV | SIGSEGV | died 11 | closed  | 500     | -
floods stderr          | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
floods stdout          | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
prints binary          | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
never reads            | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | -
reads slowly           | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | -
exits before reading   | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | -
runs past its deadline | late    | late    | late    | late    | late    | let go* | let go* | late
ignores TERM           | late    | late    | late    | late    | late    | let go* | let go* | stuck*
leaves a daemon        | exit 0* | exit 0* | exit 0* | 200*    | 200*    | 200*    | let go* | returned*
is deleted             | no file | no file | no file | no file | no file | no file | 404     | returned
is replaced            | exit 0  | exit 0  | exit 0  | 200     | 200     | 200     | 200     | returned
"""
# What a word stands for: the kind of the Outcome, and how its cause begins.
MEANINGS = {
    "exit 0": (Kind.SUCCEEDED, "exit code 0"),
    "200": (Kind.SUCCEEDED, "HTTP status 200"),
    "returned": (Kind.SUCCEEDED, "handle() returned"),
    "exit 1": (Kind.FAILED, "exit code 1"),
    "exit 2": (Kind.FAILED, "exit code 2"),
    "500": (Kind.FAILED, "HTTP status 500"),
    "404": (Kind.FAILED, "HTTP status 404"),
    "429": (Kind.FAILED, "HTTP status 429"),
    "503": (Kind.FAILED, "HTTP status 503"),
    "fatal": (Kind.FAILED, "PHP fatal error: "),
    "parse": (Kind.FAILED, "PHP parse error: syntax error, "),
    "raised": (Kind.FAILED, "RuntimeError: no such chat (bot.py:"),
    "memory": (Kind.FAILED, "MemoryError (bot.py:"),
    "import": (Kind.FAILED, "BOT_LEGACY_PATH: "),
    "no file": (Kind.FAILED, "BOT_LEGACY_PATH: there is no bot at "),
    "exit 65": (Kind.FAILED_FOR_GOOD, "exit code 65: the bot refuses this update"),
    "400": (Kind.FAILED_FOR_GOOD, "HTTP status 400: the bot refuses this update"),
    "late": (Kind.TIMED_OUT, "stopped after {0:g} s (BOT_LEGACY_TIMEOUT)"),
    "let go": (Kind.TIMED_OUT, "stopped after {0:g} s (BOT_LEGACY_TIMEOUT); the "),
    "stuck": (Kind.TIMED_OUT, "stopped after {0:g} s (BOT_LEGACY_TIMEOUT); the bot did not stop; this worker will be "),
    "SIGKILL": (Kind.DIED, "killed by SIGKILL"),
    "SIGSEGV": (Kind.DIED, "killed by SIGSEGV"),
    "died 9": (Kind.DIED, "php-cgi died of SIGKILL while running the bot"),
    "died 11": (Kind.DIED, "php-cgi died of SIGSEGV while running the bot"),
    "closed": (Kind.DIED, "BOT_FASTCGI_SOCKET="),
}
UPDATE = json.dumps({"update_id": 1, "message": {"text": "x" * (1 << 20)}})
ORDINARY_UPDATE = '{"update_id":2,"is_ordinary":true}'
# What else some of them are to show: their answer as it came, words a person reads with the job, the wait asked for.
ANSWERS = {
    "answers with a call": CALL.encode(),
    "prints binary": bytes(range(256)),
    "reads slowly": hashlib.md5(UPDATE.encode()).hexdigest().encode(),
    "floods stdout": b"",  # more than any method call
    "is replaced": b"old",
}
WORDS = {
    "fails": "no database",
    "uncaught exception": "no such chat",
    "syntax error": "yntax",
    "hides a fatal error": "undefined_function()",
    "hides it behind 200": "undefined_function()",
    "allocates without end": "emory",
    "floods stderr": "eeee",
    "floods stdout": "oooo",
    "is replaced": "old",
}
ASKED_SECONDS = {"asks to wait, busy": 7.0, "asks to wait, down": 7.0}
# A function answers by what it returns, and a web server keeps what PHP logs for its own log.
NOT_SHOWN = {("python", "prints binary"), ("python", "is replaced"), ("fpm", "hides it behind 200")} | {
    ("http", bot)
    for bot in (
        "uncaught exception",
        "syntax error",
        "hides a fatal error",
        "hides it behind 200",
        "allocates without end",
        "floods stderr",
    )
}
# Only another process has the new version, or is rid of the bot that does not stop; its pool starts one at once.
SPENT = {
    ("python", "is replaced"): "the bot's file changed",
    ("python", "ignores TERM"): "the bot did not stop when its time was over",
}
AMPLE_SECONDS = 60.0
DEADLINES = {"runs past its deadline": 2.0, "ignores TERM": 2.0, "leaves a daemon": 3.0}
# Beyond the deadline: TERM and the time until KILL, and a busy machine.
GRACE_SECONDS = 30.0


def rows(table: str) -> list[list[str]]:
    """The cells of every line below the first."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines()[1:]]


def cells(table: str) -> list[tuple[str, str, str]]:
    """Bot, mode and word of every cell that is not empty."""
    modes = [mode.strip() for mode in table.strip().splitlines()[0].split("|")[1:]]
    return [(bot, mode, word) for bot, *words in rows(table) for mode, word in zip(modes, words) if word != "-"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One Apache and one PHP-FPM for all. Whatever nobody could end has ended by itself when they are stopped."""
    stage = Stage()
    yield stage
    alive = stage.alive(within_seconds=10.0)
    stage.close()
    assert alive == []


@pytest.mark.parametrize(("bot", "mode", "word"), cells(TABLE), ids=lambda value: value.replace(" ", "_"))
def test_the_run_ends_as_the_table_says_and_harms_nothing(stage: Stage, bot: str, mode: str, word: str):
    place = stage.place(mode)
    place.write(bot)
    deadline = DEADLINES.get(bot, AMPLE_SECONDS)
    kind, beginning = MEANINGS[word.rstrip("*")]
    lives_on = word.endswith("*")
    before = belongings()

    with place.runner(deadline) as runner:
        started = time.monotonic()
        outcome = HOW.get(bot, run)(place, runner, UPDATE)
        seconds = time.monotonic() - started

        assert outcome.kind is kind, outcome
        assert outcome.cause.startswith(beginning.format(deadline))
        assert outcome.retry_after_seconds == ASKED_SECONDS.get(bot)
        assert seconds < deadline + GRACE_SECONDS
        assert len(outcome.output) <= 3 * TAIL_BYTES + 2
        if (mode, bot) not in NOT_SHOWN:
            assert outcome.answer == ANSWERS.get(bot, outcome.answer)
            assert WORDS.get(bot, "") in outcome.explanation()
        assert place.somebody_is_alive(within_seconds=0.0 if lives_on else PATIENCE_SECONDS) is lives_on
        assert runner.retire_reason == SPENT.get((mode, bot))
        if bot == "leaves a daemon":
            place.end_daemon()
        place.write(ORDINARY)
        outcome = outcome_of(runner, ORDINARY_UPDATE)
        assert outcome.succeeded or word == "stuck*", outcome
        assert outcome.output != "old"
    eventually(lambda: belongings() == before)


# Through a worker, on a queue: what becomes of the job, and how that begins what a person reads with it.
THROUGH_A_WORKER = """
bot                    | mode    | job     | words
succeeds               | cgi     | done    |
floods stdout          | cgi     | done    |
leaves a daemon        | cli sh  | done    |
answers with a call    | http    | done    | reply not sent: BOT_TOKEN is not set
fails                  | cli php | pending | exit code 1 / no database
asks to wait, busy     | fpm     | pending | HTTP status 429
uncaught exception     | fastcgi | pending | PHP fatal error: Uncaught RuntimeException: no such chat in
uncaught exception     | python  | pending | RuntimeError: no such chat (bot.py:
syntax error           | python  | pending | BOT_LEGACY_PATH:
kills itself           | cli py  | pending | killed by SIGKILL
crashes                | fastcgi | pending | php-cgi died of SIGSEGV while running the bot
ignores TERM           | cli sh  | pending | stopped after 2 s (BOT_LEGACY_TIMEOUT)
runs past its deadline | fastcgi | pending | stopped after 2 s (BOT_LEGACY_TIMEOUT)
runs past its deadline | fpm     | pending | stopped after 2 s (BOT_LEGACY_TIMEOUT); the host's PHP may still be running
runs past its deadline | http    | pending | stopped after 2 s (BOT_LEGACY_TIMEOUT); the web server may still be running
runs past its deadline | python  | pending | stopped after 2 s (BOT_LEGACY_TIMEOUT)
refuses for good       | http    | failed  | HTTP status 400: the bot refuses this update
refuses for good       | cli py  | failed  | exit code 65: the bot refuses this update
"""
WORKER = "worker-1"
# The worker's clock goes this much faster: its heart beats every half second instead of every ten.
HASTE = 20


def hasty_worker(queue: DatabaseQueue, runner: Runner) -> LegacyBotWorker:
    stop = StopSignal()

    def hasty_clock() -> float:
        return time.monotonic() * HASTE

    def create_slot(number: int, report: Callable[[Report], None]) -> Slot:
        return Slot(number, runner, ReplySender(None), stop, report, hasty_clock)

    return LegacyBotWorker(queue, SlotGroup(create_slot, SlotLimit(), hasty_clock), WORKER, stop, clock=hasty_clock)


def work_one(worker: LegacyBotWorker) -> Outcome:
    """The outcome of one job, run in the worker's only slot."""
    assert worker.claim(1) == 1
    while True:
        if not worker.at_hand:  # given back: on a busy machine a thread may begin later than this quick clock allows
            worker.claim(1)
        select.select([worker.slots.reports.fileno()], [], [], 0.01)
        worker.keep_leases()
        for end in worker.collect():
            assert end.outcome is not None, end.error
            return end.outcome


@pytest.mark.parametrize(("bot", "mode", "status", "words"), rows(THROUGH_A_WORKER))
def test_the_job_keeps_its_lease_and_ends_with_words_for_a_person(
    stage: Stage, tmp_path: Path, bot: str, mode: str, status: str, words: str
):
    place = stage.place(mode)
    place.write(bot)
    queue = DatabaseQueue(SqliteDatabase(SqliteAddress(tmp_path / "queue")), "bot_jobs", RetryPolicy(has_breaker=False))
    queue.ensure_schema()
    job_id = queue.enqueue(Update(UPDATE)).job_id

    with place.runner(DEADLINES.get(bot, AMPLE_SECONDS)) as runner:
        worker = hasty_worker(queue, runner)
        with LeaseWatch(tmp_path / "queue", job_id, WORKER) as watch:
            outcome = work_one(worker)
            delay_seconds = watch.delay_seconds()

        job = queue.find(job_id)
        assert job.status == status
        assert " / ".join((job.error_message or "").splitlines()).startswith(words)
        assert watch.reaped == 0
        assert watch.expiries == sorted(watch.expiries)
        assert outcome.seconds < 1.5 or len(watch.expiries) >= 2
        if status == "pending":
            assert round(delay_seconds) == ASKED_SECONDS.get(bot, RetryPolicy().base_seconds)
        if bot == "leaves a daemon":
            place.end_daemon()

        place.write(ORDINARY)
        ordinary = queue.enqueue(Update(ORDINARY_UPDATE)).job_id
        work_one(worker)
        worker.close()
        assert queue.find(ordinary).status == "done"
    queue.close()


# A function in Python runs inside the worker. Against these two only the end of the worker helps.
TAKES_THE_WORKER_WITH_IT = """
import os, time
def handle(update):
    if update["update_id"] == 1: {does}
    with open("served-by", "a") as file: file.write(f"{{os.getpid()}}\\n")
"""


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("os.abort()", r"worker \S+ died or lost its database during attempt 1; last heartbeat at "),
        (
            "time.sleep(600)",
            r"stopped after 1 s \(BOT_LEGACY_TIMEOUT\); the bot did not stop; this worker will be repla",
        ),
    ],
)
def test_a_function_that_takes_its_worker_with_it_is_told_and_a_new_worker_goes_on(
    tmp_path: Path, does: str, words: str
):
    """Given a pool of one worker, and one attempt."""
    (tmp_path / "bot.py").write_text(TAKES_THE_WORKER_WITH_IT.format(does=does))
    with ServedSite(
        tmp_path, tmp_path / "bot.py:handle", BOT_WORKER_POOL_SIZE="1", BOT_JOB_MAX_ATTEMPTS="1", BOT_LEGACY_TIMEOUT="1"
    ) as site:
        site.send({"update_id": 1})
        site.wait_for_counts(failed=1)
        site.send({"update_id": 2})
        site.wait_for_counts(done=1)

        (failed,) = (job for job in site.overview()["jobs"] if job["status"] == "failed")
        assert re.match(words, failed["error_message"])
        assert site.pool.is_running()
        assert len((tmp_path / "served-by").read_text().splitlines()) == 1
