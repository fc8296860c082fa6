"""`worker_pool.py --cron` and `worker.py --drain` as cron starts them: real processes, with jobs in flight."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.machine import memory_megabytes
from scalable.lib.pool.pool_lock import PoolLock
from tests.integration.conftest import database_settings
from tests.support.fakes.worker_killer import JOURNAL_BOT, children, read_journal
from tests.support.generators.bots import python_bot
from tests.support.judges.judge import Story, find_wrongs, read_runs
from tests.support.servers.databases import Servers, let_leases_run_out
from tests.support.servers.idle_installation import COUNTING_BOT, GATED_BOT, NO_DATABASE, Started, Ticks, php_bot
from tests.support.servers.site import wait_until
from tests.support.servers.told import is_told

SIZE = 4
NEVER, SOONER_SECONDS = "60", 45.0  # the longest BOT_WORKER_SLEEP: what happens sooner does not happen by looking
LONG = "250"  # no test depends on the end of such a tick: it is told to end
# The time of a tick that is to be over in the test: enough for its bots to begin before, on a busy machine as well.
SHORT = "8"
CRON = ("worker_pool.py", "--cron")
DRAIN = ("worker.py", "--drain")
MakeTicks = Callable[..., Ticks]


@pytest.fixture(params=["sqlite", "mariadb-10.11"])
def make(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[MakeTicks]:
    """Makes an installation for a bot with this code, SIZE slots in all; every way to store the queue."""
    settings = database_settings(servers, request.param)
    with ExitStack() as stack:

        def make(code: str | Path, **changes: str) -> Ticks:
            bot = code if isinstance(code, Path) else python_bot(tmp_path, code)
            return stack.enter_context(
                Ticks(
                    tmp_path,
                    bot,
                    **{"BOT_WORKER_POOL_SIZE": str(SIZE), "BOT_WORKER_SLOTS": "1", **settings, **changes},
                )
            )

        yield make


def wait_until_its_time_is_over(ticks: Ticks) -> None:
    """Return once the tick that runs has made way for the next one."""
    wait_until(lambda: PoolLock(ticks.data_folder.pool_lock).holder() is None, ticks.logs)


# --- what a tick does ---


def test_a_tick_works_what_waits_and_what_comes_later_and_says_nothing(make: MakeTicks) -> None:
    ticks = make(COUNTING_BOT, BOT_WORKER_SLEEP=NEVER)
    for number in (1, 2, 3):
        ticks.store(number)
    tick = ticks.start(*CRON, "--max-seconds", LONG)
    ticks.wait_for_states({1: "done", 2: "done", 3: "done"})
    ticks.wait_for_ear()

    for number in (4, 5):
        ticks.deliver(number)
        ticks.wait_for_states(dict.fromkeys(range(1, number + 1), "done"), SOONER_SECONDS)
    tick.child.send(signal.SIGTERM)

    assert (tick.end(), tick.out) == (0, "")
    assert Counter(ticks.runs()) == dict.fromkeys(range(1, 6), 1)
    assert not ticks.data_folder.notification_socket.exists()


def test_what_nobody_announced_is_found_by_looking(make: MakeTicks) -> None:
    ticks = make(COUNTING_BOT, BOT_WORKER_SLEEP="0.2")
    tick = ticks.start(*CRON, "--max-seconds", LONG)
    ticks.wait_for_ear()

    ticks.store(1)

    ticks.wait_for_states({1: "done"})
    tick.child.send(signal.SIGTERM)
    assert (tick.end(), tick.out) == (0, "")


def test_a_job_in_back_off_is_run_when_it_is_due(make: MakeTicks) -> None:
    fails_once = "import os, sys\nif not os.path.exists('once'): open('once', 'w'); sys.exit(1)"
    ticks = make(fails_once, BOT_WORKER_SLEEP=NEVER, BOT_JOB_RETRY_BASE="1")
    ticks.store(1)

    tick = ticks.start(*CRON, "--max-seconds", LONG)

    ticks.wait_for_states({1: "done"}, SOONER_SECONDS)
    assert ticks.attempts() == {1: 2}
    tick.child.send(signal.SIGTERM)
    assert tick.end() == 0
    assert "job will be retried" in tick.out


def test_when_the_time_is_over_no_job_is_begun_and_those_that_run_are_finished(make: MakeTicks) -> None:
    ticks = make(GATED_BOT)
    for number in range(1, SIZE + 2):
        ticks.store(number)
    tick = ticks.start(*CRON, "--max-seconds", SHORT)
    wait_until(lambda: len(list(ticks.folder.glob("started-*"))) == SIZE, ticks.logs)

    wait_until_its_time_is_over(ticks)
    assert tick.child.is_running()
    (ticks.folder / "go").touch()

    assert (tick.end(), tick.out) == (0, "")
    assert Counter(ticks.states().values()) == {"done": SIZE, "pending": 1}


def test_four_bots_run_at_the_same_time_with_at_most_two_connections(servers: Servers, tmp_path: Path) -> None:
    server = servers.get("mariadb-10.11")
    settings = database_settings(servers, server.name)
    bot = python_bot(tmp_path, COUNTING_BOT)
    with Ticks(tmp_path, bot, **settings, BOT_WORKER_POOL_SIZE=str(SIZE), BOT_WORKER_SLEEP="0.05") as ticks:
        for number in range(80):
            ticks.store(number)
        ticks.queue.close()
        seen: list[int] = []
        tick = ticks.start(*CRON, "--max-seconds", LONG)
        with server.connect(as_admin=True) as admin, admin.cursor() as cursor:
            while tick.child.is_running() and len(ticks.runs()) < 80:
                cursor.execute(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s", (settings["BOT_DB_NAME"],)
                )
                seen.append(cursor.fetchone()[0])
        tick.child.send(signal.SIGTERM)

        assert (tick.end(), tick.out) == (0, "")
        # A server lists for a moment longer what its client has closed.
        assert 1 <= sorted(seen)[len(seen) * 95 // 100] <= 2, seen


@pytest.mark.parametrize("mode", ["cli", "fastcgi"])
def test_a_php_bot_runs_unchanged_in_every_slot(make: MakeTicks, mode: str) -> None:
    ticks = make(php_bot(), BOT_LEGACY_MODE=mode)
    for number in range(1, 41):
        ticks.store(number)

    tick = ticks.start(*CRON, "--max-seconds", LONG)
    ticks.wait_for_states(dict.fromkeys(range(1, 41), "done"))
    tick.child.send(signal.SIGTERM)

    assert tick.end() == 0
    lines = [line for line in tick.out.splitlines() if "reply not sent" not in line]  # there is no token
    assert lines == []
    assert len((ticks.folder / "journal").read_text().splitlines()) == 40


def test_a_function_in_python_is_imported_once_and_called_by_all_slots(make: MakeTicks, tmp_path: Path) -> None:
    bot = tmp_path / "hosted.py"
    bot.write_text(
        "import threading\nopen('imports', 'a').write('x')\nmet = threading.Barrier(4)\n"
        "def handle(update):\n    met.wait(60)\n"
    )
    ticks = make(Path(f"{bot}:handle"))
    for number in range(1, SIZE + 1):
        ticks.store(number)

    tick = ticks.start(*CRON, "--max-seconds", LONG)
    ticks.wait_for_states(dict.fromkeys(range(1, SIZE + 1), "done"))
    tick.child.send(signal.SIGTERM)

    assert (tick.end(), tick.out) == (0, "")
    assert (tmp_path / "imports").read_text() == "x"


def test_a_new_version_of_the_bot_ends_the_tick_early_and_the_next_one_has_it(make: MakeTicks, tmp_path: Path) -> None:
    """Given an upload while the bot is at the first of two updates."""
    bot, new = tmp_path / "hosted.py", tmp_path / "uploaded.py"
    bot.write_text(f"import os\ndef handle(update): os.replace({str(new)!r}, {str(bot)!r})\n")
    new.write_text("def handle(update): open('new', 'a').write(str(update['update_id']))\n")
    for file in (bot, new):
        os.utime(file, (1, 1))
    ticks = make(Path(f"{bot}:handle"), BOT_WORKER_POOL_SIZE="1")
    for number in (1, 2):
        ticks.store(number)

    tick = ticks.start(*CRON, "--max-seconds", LONG)

    assert (tick.end(), tick.out) == (0, "")
    assert ticks.states() == {1: "done", 2: "pending"}
    next_tick = ticks.start(*CRON, "--max-seconds", LONG)
    ticks.wait_for_states({1: "done", 2: "done"})
    next_tick.child.send(signal.SIGTERM)
    assert (next_tick.end(), next_tick.out) == (0, "")
    assert (tmp_path / "new").read_text() == "2"


def test_lanes_keep_their_order_and_nothing_runs_twice(make: MakeTicks) -> None:
    ticks = make(JOURNAL_BOT, BOT_JOB_RETRY_BASE="1", BOT_JOB_RETRY_MAX="1", BOT_JOB_MAX_ATTEMPTS="3")
    ticks.queue.ensure_schema()
    from scalable.lib.telegram.update import Update

    for number in range(120):
        lane = f"chat:{number % 7}"
        payload = f'{{"update_id": {number}, "lane": "{lane}", "always_fails": {str(number % 40 == 39).lower()}}}'
        ticks.queue.enqueue(Update(payload, number, "message", lane))

    tick = ticks.start(*CRON, "--max-seconds", LONG)
    wait_until(lambda: not {"pending", "processing"} & set(ticks.states().values()), ticks.logs)
    tick.child.send(signal.SIGTERM)

    assert tick.end() == 0
    notes = read_journal(ticks.folder / "journal")
    runs, wrong = read_runs(notes, [])
    lanes = {note.update: note.lane for note in sorted(notes, key=lambda note: note.update)}
    assert wrong + find_wrongs(Story(lanes, ticks.states(), runs, [], 1.0)) == []
    assert Counter(ticks.states().values()) == {"done": 117, "failed": 3}


def test_four_slots_need_no_more_than_sixty_megabytes(make: MakeTicks) -> None:
    ticks = make(COUNTING_BOT)
    for number in range(40):
        ticks.store(number)
    tick = ticks.start(*CRON, "--max-seconds", LONG)
    wait_until(lambda: len(ticks.runs()) == 40, ticks.logs)

    megabytes = memory_megabytes(tick.child.pid)

    print(f"four slots: {megabytes:.0f} MB")
    assert 5 < megabytes <= 60


# --- more than one ---


def test_while_the_last_jobs_of_a_tick_run_the_next_one_works_and_no_third_one(make: MakeTicks) -> None:
    """F11: with `--cron`, an update that comes at second 60."""
    ticks = make(GATED_BOT)
    ticks.store(1)
    first = ticks.start(*CRON, "--max-seconds", SHORT)
    ticks.wait_for_file("started-1")
    wait_until_its_time_is_over(ticks)
    ticks.store(2)

    second = ticks.start(*CRON, "--max-seconds", SHORT)

    ticks.wait_for_file("started-2")
    time.sleep(float(SHORT) + 1)  # the time of the second one, which has it still: not a race
    ticks.store(3)
    holder = PoolLock(ticks.data_folder.pool_lock).holder()
    assert holder is not None
    assert holder.pid == second.child.pid
    third = ticks.run(*CRON)
    assert (third.returncode, third.stdout, third.stderr) == (0, "", "")
    assert ticks.states() == {1: "processing", 2: "processing", 3: "pending"}
    (ticks.folder / "go").touch()
    assert [first.end(), second.end()] == [0, 0]
    assert ticks.states() == {1: "done", 2: "done", 3: "pending"}


def test_an_overlapping_tick_is_a_silent_no_op(make: MakeTicks) -> None:
    ticks = make(GATED_BOT)
    ticks.store(1)
    tick = ticks.start(*CRON)
    ticks.wait_for_file("started-1")
    ticks.store(2)

    second = ticks.run(*CRON)

    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    resident = ticks.run("worker_pool.py")
    assert resident.returncode == 1
    assert f"running already (pid {tick.child.pid})" in resident.stderr


def test_a_tick_at_its_last_is_seen_by_status_and_ended_by_stop(make: MakeTicks) -> None:
    ticks = make(GATED_BOT)
    ticks.store(1)
    tick = ticks.start(*CRON, "--max-seconds", SHORT)
    ticks.wait_for_file("started-1")
    wait_until_its_time_is_over(ticks)

    status = ticks.run("worker_pool.py", "--status")
    stopped = ticks.run("worker_pool.py", "--stop", "--at-once")

    assert f"pid {tick.child.pid} only finishes its last updates" in status.stdout
    assert (stopped.returncode, stopped.stdout.splitlines()[-1]) == (0, "it has ended")
    assert tick.end() == 0
    assert ticks.states() == {1: "pending"}
    again = ticks.run("worker_pool.py", "--stop")
    assert (again.returncode, again.stdout) == (0, "no pool of this installation is running\n")


def test_a_tick_beside_a_resident_pool_is_a_silent_no_op(make: MakeTicks) -> None:
    ticks = make(GATED_BOT)
    ticks.store(1)
    ticks.start("worker_pool.py")
    ticks.wait_for_file("started-1")

    tick = ticks.run(*CRON)

    assert (tick.returncode, tick.stdout, tick.stderr) == (0, "", "")


def test_an_overlapping_tick_is_one_even_when_the_database_or_the_bot_is_away(make: MakeTicks) -> None:
    """The one that runs says so already, once a minute."""
    ticks = make(GATED_BOT)
    ticks.store(1)
    ticks.start(*CRON)
    ticks.wait_for_file("started-1")

    tick = ticks.run(*CRON, BOT_LEGACY_PATH="/absent.php")

    assert (tick.returncode, tick.stdout, tick.stderr) == (0, "", "")


def test_of_five_started_together_one_works_and_nothing_is_run_twice(make: MakeTicks) -> None:
    ticks = make(COUNTING_BOT)
    for number in range(60):
        ticks.store(number)

    started = [ticks.start(*CRON, "--max-seconds", LONG) for _ in range(5)]
    wait_until(lambda: sum(each.child.is_running() for each in started) == 1, ticks.logs)
    ticks.wait_for_states(dict.fromkeys(range(60), "done"))
    for each in started:
        each.child.send(signal.SIGTERM)

    assert [each.end() for each in started] == [0] * 5
    assert "".join(each.out for each in started) == ""
    assert Counter(ticks.runs()) == dict.fromkeys(range(60), 1)


# --- signals and deaths with jobs in flight ---


def in_flight(make: MakeTicks, command: tuple[str, ...]) -> tuple[Ticks, Started]:
    ticks = make(GATED_BOT)
    for number in range(1, SIZE + 3):
        ticks.store(number)
    tick = ticks.start(*command, "--max-seconds", LONG)
    ticks.wait_for_file("started-1")
    return ticks, tick


@pytest.mark.parametrize("command", [CRON, DRAIN], ids=["tick", "drain"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_jobs_in_flight_finish_and_begins_none(
    make: MakeTicks, command: tuple[str, ...], number: signal.Signals
) -> None:
    ticks, tick = in_flight(make, command)
    slots = SIZE if command == CRON else 1
    # Not those that are `processing`: some of them may wait in the tick until a slot is free, and are given back.
    wait_until(lambda: len(list(ticks.folder.glob("started-*"))) == slots, ticks.logs)

    assert not is_told(tick.child.pid)
    tick.child.send(number)
    wait_until(lambda: is_told(tick.child.pid), lambda: "the handler has not run")
    (ticks.folder / "go").touch()

    assert (tick.end(), tick.out) == (0, "")
    assert Counter(ticks.states().values()) == {"done": slots, "pending": SIZE + 2 - slots}


@pytest.mark.parametrize("command", [CRON, DRAIN], ids=["tick", "drain"])
@pytest.mark.parametrize("numbers", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT]], ids=["QUIT", "INT twice"])
def test_at_once_means_that_bots_are_ended_and_jobs_given_back(
    make: MakeTicks, command: tuple[str, ...], numbers: list[signal.Signals]
) -> None:
    ticks, tick = in_flight(make, command)

    for times, number in enumerate(numbers, 1):
        tick.child.send(number)
        wait_until(
            lambda times=times: is_told(tick.child.pid, times) or not tick.child.is_running(), lambda: "not told"
        )

    assert tick.end() == 0
    assert set(ticks.states().values()) == {"pending"}
    assert set(ticks.attempts().values()) == {0}


def test_a_tick_that_is_killed_takes_its_bots_with_it_and_the_next_one_recovers(make: MakeTicks) -> None:
    ticks, tick = in_flight(make, CRON)
    wait_until(lambda: len(list(ticks.folder.glob("started-*"))) == SIZE, ticks.logs)
    bots = [int(path.read_text()) for path in ticks.folder.glob("started-*")]
    assert set(bots) <= set(children(tick.child.pid))

    os.kill(tick.child.pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(bot) for bot in bots), lambda: bots)
    let_leases_run_out(ticks.queue)
    (ticks.folder / "go").touch()
    next_tick = ticks.start(*CRON, "--max-seconds", LONG)

    ticks.wait_for_states(dict.fromkeys(range(1, SIZE + 3), "done"))
    assert sorted(ticks.attempts().values()) == [1] * 2 + [2] * SIZE
    next_tick.child.send(signal.SIGTERM)
    assert next_tick.end() == 0
    assert f"retried={SIZE}" in next_tick.out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_exit_codes_of_bots_count_although_cron_ignores_its_children(make: MakeTicks) -> None:
    ticks = make("import sys; sys.exit(1)", BOT_JOB_MAX_ATTEMPTS="1")
    ticks.store(1)
    ignoring = ["/bin/sh", "-c", 'trap "" CHLD; exec "$@"', "sh"]

    tick = ticks.start(*CRON, "--max-seconds", LONG, wrapper=ignoring)

    ticks.wait_for_states({1: "failed"})
    tick.child.send(signal.SIGTERM)
    assert tick.end() == 0


# --- the database away, and what is told ---


@pytest.mark.parametrize("command", [CRON, DRAIN], ids=["tick", "drain"])
@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"BOT_WORKER_POOL_SIZE": "0"}, 2, "error: BOT_WORKER_POOL_SIZE='0' (environment): expected"),
        ({"BOT_LEGACY_PATH": "../absent.php"}, 4, "error: BOT_LEGACY_PATH: there is no bot at"),
        (NO_DATABASE, 3, "check BOT_DB_HOST"),
    ],
    ids=["bad configuration", "no bot", "no database"],
)
def test_exit_codes_say_what_kind_of_help_is_needed(
    tmp_path: Path, command: tuple[str, ...], changes: dict[str, str], code: int, message: str
) -> None:
    with Ticks(tmp_path, php_bot()) as ticks:
        if changes is NO_DATABASE:
            ticks.data_folder.database_note.unlink()

        finished = ticks.run(*command, "--max-seconds", "20", **changes)

    assert finished.returncode == code
    assert len(finished.stderr.splitlines()) == 1
    assert message in finished.stderr


@pytest.mark.parametrize("arguments", [["--max-seconds", "0"], ["--max-seconds", "soon"], ["--serve"]])
def test_a_wrong_option_is_named(tmp_path: Path, arguments: list[str]) -> None:
    with Ticks(tmp_path, php_bot()) as ticks:
        finished = ticks.run(*CRON, *arguments)

    assert finished.returncode == 2
    assert arguments[0] in finished.stderr


def test_a_tick_outlives_an_absence_of_the_database_and_finishes_its_jobs(servers: Servers, tmp_path: Path) -> None:
    server = servers.get("mariadb-10.11")
    bot = python_bot(tmp_path, GATED_BOT)
    settings = database_settings(servers, server.name)
    with Ticks(
        tmp_path, bot, **settings, BOT_WORKER_POOL_SIZE="2", BOT_WORKER_SLOTS="1", BOT_WORKER_SLEEP="0.2"
    ) as ticks:
        for number in (1, 2, 3):
            ticks.store(number)
        tick = ticks.start(*CRON, "--max-seconds", LONG)
        wait_until(lambda: Counter(ticks.states().values())["processing"] == 2, ticks.logs)

        server.process.stop()
        (ticks.folder / "go").touch()
        wait_until(lambda: "database away" in tick.out, ticks.logs)
        server.restart()

        ticks.wait_for_states({1: "done", 2: "done", 3: "done"})
        tick.child.send(signal.SIGTERM)
        assert tick.end() == 0
        assert "Traceback" not in tick.out
        assert ticks.attempts() == {1: 1, 2: 1, 3: 1}


def test_a_tick_is_stopped_in_time_while_the_database_is_away(servers: Servers, tmp_path: Path) -> None:
    server = servers.get("mariadb-10.11")
    bot = python_bot(tmp_path, COUNTING_BOT)
    settings = database_settings(servers, server.name)
    with Ticks(tmp_path, bot, **settings, BOT_WORKER_SLEEP="0.2") as ticks:
        ticks.store(1)
        tick = ticks.start(*CRON, "--max-seconds", LONG)
        ticks.wait_for_states({1: "done"})
        server.process.stop()
        try:
            wait_until(lambda: "queue not looked at" in tick.out, ticks.logs)
            tick.child.send(signal.SIGTERM)

            assert tick.end() == 0  # long before its own time
            assert "Traceback" not in tick.out
        finally:
            server.restart()
