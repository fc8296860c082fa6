"""The pool's gateway and other processes: another user is turned away, a child inherits nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.ingest.pool_gateway import Gateway


class Echo:
    """An application that keeps what it was asked, and answers with the body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def gateway(tmp_path: Path, echo: Echo) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, lambda _: echo)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_is_turned_away_by_the_kernel(echo: Echo, tmp_path_factory: pytest.TempPathFactory):
    folder = Path(str(tmp_path_factory.mktemp("open")))
    for parent in [folder, *folder.parents][:4]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    gateway = Gateway(folder, lambda _: echo)
    gateway.start()
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(gateway.path)!r})"
    command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", "/usr/bin/python3", "-c", code]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    gateway.stop()

    assert "PermissionError" in done.stderr
    assert echo.asked == []


def test_a_program_the_pool_starts_does_not_inherit_the_socket(gateway: Gateway):
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; print(*(os.readlink(f'/proc/self/fd/{n}') for n in range(3, 30) "
            "if os.path.lexists(f'/proc/self/fd/{n}')))",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        close_fds=False,
    )

    assert seen.returncode == 0
    assert "socket" not in seen.stdout
