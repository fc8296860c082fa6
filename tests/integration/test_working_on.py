"""A bot that sends its whole answer and works on has succeeded: it is done then, and not run again for what follows."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.fpm import HostServer
from tests.support.fakes.worker_killer import children
from tests.support.generators.reaped_bots import is_guard
from tests.support.need import need
from tests.support.servers.idle_installation import Ticks
from tests.support.servers.php_fpm import php_fpm_available, start_php_fpm
from tests.support.servers.site import wait_until

# Writes a line when it begins, when it has answered and when it ends; works on until the file `go` is there. What it
# does between the first two is in ANSWER; where there are several, the last digit of the update says which.
BOT = """<?php
$update = json_decode(file_get_contents("php://input"), true);
$id = $update["update_id"];
function note($event) {
    global $id;
    file_put_contents(__DIR__ . "/journal", "$event $id\\n", FILE_APPEND | LOCK_EX);
}
note("began");
ANSWER
note("answered");
for ($i = 0; $i < 6000 && !file_exists(__DIR__ . "/go"); $i++) {
    usleep(50000);
    clearstatcache();
}
note("ended");
"""
# As bots answer early that were written for any web server. PHP may buffer what they say (output_buffering in php.ini).
FLUSH = "while (ob_get_level()) { ob_end_flush(); } flush();"
ANSWERS = {
    "ok": 'ignore_user_abort(true); header("Connection: close"); header("Content-Length: 2"); echo "ok"; ' + FLUSH,
    "in two": 'header("Content-Length: 4"); echo "o"; flush(); echo "k\\r\\n"; ' + FLUSH,
    "buffered": 'ob_start(); echo "{}"; header("Content-Length: " . ob_get_length()); ' + FLUSH,
    "202": 'http_response_code(202); header("content-length:2"); echo "ok"; ' + FLUSH,
    "more than said": 'header("Content-Length: 2"); echo "ok and more"; ' + FLUSH,
}
# The same where php.ini keeps the first 4096 bytes back (output_buffering), which these bots never say to pass on.
MARKS = 'ignore_user_abort(true); header("Connection: close"); header("Content-Encoding: none"); '
KEPT_BACK = {
    "no function of a buffer": MARKS + 'header("Content-Length: 2"); echo "ok"; flush();',
    "a buffer of its own": MARKS
    + 'ob_start(); echo "{}"; header("Content-Length: " . ob_get_length()); ob_end_flush(); flush();',
    "a buffer of its own, in another order": MARKS
    + 'ob_start(); print("ok"); $n = ob_get_length(); header("Content-Length: $n"); ob_flush(); flush();',
    "all that the manual says": 'ob_end_clean(); header("Connection: close\\r\\n"); ignore_user_abort(); ob_start();'
    ' echo "text"; header("Content-Length: " . ob_get_length()); ob_end_flush(); flush(); session_write_close();',
    "a session before": "session_id('chat7'); session_start(); session_write_close(); ignore_user_abort(true);"
    ' header("Content-Length: 2"); echo "o"; echo "k"; flush();',
    "only closes": 'header("Connection: close"); header("Content-Length: 2"); echo "ok"; @ob_flush(); flush();',
    "an answer without a text": MARKS + 'header("Content-Length: 0"); echo " "; flush();',
    "in a library": 'function answer($text) { ob_start(); echo $text; header("Connection: close");'
    ' header("Content-Length: " . ob_get_length()); ob_end_flush(); flush(); } answer("ok");',
}
# By a function that PHP has under PHP-FPM, and elsewhere behind the worker.
FINISHES = {
    "with a text": "echo 'ok'; fastcgi_finish_request();",
    "without a text": "fastcgi_finish_request();",
    "with a status": "http_response_code(204); fastcgi_finish_request();",
    "buffered": "ob_start(); echo 'ok'; fastcgi_finish_request();",
    "finished in its buffer": MARKS
    + 'ob_start(); echo "{}"; header("Content-Length: " . ob_get_length()); ob_end_flush(); fastcgi_finish_request();',
}
NOT_ANSWERS = {
    "nothing": "",
    "half": 'header("Content-Length: 20"); echo "ok"; ' + FLUSH,
    "no length": 'echo "ok"; ' + FLUSH,
    "500 and finished": "http_response_code(500); if (PHP_SAPI !== 'fpm-fcgi') { fastcgi_finish_request(); }",
    "500": 'http_response_code(500); header("Content-Length: 2"); echo "no"; ' + FLUSH,
}
# Enough for eight bots to begin and answer at the same time on a busy machine.
LIMIT_SECONDS = "5"
EVENTS = ("began", "answered", "ended")
Make = Callable[..., Ticks]


@pytest.fixture(params=["fastcgi", "php-fpm", "cgi"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes an installation with a bot that answers so; runs may take LIMIT_SECONDS."""
    with ExitStack() as stack:
        mode = "fastcgi" if request.param == "php-fpm" else request.param
        settings = {
            "BOT_LEGACY_MODE": mode,
            "BOT_LEGACY_TIMEOUT": LIMIT_SECONDS,
            "BOT_WORKER_POOL_SIZE": "1",
            "BOT_WORKER_SLOTS": "20",
        }
        if request.param == "php-fpm":
            need(php_fpm_available())
            fpm = start_php_fpm(tmp_path, children=20, pool="php_value[output_buffering] = 4096")
            stack.callback(fpm.stop)
            settings["BOT_FASTCGI_SOCKET"] = str(fpm.socket)

        def make(*answers: str, **changes: str) -> Ticks:
            bot = tmp_path / "bot.php"
            bot.write_text(BOT.replace("ANSWER", one_of(answers)))
            return stack.enter_context(Ticks(tmp_path, bot, **{**settings, **changes}))

        yield make


def one_of(answers: tuple[str, ...]) -> str:
    if len(answers) == 1:
        return answers[0]
    cases = "".join(f"case {number}: {answer} break;\n" for number, answer in enumerate(answers))
    return f"switch ($id % 10) {{\n{cases}}}"


def journal(ticks: Ticks) -> list[str]:
    path = ticks.folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


def note_of(ticks: Ticks) -> str:
    """What is kept with the newest job."""
    return ticks.queue.newest(1)[0].error_message or ""


def wait_for_line(ticks: Ticks, line: str) -> None:
    wait_until(lambda: line in journal(ticks), lambda: (journal(ticks), ticks.logs()))


def test_it_is_done_when_it_has_answered_and_may_work_on_beyond_its_time(make: Make) -> None:
    """F3: one that answered is done, and is not run again."""
    work_on_beyond_their_time(make, ANSWERS)


@pytest.mark.parametrize("make", ["fastcgi", "cgi", "cli"], indirect=True)
def test_so_it_is_when_it_says_to_php_that_it_has_finished(make: Make) -> None:
    """F3: the same by fastcgi_finish_request()."""
    work_on_beyond_their_time(make, FINISHES)


def test_f3_so_it_is_where_php_ini_would_keep_its_answer_back(make: Make, tmp_path: Path) -> None:
    if not (tmp_path / "fpm.conf").exists():  # which says the same
        (tmp_path / ".user.ini").write_text("output_buffering = 4096\n")

    work_on_beyond_their_time(make, KEPT_BACK)


def test_f3_under_the_hosts_php_fpm_that_keeps_it_back_the_bots_own_settings_let_it_out(tmp_path: Path) -> None:
    need(php_fpm_available())
    bot = tmp_path / "bot.php"
    bot.write_text(BOT.replace("ANSWER", KEPT_BACK["no function of a buffer"]))
    (tmp_path / "go").touch()
    with ExitStack() as stack:
        fpm = start_php_fpm(tmp_path, pool="php_value[output_buffering] = 4096")
        stack.callback(fpm.stop)
        runner = FastCgiRunner(bot, 30.0, HostServer(str(fpm.socket)), background_seconds=30.0)
        kept_back = runner.run('{"update_id": 1}')
        (tmp_path / "go").unlink()
        (tmp_path / ".user.ini").write_text("output_buffering = 0\n")
        fpm.stop()  # it reads such a file anew after five minutes
        fpm = start_php_fpm(tmp_path, pool="php_value[output_buffering] = 4096")
        stack.callback(fpm.stop)
        runner = FastCgiRunner(bot, 30.0, HostServer(str(fpm.socket)), background_seconds=30.0)
        let_out = runner.run('{"update_id": 2}')
        (tmp_path / "go").touch()
        assert let_out.works_on is not None
        problem = let_out.works_on.wait(lambda: None, lambda: False)

    assert (kept_back.works_on, kept_back.answer) == (None, b"ok")
    assert (let_out.answer, problem) == (b"ok", "")


def work_on_beyond_their_time(make: Make, answers: dict[str, str]) -> None:
    """Two updates of one chat for each kind of bot, all kinds at the same time."""
    ticks = make(*answers.values())
    firsts = range(10, 10 + len(answers))
    for number in firsts:
        ticks.store(number, chat=number)
    pool = ticks.start("worker_pool.py")

    ticks.wait_for_states(dict.fromkeys(firsts, "done"))
    seconds = [number + 10 for number in firsts]
    for number in firsts:
        ticks.deliver(number + 10, chat=number)  # as Telegram, which has its answer
    ticks.wait_for_states(dict.fromkeys([*firsts, *seconds], "done"))
    time.sleep(float(LIMIT_SECONDS) + 1)  # their time, which began before: not a race
    for name, number in zip(answers, firsts):
        assert journal_of(ticks, number) == [
            f"{event} {update}" for update in (number, number + 10) for event in ("began", "answered")
        ], name
    (ticks.folder / "go").touch()

    for number in (*firsts, *seconds):
        wait_for_line(ticks, f"ended {number}")
    wait_until(lambda: pool.out.count("bot ended after its answer") == 2 * len(answers), ticks.logs)
    assert ticks.attempts() == dict.fromkeys([*firsts, *seconds], 1)
    assert len(journal(ticks)) == 6 * len(answers)


def journal_of(ticks: Ticks, number: int) -> list[str]:
    """The lines of an update and the next one of its chat."""
    return [line for line in journal(ticks) if int(line.split()[1]) in (number, number + 10)]


def test_one_that_has_not_given_a_whole_success_is_ended_at_its_time_and_fails(make: Make) -> None:
    """F3: the other way round. Many that fail would be an outage."""
    ticks = make(*NOT_ANSWERS.values(), BOT_JOB_MAX_ATTEMPTS="1", BOT_BREAKER="0")
    numbers = range(10, 10 + len(NOT_ANSWERS))
    for number in numbers:
        ticks.store(number)
    ticks.start("worker_pool.py")

    ticks.wait_for_states(dict.fromkeys(numbers, "failed"))

    for job in ticks.queue.newest(len(NOT_ANSWERS)):
        assert "BOT_LEGACY_TIMEOUT" in (job.error_message or ""), job
    assert sorted(journal(ticks)) == sorted(
        f"{event} {number}" for event in ("began", "answered") for number in numbers
    )


def test_its_job_says_so(make: Make) -> None:
    ticks = make(ANSWERS["ok"])
    ticks.store(1)
    ticks.start("worker_pool.py")

    ticks.wait_for_states({1: "done"})

    until = re.fullmatch(r"answered after [0-9.]+ s, working on until (\S+) UTC at most", note_of(ticks))
    assert until
    (ticks.folder / "go").touch()
    wait_until(lambda: "worked on" in note_of(ticks), lambda: note_of(ticks))
    assert re.fullmatch(r"answered after [0-9.]+ s, worked on for [0-9.]+ s", note_of(ticks))
    assert not ticks.queue.newest(1)[0].warned


@pytest.mark.parametrize("make", ["fastcgi", "cgi"], indirect=True)
def test_f9_what_it_warns_of_after_its_answer_is_kept_as_well(make: Make) -> None:
    ticks = make(ANSWERS["ok"])
    bot = ticks.folder / "bot.php"
    bot.write_text(bot.read_text().replace('note("ended");', 'error_log("DB connection error"); note("ended");'))
    ticks.store(1)
    ticks.start("worker_pool.py")
    ticks.wait_for_states({1: "done"})
    (ticks.folder / "go").touch()

    wait_until(lambda: ticks.queue.newest(1)[0].warned, lambda: (note_of(ticks), ticks.logs()))

    assert note_of(ticks).endswith("\nDB connection error")


def test_one_that_ends_soon_after_its_answer_is_like_any_other(make: Make) -> None:
    ticks = make(ANSWERS["ok"])
    (ticks.folder / "go").touch()
    ticks.store(1)
    pool = ticks.start("worker_pool.py")

    ticks.wait_for_states({1: "done"})

    assert ticks.queue.newest(1)[0].error_message is None
    assert "after its answer" not in pool.out


def test_a_worker_that_is_killed_meanwhile_does_not_run_it_again(make: Make) -> None:
    """F3: of the kind, a worker that is killed."""
    ticks = make(ANSWERS["ok"])
    ticks.store(1, chat=7)
    pool = ticks.start("worker_pool.py")
    ticks.wait_for_states({1: "done"})

    (worker,) = [child for child in children(pool.child.pid) if not is_guard(child)]
    os.kill(worker, signal.SIGKILL)
    ticks.deliver(2, chat=7)
    ticks.wait_for_states({1: "done", 2: "done"})

    assert ticks.attempts() == {1: 1, 2: 1}
    assert journal(ticks).count("began 1") == 1


def test_it_is_ended_at_the_second_limit(make: Make) -> None:
    """F3: of the kind, one that never ends."""
    ticks = make(ANSWERS["ok"], BOT_LEGACY_BACKGROUND_SECONDS="2")
    ticks.store(1)
    pool = ticks.start("worker_pool.py")

    wait_until(lambda: "(BOT_LEGACY_BACKGROUND_SECONDS)" in pool.out, ticks.logs)

    assert (ticks.states(), ticks.attempts()) == ({1: "done"}, {1: 1})
    ticks.deliver(2)  # its slot is of use again
    ticks.wait_for_states({1: "done", 2: "done"})


def test_a_stop_gives_it_the_time_of_a_run(make: Make) -> None:
    ticks = make(ANSWERS["ok"])
    ticks.store(1)
    pool = ticks.start("worker_pool.py")
    ticks.wait_for_states({1: "done"})

    pool.child.send(signal.SIGTERM)

    assert pool.end() == 0
    assert "bot stopped after its answer" in pool.out
    assert ticks.states() == {1: "done"}


def test_a_tick_of_cron_lets_it_work_on_while_the_next_one_works(make: Make) -> None:
    """F3: of the kind, a tick of cron."""
    ticks = make(ANSWERS["ok"])
    ticks.store(1, chat=7)
    first = ticks.start("worker_pool.py", "--cron", "--max-seconds", "8")
    ticks.wait_for_states({1: "done"})
    wait_until(lambda: "finish" in ticks.run("worker_pool.py", "--status").stdout, ticks.logs)

    second = ticks.start("worker_pool.py", "--cron", "--max-seconds", "250")
    ticks.store(2, chat=7)
    ticks.wait_for_states({1: "done", 2: "done"})
    assert first.child.is_running()
    (ticks.folder / "go").touch()
    wait_for_line(ticks, "ended 2")
    second.child.send(signal.SIGTERM)

    assert (first.end(), second.end()) == (0, 0)
    assert sorted(journal(ticks)) == sorted(f"{event} {number}" for event in EVENTS for number in (1, 2))
