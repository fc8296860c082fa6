"""Real pools and workers: signals with jobs in flight, double starts, drains, dead parents, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, accepts_connections, command_of, tail
from tests.support.servers.databases import Servers
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import SYSTEM_PYTHON, copy_plugin, wait_until

PHP_BOT = REPOSITORY / "examples" / "bot.php"
# A user that has no other process.
# Not the one of another run of the tests: the limit is for all processes of a user together.
NOBODY_ELSE = 40_000 + os.getpid() % 20_000
NO_DATABASE = {"BOT_DB_HOST": "127.0.0.1:1", "BOT_DB_NAME": "a", "BOT_DB_USER": "b", "BOT_DB_PASS": ""}
PY_BOT = REPOSITORY / "examples" / "bot.py"
# Says that it started, then works until the test lets it go on, or for a minute.
GATED_BOT = """
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
update = json.load(sys.stdin)
(here / f"started-{update['update_id']}").touch()
for _ in range(600):
    if (here / "go").exists():
        sys.exit(0)
    time.sleep(0.1)
"""


@pytest.fixture(params=["sqlite", "mariadb-10.11"])
def settings(request: pytest.FixtureRequest, servers: Servers) -> dict[str, str]:
    """Where the queue is."""
    if request.param == "sqlite":
        return {}
    address = servers.fresh_database(request.param)
    return {
        "BOT_DB_HOST": str(address.socket),
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }


@pytest.fixture
def gated(tmp_path: Path, settings: dict[str, str]) -> Iterator[ServedSite]:
    """A running pool of two, with a job in flight whose bot waits for the file `go`."""
    bot = tmp_path / "gated.py"
    bot.write_text(GATED_BOT)
    with ServedSite(tmp_path, bot, **settings) as site:
        site.send({"update_id": 1})
        wait_until((tmp_path / "started-1").exists, lambda: tail(site.log))
        yield site
        (tmp_path / "go").touch()


def exit_code(child: Child) -> int | None:
    wait_until(lambda: not child.is_running(), lambda: "the pool still runs")
    return child.exit_code


def jobs(site: ServedSite) -> list[dict[str, Any]]:
    """The queue as the shell shows it, for a pool that serves no more."""
    shown: list[dict[str, Any]] = json.loads(site.run("dashboard.py", "--json").stdout)["jobs"]
    return shown


def test_term_lets_the_job_in_flight_finish_and_takes_no_new_one(gated: ServedSite) -> None:
    gated.pool.send(signal.SIGTERM)
    wait_until(lambda: "pool stopping" in gated.log.read_text(), lambda: tail(gated.log))
    (gated.folder / "go").touch()

    assert exit_code(gated.pool) == 0
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("done", 1)]


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT]], ids=["QUIT", "INT twice"])
def test_at_once_means_the_bot_is_ended_and_the_job_given_back(
    gated: ServedSite, signals: list[signal.Signals]
) -> None:
    for number in signals:
        gated.pool.send(number)
        if len(signals) > 1:
            wait_until(lambda: "pool stopping" in gated.log.read_text(), lambda: tail(gated.log))

    assert exit_code(gated.pool) == 0
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("pending", 0)]


def test_a_killed_pool_leaves_workers_that_finish_and_end(gated: ServedSite) -> None:
    workers = children_of(gated.pool.pid)
    gated.pool.send(signal.SIGKILL)
    wait_until(lambda: not gated.pool.is_running(), lambda: "the pool still runs")
    (gated.folder / "go").touch()

    wait_until(lambda: not any(map(alive, workers)), lambda: [pid for pid in workers if alive(pid)])
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("done", 1)]


def test_the_next_pool_starts_after_a_killed_one_and_takes_over(gated: ServedSite) -> None:
    os.kill(gated.pool.pid, signal.SIGKILL)
    wait_until(lambda: not gated.pool.is_running(), lambda: "the pool still runs")
    (gated.folder / "go").touch()

    gated.pool.start()
    wait_until(lambda: accepts_connections(gated.port), lambda: tail(gated.log))

    gated.wait_for_counts(done=1)
    gated.send({"update_id": 2})
    gated.wait_for_counts(done=2)


def test_a_second_pool_says_which_one_runs_and_ensure_says_nothing(gated: ServedSite) -> None:
    second = gated.run("worker_pool.py")
    ensured = gated.run("worker_pool.py", "--ensure")

    assert second.returncode == 1
    assert f"running already (pid {gated.pool.pid})" in second.stderr
    assert (ensured.returncode, ensured.stdout, ensured.stderr) == (0, "", "")


def test_a_killed_worker_is_replaced_within_seconds(gated: ServedSite) -> None:
    before = children_of(gated.pool.pid)
    os.kill(before[0], signal.SIGKILL)

    wait_until(lambda: len(set(children_of(gated.pool.pid)) - set(before)) == 1, lambda: tail(gated.log))


def test_hup_replaces_every_worker_with_a_job_in_flight_and_none_is_run_twice(gated: ServedSite) -> None:
    before = workers_of(gated.pool.pid)
    gated.pool.send(signal.SIGHUP)
    wait_until(lambda: "replacing the workers" in gated.log.read_text(), lambda: tail(gated.log))
    (gated.folder / "go").touch()

    def all_are_new() -> bool:
        now = workers_of(gated.pool.pid)
        return len(now) == len(before) and not set(now) & set(before)

    wait_until(all_are_new, lambda: tail(gated.log))
    gated.wait_for_counts(done=1)
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("done", 1)]
    gated.send({"update_id": 2})
    gated.wait_for_counts(done=2)


def test_status_tells_the_pool_from_none(gated: ServedSite) -> None:
    running = gated.run("worker_pool.py", "--status")
    (gated.folder / "go").touch()
    gated.pool.stop()
    stopped = gated.run("worker_pool.py", "--status")

    assert (running.returncode, running.stderr) == (0, "")
    assert f"pool     running, pid {gated.pool.pid}\n" in running.stdout
    assert "workers  2, 1 of them running the bot\n" in running.stdout
    assert "queue    0 pending, 1 processing, 0 failed\n" in running.stdout
    assert stopped.returncode == 1
    assert "pool     not running here\n" in stopped.stdout


def test_stop_waits_until_the_jobs_at_hand_are_done(gated: ServedSite) -> None:
    stopping = subprocess.Popen(
        gated.command("worker_pool.py", "--stop"), env=gated.environment, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: "pool stopping" in gated.log.read_text(), lambda: tail(gated.log))
    assert stopping.poll() is None
    (gated.folder / "go").touch()
    said, _ = stopping.communicate(timeout=60)

    assert stopping.returncode == 0
    assert said == f"the pool (pid {gated.pool.pid}) ends after the jobs at hand …\nit has ended\n"
    assert exit_code(gated.pool) == 0
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("done", 1)]


def test_stop_at_once_gives_the_job_back(gated: ServedSite) -> None:
    stopped = gated.run("worker_pool.py", "--stop", "--at-once")

    assert stopped.returncode == 0
    assert exit_code(gated.pool) == 0
    assert [(job["status"], job["attempts"]) for job in jobs(gated)] == [("pending", 0)]
    again = gated.run("worker_pool.py", "--stop")
    assert (again.returncode, again.stdout) == (0, "no pool of this installation is running\n")


class TestHostileSurroundings:
    """What a cheap host may be like: a pool starts and works, or says what is missing."""

    def served(self, folder: Path, **settings: str) -> ServedSite:
        bot = folder / "bot.py"
        bot.write_text("import sys; sys.stdin.read()")
        return ServedSite(folder, bot, **settings)

    def works(self, site: ServedSite) -> None:
        with site:
            site.send({"update_id": 1})
            site.wait_for_counts(done=1)

    def test_a_home_that_cannot_be_written(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        home.mkdir(mode=0o500)
        self.works(self.served(tmp_path, HOME=str(home), TMPDIR=str(home)))

        assert list(home.iterdir()) == []

    def test_no_shared_memory_and_no_temporary_folder(self, tmp_path: Path) -> None:
        site = self.served(tmp_path, TMPDIR="/nowhere")
        hidden = ["unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh"]
        site.pool = Child([*hidden, *site.pool_command()], log=site.log, environment=site.environment)
        self.works(site)

    def test_standard_output_and_error_that_are_closed(self, tmp_path: Path) -> None:
        site = self.served(tmp_path)
        closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"]
        site.pool = Child([*closed, *site.pool_command()], log=site.log, environment=site.environment)
        self.works(site)

    def test_no_process_left_for_some_of_the_workers(self, tmp_path: Path) -> None:
        """Given a limit that counts: root has none, so the pool runs as another user, with the machine's own Python."""
        site = self.served(tmp_path, BOT_WORKER_POOL_SIZE="8")
        plugin = copy_plugin(tmp_path)
        for path in (tmp_path, tmp_path / "bot.py", plugin, *plugin.iterdir()):
            os.chown(path, NOBODY_ELSE, NOBODY_ELSE)
        let_others_pass(tmp_path)
        # Threads count as well: those of the web server, the watcher, the scheduler.
        limited = [
            "setpriv",
            f"--reuid={NOBODY_ELSE}",
            f"--regid={NOBODY_ELSE}",
            "--clear-groups",
            "--",
            "prlimit",
            "--nproc=27",
            "--",
            SYSTEM_PYTHON,
            str(plugin / "worker_pool.py"),
            *site.pool_command()[2:],
        ]
        site.pool = Child(limited, log=site.log, environment=site.environment)
        with site:
            wait_until(lambda: "worker not started" in site.log.read_text(), lambda: tail(site.log))
            site.send({"update_id": 1})
            site.wait_for_counts(done=1)


def let_others_pass(folder: Path) -> None:
    for path in folder.parents:
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)


class TestDrain:
    @pytest.fixture
    def filled(self, tmp_path: Path, settings: dict[str, str]) -> ServedSite:
        """A queue with 5 good updates and a failing one, and no pool."""
        site = ServedSite(tmp_path, PY_BOT, **settings)
        for number in range(6):
            put(site, number, "/fail" if number == 3 else "/start")
        return site

    def test_it_works_the_queue_empty_and_is_silent_when_all_went_well(self, filled: ServedSite) -> None:
        filled.run("worker.py", "--drain", "--max-jobs", "3")
        finished = filled.run("worker.py", "--drain", BOT_LOG_LEVEL="ERROR")

        assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
        assert sorted(job["status"] for job in jobs(filled)) == ["done"] * 5 + ["pending"]

    def test_max_jobs_is_kept(self, filled: ServedSite) -> None:
        filled.run("worker.py", "--drain", "--max-jobs", "2")

        assert sum(job["status"] == "done" for job in jobs(filled)) == 2

    def test_max_seconds_ends_an_idle_worker(self, filled: ServedSite) -> None:
        finished = filled.run("worker.py", "--max-seconds", "8")

        assert finished.returncode == 0
        assert sum(job["status"] == "done" for job in jobs(filled)) == 5

    @pytest.mark.parametrize("arguments", [["--max-jobs", "0"], ["--max-seconds", "soon"], ["--max-jobs", "1.5"]])
    def test_a_wrong_limit_is_named(self, filled: ServedSite, arguments: list[str]) -> None:
        finished = filled.run("worker.py", "--drain", *arguments)

        assert finished.returncode == 2
        assert repr(arguments[1]) in finished.stderr


def put(site: ServedSite, update_id: int, text: str) -> None:
    """Deliver an update to the installation's webhook as a CGI request, without any server."""
    body = f'{{"update_id": {update_id}, "message": {{"chat": {{"id": {update_id}}}, "text": "{text}"}}}}'.encode()
    answer = subprocess.run(
        site.command("webhook_queue.py"),
        input=body,
        capture_output=True,
        timeout=60,
        check=True,
        env={
            **site.environment,
            "GATEWAY_INTERFACE": "CGI/1.1",
            "REQUEST_METHOD": "POST",
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
        },
    )
    assert answer.stdout.startswith(b"Status: 200 OK"), answer


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"BOT_WORKER_POOL_SIZE": "0"}, 2, "error: BOT_WORKER_POOL_SIZE='0' (environment): expected"),
        ({"BOT_LEGACY_PATH": "../absent.php"}, 4, "error: BOT_LEGACY_PATH: there is no bot at"),
        ({"BOT_LEGACY_PATH": str(PHP_BOT), "BOT_PHP_BINARY": "/absent"}, 4, "error: BOT_PHP_BINARY='/absent'"),
        (NO_DATABASE, 3, "check BOT_DB_HOST"),
    ],
    ids=["bad configuration", "no bot", "no PHP", "no database"],
)
@pytest.mark.parametrize("script", ["worker.py", "worker_pool.py"])
def test_exit_codes_say_what_kind_of_help_is_needed(
    tmp_path: Path, script: str, changes: dict[str, str], code: int, message: str
) -> None:
    finished = ServedSite(tmp_path, PY_BOT, **changes).run(script)

    assert finished.returncode == code
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_address_in_use_is_named(tmp_path: Path) -> None:
    with ServedSite(tmp_path, PY_BOT) as site:
        other = ServedSite(tmp_path, PY_BOT, BOT_DATA_DIR=str(tmp_path / "other"))

        finished = other.run("worker_pool.py", "--serve", f"127.0.0.1:{site.port}")

    assert finished.returncode == 2
    assert f"--serve 127.0.0.1:{site.port}: cannot listen there (Address already in use)" in finished.stderr


def children_of(pid: int) -> list[int]:
    """Process ids of the children of `pid`, whichever thread started them."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers_of(pool: int) -> list[int]:
    """The workers among the pool's children."""
    return [pid for pid in children_of(pool) if "worker.py" in command_of(pid)]
