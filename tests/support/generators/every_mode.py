"""Every way to run a bot, on real servers: what a site is to its owner, and what a worker makes of its settings."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scalable.lib.runners.choose import BotSettings, create_runner
from scalable.lib.runners.outcome import Outcome
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.runners.runner import Runner
from tests.support.generators.bots import is_let_go, outcome_of
from tests.support.generators.every_bot import BOTS, ORDINARY
from tests.support.generators.python_bots import PythonBots
from tests.support.generators.reaped_bots import parent, processes
from tests.support.need import need
from tests.support.servers.apache import Apache, apache_available, start_apache
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm
from tests.support.waiting import eventually

# As the bot is written in each mode, and what its file is called.
LANGUAGES = {
    "cli php": ("php", "bot.php"),
    "cli py": ("python", "bot.py"),
    "cli sh": ("shell", "bot"),
    "cgi": ("php", "bot.php"),
    "fastcgi": ("php", "bot.php"),
    "fpm": ("php", "bot.php"),
    "http": ("php", "bot.php"),
    "python": ("function", "bot.py"),
}
# Nobody but the bot itself ends it there: a bot that stays must not stay for long.
STAYS_SECONDS = {"fpm": 6.0, "http": 6.0, "python": 5.0}
# As a careful host sets them: errors are logged and not shown.
USER_INI = "display_errors = 0\nlog_errors = 1\n"
SECRET = "s3cret_-"


class Stage:
    """A folder that Apache shows as a site, and a PHP-FPM; every bot has a folder of its own in it.

    Not in tmp_path: pytest closes that to other users whenever another run of it begins.
    """

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="modes-"))
        self.home.chmod(0o711)
        self.site = self.home / "public_html"
        self.site.mkdir()
        self._private = self.home / "private"
        self._private.mkdir(mode=0o700)
        (self.site / ".user.ini").write_text(USER_INI)
        self._servers = contextlib.ExitStack()
        self._places: list[Place] = []
        self._apache: Apache | None = None
        self._fpm: PhpFpm | None = None

    def place(self, mode: str) -> Place:
        """A new place for a bot that is to run in this mode. Skips the test when its server is not there."""
        folder = self.site / f"bot{len(self._places)}"
        data, file = folder / "data", folder / LANGUAGES[mode][1]
        data.mkdir(parents=True)
        data.chmod(0o777)  # for the web server's user
        (data / "alive").touch()
        target = str(file)
        if mode == "http":
            target = f"{self._web_server().url}/{folder.name}/{file.name}"
        elif mode == "python":
            target += ":handle"
        elif mode in ("cgi", "fastcgi"):
            need(None if shutil.which("php-cgi") else "php-cgi is not installed")
        fpm_socket = str(self._php_fpm().socket) if mode == "fpm" else ""
        place = Place(mode, file, target, fpm_socket, self._private)
        self._places.append(place)
        return place

    def alive(self, within_seconds: float) -> list[Path]:
        """The bots of which somebody lives on, after all had so long to end."""
        ends = time.monotonic() + within_seconds
        return [place.file for place in self._places if place.somebody_is_alive(max(0.0, ends - time.monotonic()))]

    def close(self) -> None:
        """End the servers and remove everything."""
        self._servers.close()
        shutil.rmtree(self.home)

    def _web_server(self) -> Apache:
        if self._apache is None:
            need(apache_available(with_php=True))
            self._apache = start_apache(self.home / "apache", site=self.site, handler_php="cgi")
            self._servers.callback(self._apache.stop)
        return self._apache

    def _php_fpm(self) -> PhpFpm:
        if self._fpm is None:
            need(php_fpm_available())
            (self.home / "fpm").mkdir()
            pool = "php_admin_value[opcache.revalidate_freq] = 0"
            self._fpm = start_php_fpm(self.home / "fpm", children=4, pool=pool)
            self._servers.callback(self._fpm.stop)
        return self._fpm


@dataclass(frozen=True)
class Place:
    """Where one bot is, and how it is run. `fpm_socket` is empty unless that is PHP-FPM; `private` is for sockets."""

    mode: str
    file: Path
    target: str
    fpm_socket: str
    private: Path

    @property
    def data(self) -> Path:
        """Where the bot and the test leave each other notes."""
        return self.file.parent / "data"

    def write(self, bot: str) -> None:
        """Let the file hold this bot, put into place as a whole."""
        language, name = LANGUAGES[self.mode]
        new = self.file.with_name(f"new-{name}")
        new.write_text(BOTS[bot].text(language, STAYS_SECONDS.get(self.mode, 60.0)), "utf-8")
        new.chmod(0o755)
        os.utime(new, (1.7e9, 1.7e9 + len(bot)))  # old enough to count as uploaded
        new.replace(self.file)

    @contextlib.contextmanager
    def runner(self, timeout_seconds: float) -> Iterator[Runner]:
        """As a worker makes it of its settings, with a process reaper; both are closed at the end."""
        reaper = ProcessReaper()
        bots = PythonBots(self.file.parent)
        settings = BotSettings(
            self.target,
            {"fpm": "fastcgi"}.get(self.mode, self.mode.partition(" ")[0]),
            timeout_seconds,
            php_binary="",
            fastcgi_socket=self.fpm_socket,
            secret=SECRET,
            socket_folder=self.private,
        )
        runner = create_runner(settings, os.environ, reaper)
        try:
            yield runner
        finally:
            runner.close()
            reaper.close()
            if self.mode == "python":
                bots.clean_up()

    def somebody_is_alive(self, within_seconds: float = 0.0) -> bool:
        """Whether a process of a run of this bot lives on, after it had so long to end."""
        return not is_let_go(self.data / "alive", within_seconds)

    def end_daemon(self) -> None:
        """End the one that the bot left; its number is written by its parent, whom nobody may have waited for."""
        file = self.data / "daemon"
        eventually(lambda: file.exists() and file.read_text())
        daemon = int(file.read_text())
        os.kill(daemon, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # that of a function in Python is our own child
            os.waitpid(daemon, 0)


@dataclass(frozen=True)
class Belongings:
    """What this process has, as far as a run could leave something of it behind."""

    descriptors: int
    children: int
    threads: int
    folder: str
    streams: tuple[object, object] = field(repr=False)


def belongings() -> Belongings:
    """Those of this process now."""
    children = [pid for pid in processes() if parent(pid) == os.getpid()]
    return Belongings(
        len(os.listdir("/proc/self/fd")),
        len(children),
        threading.active_count(),
        os.getcwd(),
        (sys.stdout, sys.stderr),
    )


def run(place: Place, runner: Runner, payload: str) -> Outcome:
    """The outcome of a run during which nothing happens."""
    return outcome_of(runner, payload)


def replaced_while_running(place: Place, runner: Runner, payload: str) -> Outcome:
    """The outcome of a run during which the owner puts an ordinary bot into its place."""
    go = place.data / "go"

    def replace_once() -> None:
        if not go.exists() and place.somebody_is_alive():
            place.write(ORDINARY)
            go.touch()

    return outcome_of(runner, payload, replace_once)


def deleted_before(place: Place, runner: Runner, payload: str) -> Outcome:
    """The outcome of a run whose bot went well once, and was deleted then."""
    first = outcome_of(runner, payload)
    assert first.succeeded, first.explanation()
    place.file.unlink()
    return outcome_of(runner, payload)


HOW: dict[str, Callable[[Place, Runner, str], Outcome]] = {
    "is replaced": replaced_while_running,
    "is deleted": deleted_before,
}
