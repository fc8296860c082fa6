"""The php-cgi that a worker keeps: it stays, it is replaced when it has to be, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.runners.outcome import Kind
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.resident_php import ResidentPhpCgi
from tests.support.generators.bots import STAYS, is_let_go, outcome_of, shell_bot
from tests.support.need import need
from tests.support.servers.old_php import old_php_cgi, old_php_cgi_available
from tests.support.waiting import PATIENCE_SECONDS, SOON_SECONDS, eventually

ROOT = Path(__file__).resolve().parents[2]
AMPLE_SECONDS = 60.0
PID = "echo getmypid();"
Make = Callable[..., FastCgiRunner]


@pytest.fixture(params=["php-cgi", "7.4"])
def php(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """This machine's php-cgi, and an old one."""
    if request.param == "7.4":
        need(old_php_cgi_available())
        return old_php_cgi(tmp_path)
    need(None if which("php-cgi") else "php-cgi is not installed")
    return ""


@pytest.fixture
def make(tmp_path: Path, php: str) -> Iterator[Make]:
    """Makes runners with a php-cgi of their own: make(code, timeout_seconds), further arguments are the server's."""
    runners: list[FastCgiRunner] = []
    (tmp_path / "data").mkdir()

    def make(code: str, timeout_seconds: float = AMPLE_SECONDS, folder: Path = tmp_path / "data", **rest):
        write(tmp_path, code)
        server = ResidentPhpCgi(folder, php, **rest)
        runners.append(FastCgiRunner(tmp_path / "bot.php", timeout_seconds, server))
        return runners[-1]

    yield make
    for runner in runners:
        runner.close()


def write(folder: Path, code: str) -> None:
    (folder / "bot.php").write_text("<?php " + code)


def pid_of(runner: FastCgiRunner) -> int:
    """The process that answers; the bot says it."""
    outcome = outcome_of(runner)
    assert outcome.succeeded, outcome
    return int(outcome.answer)


def is_dead(pid: int, within_seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether the process ends in time; its parent need not have noticed yet."""
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)


def wait_for(file: Path, within_seconds: float = PATIENCE_SECONDS) -> str:
    """What is in the file, as soon as it is there. Raises AssertionError after a while."""
    deadline = time.monotonic() + within_seconds
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline, f"{file} was not written"
        time.sleep(0.01)
    return file.read_text()


def test_one_process_answers_one_update_after_the_other(make: Make):
    runner = make(PID)

    assert len({pid_of(runner) for _ in range(20)}) == 1


def test_it_is_replaced_after_as_many_requests_as_it_may_serve(make: Make):
    runner = make(PID, max_requests=3)

    pids = [pid_of(runner) for _ in range(10)]

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3, 1]
    assert is_dead(pids[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_one_that_was_killed_between_two_updates_is_replaced(make: Make, number: signal.Signals):
    runner = make(PID)
    first = pid_of(runner)

    os.kill(first, number)
    assert is_dead(first)

    assert pid_of(runner) != first


def served_all(runner: FastCgiRunner) -> None:
    pid_of(runner)


def was_killed(runner: FastCgiRunner) -> None:
    pid = pid_of(runner)
    os.kill(pid, signal.SIGKILL)
    assert is_dead(pid)


@pytest.mark.parametrize(("end", "max_requests"), [(served_all, 2), (was_killed, 500)])
def test_no_update_is_offered_to_one_that_is_known_to_end(
    tmp_path: Path, end: Callable[[FastCgiRunner], None], max_requests: int
):
    need(None if which("php-cgi") else "php-cgi is not installed")
    write(tmp_path, PID)
    server = ResidentPhpCgi(tmp_path, max_requests=max_requests)
    runner = FastCgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, server)
    pid_of(runner)
    first = server.connect(time.monotonic() + AMPLE_SECONDS)
    assert server.connect(time.monotonic() + AMPLE_SECONDS) is first

    end(runner)

    assert server.connect(time.monotonic() + AMPLE_SECONDS) is not first
    runner.close()


def test_one_that_was_asked_to_end_between_two_updates_loses_none(make: Make):
    """PHP takes TERM as "after this request", and waits for that request."""
    runner = make(PID)

    for _ in range(10):
        pid = pid_of(runner)
        os.kill(pid, signal.SIGTERM)
        pids = [pid_of(runner) for _ in range(4)]

        assert pids[-1] != pid


def test_closing_ends_it_and_another_run_may_follow(make: Make, tmp_path: Path):
    runner = make(PID)
    first = pid_of(runner)

    runner.close()
    runner.close()

    assert not Path(f"/proc/{first}").exists()
    assert list((tmp_path / "data").iterdir()) == []
    assert pid_of(runner) != first


def test_nobody_else_can_reach_it_while_it_runs(make: Make, tmp_path: Path):
    runner = make(PID)
    pid = pid_of(runner)

    assert list((tmp_path / "data").iterdir()) == []
    network = Path(f"/proc/{pid}/net/tcp").read_text() + Path(f"/proc/{pid}/net/tcp6").read_text()
    inodes = {os.readlink(link).strip("socket:[]") for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert not inodes & set(network.split())


def test_a_folder_of_a_long_path_will_do(make: Make, tmp_path: Path):
    """Given one longer than the path of a socket may be."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)

    assert outcome_of(make("echo 'fine';", folder=folder)).answer == b"fine"
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_with_the_setting(make: Make, tmp_path: Path):
    outcome = outcome_of(make(PID, folder=tmp_path / "nothing"))

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith(f"BOT_DATA_DIR: no socket can be made in {tmp_path}/nothing (")


def test_a_php_that_ends_at_once_is_told(tmp_path: Path):
    """Given a php.ini that PHP does not start with, or a program that lost a library."""
    write(tmp_path, PID)
    code = '[ "$1" = -v ] && { echo "PHP 8.1.2 (cgi-fcgi)"; exit; }; echo no library >&2; exit 127'
    php = shell_bot(tmp_path, code, "php-cgi")

    outcome = outcome_of(FastCgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, ResidentPhpCgi(tmp_path, str(php))))

    assert (outcome.kind, outcome.cause) == (Kind.DIED, "php-cgi ended with exit code 127 instead of answering")
    assert outcome.output == "no library"


def test_the_check_names_it_and_starts_nothing(make: Make, tmp_path: Path):
    line = make(PID).check()

    assert line.endswith(f"php-cgi, kept running by the worker (FastCGI), SCRIPT_FILENAME={tmp_path}/bot.php")


def test_the_check_tells_when_there_is_no_php_cgi(tmp_path: Path):
    write(tmp_path, PID)

    with pytest.raises(BotMissing, match="BOT_PHP_BINARY='/dev/null': expected php-cgi"):
        FastCgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, ResidentPhpCgi(tmp_path, "/dev/null")).check()


def test_an_overdue_bot_does_not_go_on(make: Make, tmp_path: Path):
    """Given a bot that sleeps: TERM would wake it, and it would send its message."""
    runner = make("file_put_contents('pid', getmypid()); sleep(600); touch('sent');", 3.0)

    outcome = outcome_of(runner)

    assert is_dead(int((tmp_path / "pid").read_text()))
    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 3 s (BOT_LEGACY_TIMEOUT)")
    assert outcome.seconds < SOON_SECONDS
    assert not (tmp_path / "sent").exists()


def test_an_overdue_bot_goes_with_everything_it_started(make: Make, tmp_path: Path):
    stays = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAYS
    (tmp_path / "stays.py").write_text(stays)
    lock = tmp_path / "lock"
    runner = make(
        f"""
        $child = popen('exec {sys.executable} -IS {tmp_path}/stays.py {lock}', 'r');
        fgets($child);
        touch('holding');
        sleep(600);
    """,
        6.0,
    )

    outcome = outcome_of(runner)

    assert outcome.kind is Kind.TIMED_OUT
    assert (tmp_path / "holding").exists()
    assert is_let_go(lock)


class Enough(Exception):
    pass


def enough_when(condition: Callable[[], bool]) -> Callable[[], None]:
    """A tick that ends the run then."""

    def tick() -> None:
        if condition():
            raise Enough

    return tick


def test_what_the_tick_raises_ends_the_bot_and_is_passed_on(make: Make, tmp_path: Path):
    runner = make("file_put_contents('pid', getmypid()); sleep(600);")

    with pytest.raises(Enough):
        outcome_of(runner, tick=enough_when((tmp_path / "pid").exists))

    assert is_dead(int((tmp_path / "pid").read_text()))


def test_what_a_bot_leaves_running_in_the_background_goes_on(make: Make, tmp_path: Path):
    """As behind a web server, though it holds the connection and the pipe of the process that is closed."""
    gate = tmp_path / "gate"
    runner = make(f"exec('(while [ ! -e {gate} ]; do sleep 0.05; done; echo late > {tmp_path}/late) > /dev/null &');")
    assert outcome_of(runner).succeeded

    begun = time.monotonic()
    runner.close()
    write(tmp_path, PID)
    pid_of(runner)
    gate.touch()

    assert wait_for(tmp_path / "late") == "late\n"
    assert time.monotonic() - begun < SOON_SECONDS


def test_a_death_is_noticed_though_a_child_holds_the_connection(make: Make, tmp_path: Path):
    runner = make("""
        exec('sleep 60 > /dev/null 2>&1 & echo $!', $lines); file_put_contents('child', $lines[0]);
        posix_kill(getmypid(), 9); sleep(60);
    """)

    outcome = outcome_of(runner)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)

    assert (outcome.kind, outcome.cause) == (Kind.DIED, "php-cgi died of SIGKILL while running the bot")
    assert outcome.seconds < SOON_SECONDS


def test_a_bot_that_died_is_not_run_again_by_itself(make: Make, tmp_path: Path):
    runner = make("file_put_contents('runs', 'x', FILE_APPEND); posix_kill(getmypid(), 11); sleep(60);")

    outcome = outcome_of(runner)

    assert (outcome.kind, outcome.cause) == (Kind.DIED, "php-cgi died of SIGSEGV while running the bot")
    assert (tmp_path / "runs").read_text() == "x"


def test_a_symbolic_link_that_was_turned_leads_to_the_new_version_at_once(make: Make, tmp_path: Path):
    """As release tools deploy: PHP alone would go on with the old release, and its parts."""
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "part.php").write_text(f"<?php echo 'part {release}, ';")
        (tmp_path / release / "bot.php").write_text(f"<?php require 'part.php'; echo 'bot {release}';")
    current = tmp_path / "current"
    current.symlink_to("one")
    make(PID)
    runner = FastCgiRunner(current / "bot.php", AMPLE_SECONDS, ResidentPhpCgi(tmp_path / "data"))
    before = [outcome_of(runner).answer for _ in range(3)]

    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(current)
    after = outcome_of(runner).answer
    runner.close()

    assert (before, after) == ([b"part one, bot one"] * 3, b"part two, bot two")


def test_it_leads_a_session_of_its_own_and_knows_only_its_own_environment(make: Make):
    runner = make(
        "echo getmypid(), ' ', posix_getsid(0), ' ', getenv('BOT_TOKEN'), ' ', getenv('SHELL') ?: 'none';",
        environment={"BOT_TOKEN": "1:x", "SHELL": "/bin/zsh"},
    )

    pid, session, token, shell = outcome_of(runner).answer.decode().split(" ")

    assert pid == session
    assert (token, shell) == ("1:x", "none")


def test_it_inherits_no_open_file_of_the_worker(make: Make, tmp_path: Path):
    with (tmp_path / "secret.txt").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        pid = pid_of(make(PID))

        files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]

    assert not [name for name in files if name.endswith("secret.txt")]


def test_many_processes_leave_no_descriptor_open(make: Make):
    runner = make(PID, max_requests=1)
    pid_of(runner)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        pid_of(runner)

    assert len(list(Path("/proc/self/fd").iterdir())) <= before


class Watching:
    """A guard that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def add(self, group: int) -> None:
        self.told.append(("add", group))

    def remove(self, group: int) -> None:
        state = Path(f"/proc/{group}/stat").read_text().rpartition(")")[2].split()[0]
        assert state == "Z", "it lives, or its id may be another's already"
        self.told.append(("remove", group))


def test_a_guard_is_told_of_every_process_that_begins_and_ends(make: Make, tmp_path: Path):
    reaper = Watching()
    runner = make(PID, max_requests=2, reaper=reaper)

    pids = list(dict.fromkeys(pid_of(runner) for _ in range(3)))
    write(tmp_path, "touch('begun'); sleep(600);")
    with pytest.raises(Enough):
        outcome_of(runner, tick=enough_when((tmp_path / "begun").exists))

    assert reaper.told == [(what, pid) for pid in pids for what in ("add", "remove")]


WORKER = """
import sys
from pathlib import Path
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.resident_php import ResidentPhpCgi
bot, data, php = map(Path, sys.argv[1:])
runner = FastCgiRunner(bot, 60, ResidentPhpCgi(data, "" if php == Path() else str(php)))
while True:
    print(runner.run("{}").answer.decode(), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def worker(make: Make, tmp_path: Path, php: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with a php-cgi of its own; prints each answer, and runs the bot again when it gets a line."""
    make(PID)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path / "bot.php"), str(tmp_path / "data"), php],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    yield process
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)


def test_it_ends_by_itself_when_its_worker_is_killed(worker: subprocess.Popen[str], tmp_path: Path):
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())

    worker.kill()

    assert is_dead(pid)
    assert list((tmp_path / "data").iterdir()) == []


def test_it_ends_after_the_update_at_hand_when_its_worker_is_killed(worker: subprocess.Popen[str], tmp_path: Path):
    assert worker.stdin is not None
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    write(tmp_path, "touch('begun'); while (!file_exists('gate')) { usleep(10000); clearstatcache(); } touch('ended');")
    print(file=worker.stdin, flush=True)
    eventually((tmp_path / "begun").exists)

    worker.kill()
    (tmp_path / "gate").touch()

    assert is_dead(pid)
    assert (tmp_path / "ended").exists()


def test_workers_in_threads_have_a_process_each(make: Make):
    """As in the mode for cron, where the workers of a pool are threads of one process."""
    runners = [make(PID) for _ in range(4)]
    pids: list[set[int]] = [set() for _ in runners]

    def work(number: int) -> None:
        for _ in range(20):
            pids[number].add(pid_of(runners[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(AMPLE_SECONDS)

    assert [len(each) for each in pids] == [1, 1, 1, 1]
    assert len(set().union(*pids)) == 4
