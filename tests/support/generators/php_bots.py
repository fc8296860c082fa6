"""PHP bots for the tests, run in every way there is: as a program, by php-cgi once per update, by a resident one, by
PHP-FPM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.php.cgi import CgiRunner
from scalable.lib.runners.php.cgi_request import WebRequest
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.fpm import HostServer
from scalable.lib.runners.php.prelude_of_fpm import PreludeOfFpm
from scalable.lib.runners.php.public_address import PublicAddress
from scalable.lib.runners.php.resident_php import ResidentPhpCgi
from scalable.lib.runners.runner import Runner

AMPLE_SECONDS = 60.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class PhpBot:
    """A bot in `folder`, and the runners that run it; `close` ends what they keep."""

    def __init__(self, folder: Path, mode: str, *, php: str = "", fpm_socket: str = "") -> None:
        self.path = folder / "bot.php"
        self.data = folder / "data"
        self.data.mkdir()
        self.mode = mode
        self.php = php
        self._fpm_socket = fpm_socket
        self._runners: list[Runner] = []

    def runner(
        self,
        code: str,
        timeout_seconds: float = AMPLE_SECONDS,
        secret: str = "",
        environment: Mapping[str, str] = NO_VARIABLES,
        query: str = "",
        find_address: Callable[[], PublicAddress] = PublicAddress,
    ) -> Runner:
        """A runner of this mode, for a bot with this code."""
        self.write(code)
        self._runners.append(self._make(timeout_seconds, WebRequest(secret, query, find_address), environment))
        return self._runners[-1]

    def write(self, code: str) -> None:
        """Give the bot this code."""
        self.path.write_text("<?php " + code, encoding="utf-8")

    def close(self) -> None:
        """End what the runners keep."""
        for runner in self._runners:
            runner.close()

    def _make(self, timeout_seconds: float, request: WebRequest, environment: Mapping[str, str]) -> Runner:
        if self.mode == "cli":
            return CliRunner(self.path, timeout_seconds, self.php, request, environment)
        if self.mode == "cgi":
            return CgiRunner(self.path, timeout_seconds, self.php, request, environment)
        if self._fpm_socket:
            host = HostServer(self._fpm_socket, PreludeOfFpm() if self.mode == "fpm" else None)
            return FastCgiRunner(self.path, timeout_seconds, host, request, environment)
        server = ResidentPhpCgi(self.data, self.php, environment=environment)
        return FastCgiRunner(self.path, timeout_seconds, server, request, environment)
