"""A php-cgi of the worker's own, which stays from one update to the next and serves this worker alone.

One process, no children and no master: ending an overdue bot is ending that process. Nothing else can reach it: its
socket is in a private folder, and gone from there before PHP starts, because one connection is all it ever serves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Optional

from scalable.lib.errors import BotMissing, NoProcessLeft
from scalable.lib.host_limits import within_limits
from scalable.lib.inherited_umask import inherited_umask
from scalable.lib.runners.bot_environment import php_environment
from scalable.lib.runners.php.fastcgi_client import Answer, FastCgiConnection
from scalable.lib.runners.php.fastcgi_server import FastCgiServer, Loss
from scalable.lib.runners.php.find_php import CGI, find_php
from scalable.lib.runners.php.prelude import Prelude, prelude_for
from scalable.lib.runners.process import TERM_SECONDS, has_ended, signal_name
from scalable.lib.runners.process_reaper import ProcessReaper
from scalable.lib.sockets import short_address

# The bot's files are checked for every update, whatever php.ini says; a new version is to run at once.
CHECK_FILES = ("-d", "opcache.validate_timestamps=1", "-d", "opcache.revalidate_freq=0")
# What a bot logs belongs to its request, because the report of the prelude comes with it.
OPTIONS = (*CHECK_FILES, "-d", "fastcgi.logging=1")
# How long a killed process may take to be gone: a disk that hangs must not hang the worker.
KILL_SECONDS = 5.0
STEP_SECONDS = 0.002


class ResidentPhpCgi(FastCgiServer):
    """Starts php-cgi when a request needs it, and again after `max_requests`, or when it has ended.

    `folder` is private to its owner, and on a file system that has sockets. `environment` is the owner's; what
    php_environment passes of it, with `named`, reaches PHP. `takes_log`: see prelude_for.
    """

    name = "php-cgi"
    keeps_connection = True

    def __init__(
        self,
        folder: Path,
        php_binary: str = "",
        max_requests: int = 500,
        environment: Mapping[str, str] = MappingProxyType({}),
        reaper: Optional[ProcessReaper] = None,
        named: Sequence[str] = (),
        takes_log: bool = False,
    ) -> None:
        self._takes_log = takes_log
        self._folder = folder
        self._php_binary = php_binary
        self._max_requests = max_requests
        self._environment = {**php_environment(environment, named), "PHP_FCGI_MAX_REQUESTS": str(max_requests)}
        self._bot: Optional[tuple[Path, Path]] = None
        self._prelude = Prelude(problem="no bot is named")
        self._reaper = reaper
        self._process: Optional[_PhpCgi] = None
        self._served = 0

    def serve(self, bot: Path, site: Path) -> None:
        """See FastCgiServer.serve."""
        if self._bot != (bot, site):
            self.close()
        self._bot = bot, site

    @property
    def prelude(self) -> Prelude:
        """See FastCgiServer.prelude."""
        return self._prelude

    def check(self) -> str:
        """See FastCgiServer.check."""
        return f"{find_php(self._php_binary, CGI).path}, kept running by the worker (FastCGI)"

    def connect(self, deadline: float) -> FastCgiConnection:  # noqa: ARG002 - it takes milliseconds
        """See FastCgiServer.connect."""
        if self._process is not None and (self._served >= self._max_requests or self._process.has_ended()):
            self.close()
        if self._process is None:
            self._process = self._start()
            self._served = 0
        return self._process.connection

    def release(self, connection: FastCgiConnection, is_reusable: bool) -> None:  # noqa: ARG002 - there is only one
        """See FastCgiServer.release."""
        self._served += 1
        if not is_reusable:
            self.close()

    def abandon(self, connection: FastCgiConnection) -> str:  # noqa: ARG002 - there is only one
        """See FastCgiServer.abandon. Whatever the bot started is ended with it."""
        self._end(_PhpCgi.kill)
        return ""

    def lost(self, connection: FastCgiConnection, answer: Answer) -> Loss:  # noqa: ARG002 - there is only one
        """See FastCgiServer.lost."""
        code = self._end(_PhpCgi.wait_or_kill)
        # PHP ends of its own accord, with 0, only between two requests, such as after a TERM.
        had_not_begun = answer.nothing_sent or (answer.nothing_received and code == 0)
        if code is None:
            cause = "php-cgi closed its connection while running the bot, and was killed"
        elif code < 0:
            cause = f"php-cgi died of {signal_name(-code)} while running the bot"
        else:
            cause = f"php-cgi ended with exit code {code} instead of answering"
        return Loss(cause, had_not_begun)

    def renew(self) -> None:
        """See FastCgiServer.renew."""
        self.close()

    def close(self) -> None:
        """See FastCgiServer.close. What a bot left running goes on, as with every runner."""
        self._end(_PhpCgi.stop)

    def _start(self) -> _PhpCgi:
        command = self._command()
        try:
            listener, link = _private_connection(self._folder)
        except OSError as error:
            raise BotMissing(
                f"BOT_DATA_DIR: no socket can be made in {self._folder} ({error}); name a local folder of a "
                "short path, in your home: in /tmp another user could make it first"
            ) from error
        with listener:
            try:
                with within_limits():
                    return _PhpCgi(command, listener, link, self._environment, self._reaper)
            except OSError as error:
                link.close()
                raise BotMissing(f"php-cgi could not be started: {error}") from error
            except NoProcessLeft:
                link.close()
                raise

    def _command(self) -> list[str]:
        php = find_php(self._php_binary, CGI)
        if self._bot is not None:
            try:
                self._prelude = prelude_for(php, *self._bot, self._environment, self._takes_log)
            except OSError as error:
                raise BotMissing(f"php-cgi could not be started: {error}") from error
        return [php.path, *OPTIONS, *self._prelude.options]

    def _end(self, how: Callable[[_PhpCgi], Optional[int]]) -> Optional[int]:
        process, self._process = self._process, None
        return None if process is None else how(process)


class _PhpCgi:
    """One php-cgi process, the leader of its own group, and the only connection to it."""

    def __init__(
        self,
        command: list[str],
        listener: socket.socket,
        link: socket.socket,
        environment: Mapping[str, str],
        reaper: Optional[ProcessReaper],
    ) -> None:
        # A listening socket as standard input is how PHP detects that it is to speak FastCGI.
        self._process = subprocess.Popen(
            command,
            stdin=listener.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
            umask=inherited_umask(),
        )
        self._reaper = reaper
        if reaper is not None:
            reaper.add(self._process.pid)
        assert self._process.stdout is not None
        self.connection = FastCgiConnection(link, self._process.stdout.fileno(), self.has_ended)

    def has_ended(self) -> bool:
        return self._process.returncode is not None or has_ended(self._process)

    def stop(self) -> Optional[int]:
        """End it between two requests. First the signal: PHP only checks for it when the connection has ended."""
        if not self.has_ended():
            # Not by terminate(), which reaps one that ended just now: its id has to stay its own until `_wait`.
            os.kill(self._process.pid, signal.SIGTERM)
        return self.wait_or_kill()

    def kill(self) -> Optional[int]:
        """End it and its group in the middle of a request.

        Not by TERM: PHP takes that as "after this request", and it wakes a bot that sleeps, which then goes on.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._close()
        return self._wait(KILL_SECONDS)

    def wait_or_kill(self) -> Optional[int]:
        """The exit code of a process that is ending; None when it did not, and had to be killed."""
        self._close()
        code = self._wait(TERM_SECONDS)
        if code is None:
            self.kill()
        return code

    def _close(self) -> None:
        self.connection.close()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _wait(self, seconds: float) -> Optional[int]:
        """The exit code; None when it does not end in that time. Removes the group before its id may be reused."""
        ends = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() >= ends:
                return None
            time.sleep(STEP_SECONDS)
        if self._reaper is not None:
            self._reaper.remove(self._process.pid)
        return self._process.wait()


def _private_connection(folder: Path) -> tuple[socket.socket, socket.socket]:
    """A listening socket with one connection waiting in it, and the other end of that. No other can ever be made.

    The socket's name exists only inside this function, in a folder of its own. After the one connection the listening
    side is shut down: PHP's next accept fails, so it ends as soon as this process is gone, even by SIGKILL.
    """
    private = Path(tempfile.mkdtemp(prefix=".ht-php-", dir=folder))
    with contextlib.ExitStack() as undo:
        listener, link = (undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(2))
        try:
            with short_address(os.fsencode(private / "s")) as address:
                listener.bind(address)
                listener.listen(1)
                link.connect(address)
        finally:
            shutil.rmtree(private)
        with contextlib.suppress(OSError):  # where the system has no such thing, php-cgi is only ended by signals
            listener.shutdown(socket.SHUT_RD)
        undo.pop_all()
    return listener, link
