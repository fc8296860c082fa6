"""Scripts for a shell, and arguments, from a web server: nothing is done, and the answer says so."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY
from tests.support.servers.cgi import cgi_variables, run_cgi

SCALABLE = REPOSITORY / "scalable"
FOR_THE_WEB = ("webhook_queue.py", "dashboard.py", "worker.py")
FOR_A_SHELL = sorted({path.name for path in SCALABLE.glob("*.py")} - {*FOR_THE_WEB, "__init__.py"})
# Of each script for the web those words that would do something, and one that would only show something.
ARGUMENTS = [
    ("webhook_queue.py", ["set", "https://evil.example.com/"]),
    ("webhook_queue.py", ["poll"]),
    ("dashboard.py", ["retry", "--all-failed"]),
    ("dashboard.py", ["--help"]),
    ("worker.py", ["--drain", "--max-seconds", "1"]),
    ("worker.py", ["--help"]),
]


@pytest.fixture
def installation(tmp_path: Path) -> dict[str, str]:
    """The environment of one whose settings and data would be in a folder of the test."""
    (tmp_path / "bot.py").write_text("")
    return {
        "BOT_CONFIG": str(tmp_path / "settings"),
        "BOT_DATA_DIR": str(tmp_path / "data"),
        "BOT_LEGACY_PATH": str(tmp_path / "bot.py"),
    }


def made(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir())


def test_these_scripts_are_for_a_shell() -> None:
    assert FOR_A_SHELL == ["config.py", "passenger_wsgi.py", "worker_pool.py"]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("GET", ["--stop"]), ("GET", ["init"]), ("POST", ["--help"]), ("POST", ["--serve", "0.0.0.0:1"]), ("HEAD", [])],
    ids=str,
)
@pytest.mark.parametrize("script", FOR_A_SHELL)
def test_a_script_for_a_shell_is_refused_to_a_web_server(
    script: str, method: str, arguments: list[str], installation: dict[str, str], tmp_path: Path
) -> None:
    variables = {**cgi_variables(method, b"{}"), **installation, "QUERY_STRING": "+".join(arguments)}

    answer = run_cgi([sys.executable, str(SCALABLE / script), *arguments], variables, b"{}")

    assert (answer.status, answer.body) == (
        403,
        b"This script is for a shell. A web server may not run it, so nothing was done.\n",
    )
    assert script in answer.log
    assert "take GATEWAY_INTERFACE and REQUEST_METHOD out of the environment" in answer.log
    assert made(tmp_path) == ["bot.py"]


@pytest.mark.parametrize("missing", ["GATEWAY_INTERFACE", "REQUEST_METHOD"])
@pytest.mark.parametrize("script", FOR_A_SHELL)
def test_a_web_server_that_says_less_is_known_too(
    script: str, missing: str, installation: dict[str, str], tmp_path: Path
) -> None:
    variables = {**cgi_variables("GET", b""), **installation}
    del variables[missing]

    assert run_cgi([sys.executable, str(SCALABLE / script), "--stop"], variables).status == 403
    assert made(tmp_path) == ["bot.py"]


@pytest.mark.parametrize("missing", ["", "GATEWAY_INTERFACE", "REQUEST_METHOD"])
@pytest.mark.parametrize(("script", "arguments"), ARGUMENTS, ids=str)
def test_a_script_for_the_web_takes_no_arguments_from_there(
    script: str, arguments: list[str], missing: str, installation: dict[str, str]
) -> None:
    """The same answer as without them."""
    variables = {**cgi_variables("GET", b""), **installation}
    variables.pop(missing, None)

    plain = run_cgi([sys.executable, str(SCALABLE / script)], variables)
    answer = run_cgi([sys.executable, str(SCALABLE / script), *arguments], variables)

    assert (answer.status, without_numbers(answer.body)) == (plain.status, without_numbers(plain.body))
    assert b"usage:" not in answer.body


def without_numbers(body: bytes) -> bytes:
    """Without what is drawn anew for each page: numbers, and tokens of forms."""
    return re.sub(rb"[0-9]+|[A-Za-z0-9_-]{20,}", b"", body)


@pytest.mark.parametrize(
    ("script", "family"),
    [
        ("webhook_queue.py", socket.AF_UNIX),
        ("dashboard.py", socket.AF_INET),
        ("worker.py", socket.AF_UNIX),
        ("config.py", socket.AF_UNIX),
        ("worker_pool.py", socket.AF_INET),
    ],
)
def test_a_web_server_that_starts_programs_of_fastcgi_starts_no_worker(
    script: str, family: socket.AddressFamily, installation: dict[str, str], tmp_path: Path
) -> None:
    """Its mark is a listening socket as standard input (FastCGI 1.0, 2.2), and nothing in the environment."""
    with socket.socket(family) as listener:
        listener.bind(str(tmp_path / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen(1)
        done = subprocess.run(
            [sys.executable, str(SCALABLE / script)],
            stdin=listener,
            capture_output=True,
            env=installation,
            timeout=60,
        )

    assert done.returncode == 2
    assert b"refused" in done.stderr
    assert set(made(tmp_path)) <= {"bot.py", "s"}


def test_a_connected_socket_as_standard_input_is_no_web_server(installation: dict[str, str]) -> None:
    """As inetd and some programs that start others give it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, str(SCALABLE / "worker_pool.py"), "--help"],
            stdin=theirs,
            capture_output=True,
            env=installation,
            timeout=60,
        )

    assert (done.returncode, done.stderr) == (0, b"")
