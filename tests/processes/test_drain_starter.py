"""DrainStarter: when a drain is started and when not, and what it has of the process that started it: next to nothing.

The script that is started is a small one that says what it got, and stays until the test lets it go.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.errors import ConfigurationError, NoProcessLeft
from scalable.lib.pool import drain_starter as module
from scalable.lib.pool.drain_lock import take_drain_lock
from scalable.lib.pool.drain_starter import (
    Drained,
    DrainPlaces,
    DrainStarter,
    StartedDrain,
    drain_environment,
)
from scalable.lib.pool.pool_lock import PoolLock
from tests.support.places import REPOSITORY
from tests.support.waiting import eventually

SCRIPT = """
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
values = dict(zip(sys.argv, sys.argv[1:]))
reports = int(values["--report"])
got = {
    "arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(), "session": os.getsid(0),
    "pid": os.getpid(), "descriptors": {name: os.readlink(f"/proc/self/fd/{name}") for name in "012"},
    "count": len(os.listdir("/proc/self/fd")),
}
(here / "got.part").write_text(json.dumps(got))
os.rename(here / "got.part", here / "got")
while not (here / "say").exists():
    time.sleep(0.01)
said, code = json.loads((here / "say").read_text())
os.write(reports, said.encode())
sys.stderr.write("a warning\\n")
while not (here / "go").exists():
    time.sleep(0.01)
sys.exit(code)
"""


class Room:
    """A starter whose drains do as the test says."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        script = folder / "worker.py"
        script.write_text(SCRIPT)
        self.places = DrainPlaces(script, folder / "pool.lock", folder / "tick.lock", folder / "drain.log")
        self.starter = DrainStarter(self.places, environment)

    def got(self) -> Any:
        """What the drain was started with."""
        eventually((self.folder / "got").exists)
        return json.loads((self.folder / "got").read_text())

    def say(self, reports: str, exit_code: int = 0) -> None:
        """Let the drain report that, and end with that exit code once it may go."""
        (self.folder / "say.part").write_text(json.dumps([reports, exit_code]))
        (self.folder / "say.part").rename(self.folder / "say")

    def go(self) -> None:
        """Let the drain end."""
        (self.folder / "go").touch()

    def is_free(self) -> bool:
        """Whether no drain has the lock."""
        lock = take_drain_lock(self.places.drain_lock)
        if lock is not None:
            lock.close()
        return lock is not None


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.say("")
    room.go()
    if (tmp_path / "got").exists():
        with suppress(ProcessLookupError):
            os.kill(room.got()["pid"], signal.SIGKILL)


def started(room: Room, seconds: float = 8.0, waits_for_retries: bool = False) -> StartedDrain:
    drain = room.starter.start(seconds, waits_for_retries)
    assert drain is not None
    return drain


# --- when ---


def test_a_second_one_is_not_started_while_the_first_lives(room: Room):
    started(room)

    assert room.starter.start(8.0) is None
    assert not room.is_free()

    room.say("")
    room.go()
    eventually(room.is_free)


def test_the_lock_is_free_when_a_drain_is_killed(room: Room):
    started(room)

    os.kill(room.got()["pid"], signal.SIGKILL)

    eventually(room.is_free)


def test_none_is_started_while_a_pool_runs(room: Room):
    PoolLock(room.places.pool_lock).take()

    assert room.starter.start(8.0) is None
    assert room.is_free()


def test_of_many_threads_one_starts_a_drain(room: Room):
    drains: list[StartedDrain | None] = []
    meet = threading.Barrier(8)

    def start() -> None:
        meet.wait(60)
        drains.append(room.starter.start(8.0))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(drain is not None for drain in drains) == 1


def test_one_that_cannot_be_started_leaves_lock_and_descriptors_as_they_were(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    def no_more(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_more)
    before = sorted(os.listdir("/proc/self/fd"))

    with pytest.raises(NoProcessLeft, match="the host limits how many processes"):
        room.starter.start(8.0)

    assert room.is_free()
    assert sorted(os.listdir("/proc/self/fd")) == before


# --- what it has ---


def test_it_is_told_its_time_and_gets_the_lock(room: Room):
    started(room, seconds=8.0, waits_for_retries=True)

    arguments = room.got()["arguments"]

    assert arguments[:4] == ["--drain", "--max-seconds", "8", "--linger"]
    assert arguments[4::2] == ["--flight", "--report"]


def test_its_session_streams_and_folder_are_its_own(room: Room):
    started(room)
    got = room.got()

    assert got["session"] == got["pid"]
    assert got["folder"] == "/"
    log = str(room.places.log)
    assert got["descriptors"] == {"0": "/dev/null", "1": log, "2": log}


def test_it_inherits_nothing_but_the_lock_and_the_pipe(room: Room):
    secret = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(secret, True)
    started(room)
    os.close(secret)

    assert room.got()["count"] <= 3 + 2 + 1  # the standard ones, those two, and the listing itself


def test_nothing_of_the_request_reaches_it(tmp_path: Path):
    request = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "token=hush",
        "HTTP_PROXY": "evil",
        "HTTP_COOKIE": "hush",
        "REMOTE_ADDR": "1.2.3.4",
        "SCRIPT_FILENAME": "/x",
        "CONTENT_LENGTH": "5",
        "LD_PRELOAD": "/x.so",
        "PASSENGER_APP_ENV": "production",
    }
    owners = {"PATH": "/opt/bin", "HOME": "/home/you", "TZ": "Asia/Jakarta", "BOT_DATA_DIR": "x", "BOT_OF_MINE": "y"}
    room = Room(tmp_path, **request, **owners)

    started(room)

    got = dict(room.got()["environment"])
    got.pop("LC_CTYPE", None)  # Python's own doing in a C locale (PEP 538)
    assert got == owners
    room.say("")
    room.go()
    eventually(room.is_free)


def test_without_a_path_it_gets_the_usual_one():
    assert drain_environment({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}


# --- its log ---


def test_what_it_says_is_kept_in_a_private_file(room: Room):
    room.places.log.write_text("an earlier line\n")
    drain = started(room)
    room.say("")
    room.go()
    assert drain.wait(60).exit_code == 0

    assert room.places.log.read_text() == "an earlier line\na warning\n"


def test_a_new_log_is_private(room: Room):
    started(room)

    assert room.places.log.stat().st_mode & 0o077 == 0


# --- what it tells ---


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ("", 0, Drained(0, 0, 0)),
        ("1 1\n2 1\n13 12\n", 0, Drained(13, 12, 0)),
        ("7 7\n", 3, Drained(7, 7, 3)),
        ("7 7\n8", 0, Drained(7, 7, 0)),
        ("1 1\n" * 5000 + "5001 5000\n", 0, Drained(5001, 5000, 0)),
    ],
    ids=["nothing", "some", "an error", "half a line", "many lines"],
)
def test_waiting_gives_what_it_did(room: Room, said: str, code: int, expected: Drained):
    drain = started(room)
    room.say(said, code)
    room.go()

    assert drain.wait(60) == expected
    drain.detach()


def test_waiting_less_long_gives_what_it_did_so_far(room: Room):
    drain = started(room)
    room.say("3 2\n")
    eventually(lambda: "a warning" in room.places.log.read_text())

    assert drain.wait(0.05) == Drained(3, 2, None)
    drain.detach()


def test_one_that_is_detached_is_no_zombie_in_the_end(room: Room):
    started(room).detach()
    pid = room.got()["pid"]
    room.say("")
    room.go()

    eventually(lambda: not Path(f"/proc/{pid}").exists())


# --- start_drain ---


def test_start_drain_starts_one_that_waits_for_retries_and_returns_at_once(room: Room):
    room.starter.start_drain()

    assert "--linger" in room.got()["arguments"]
    assert not room.is_free()


def test_start_drain_while_a_drain_runs_costs_next_to_nothing(room: Room):
    room.starter.start_drain()
    started_at = time.process_time()  # not by the clock: others work on this machine

    for _ in range(100):
        room.starter.start_drain()

    assert time.process_time() - started_at < 0.5


def test_start_drain_that_cannot_start_anything_is_told_once_a_minute_and_no_error(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("scalable.lib.pool.find_python.find_python", lambda: _raise(ConfigurationError("no Python")))

    for _ in range(3):
        room.starter.start_drain()

    assert [record.getMessage() for record in caplog.records if record.name == module.__name__] == [
        'drain not started cause="no Python"'
    ]


def _raise(error: Exception) -> str:
    raise error


def test_a_webhook_that_starts_nothing_does_not_load_what_starts_processes(tmp_path: Path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from scalable.lib.pool.drain_lock import take_drain_lock\n"
        "from scalable.lib.pool.drain_starter import DrainPlaces, DrainStarter\n"
        "folder = Path(sys.argv[2]); held = take_drain_lock(folder / 'tick.lock')\n"
        "DrainStarter(DrainPlaces(folder, folder / 'a', folder / 'tick.lock', folder / 'b'), {}).start_drain()\n"
        "print('subprocess' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(REPOSITORY), str(tmp_path)], capture_output=True, text=True, timeout=60
    )

    assert (done.stdout, done.stderr) == ("False\n", "")
