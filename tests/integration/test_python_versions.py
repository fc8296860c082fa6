"""Every Python an owner may have: the plugin alone beside a bot, packages vendored, one update from webhook to done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.need import need, old_python
from tests.support.places import REPOSITORY
from tests.support.servers.database_servers import find_python
from tests.support.servers.site import copy_plugin

UPDATE = (REPOSITORY / "examples" / "updates" / "message-start.json").read_bytes()


def cgi(body: bytes) -> dict[str, str]:
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_an_update_goes_the_whole_way(tmp_path: Path, version: str) -> None:
    python = find_python(version)
    need(None if python else f"Python {version} is not installed")
    plugin = copy_plugin(tmp_path)
    shutil.copy(REPOSITORY / "examples" / "bot.py", tmp_path / "bot.py")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BOT_LEGACY_PATH": "../bot.py"}

    def run(script: str, *arguments: str, body: bytes = b"", **variables: str) -> str:
        finished = subprocess.run(
            [*(python or []), "-W", "error::DeprecationWarning:scalable", str(plugin / script), *arguments],
            input=body,
            capture_output=True,
            timeout=60,
            cwd="/",
            env={**environment, **variables},
            check=False,
        )
        assert finished.returncode == 0, finished
        return finished.stdout.decode()

    doctor = run("config.py")
    answer = run("webhook_queue.py", body=UPDATE, **cgi(UPDATE))
    run("worker.py", "--drain")
    (job,) = json.loads(run("dashboard.py", "--json"))["jobs"]

    assert f"python: {version}." in doctor
    assert answer.startswith("Status: 200 OK")
    assert (job["status"], job["error_message"]) == ("done", "reply not sent: BOT_TOKEN is not set")


@pytest.mark.parametrize("version", ["2.7", "3.6"])
@pytest.mark.parametrize("script", ["webhook_queue.py", "dashboard.py", "worker.py", "worker_pool.py"])
def test_an_older_python_gets_one_readable_line_and_a_500(tmp_path: Path, version: str, script: str) -> None:
    plugin = copy_plugin(tmp_path)
    environment = {"PATH": os.environ["PATH"], **cgi(b"{}")}

    finished = subprocess.run(
        [old_python(version), str(plugin / script)],
        input=b"{}",
        capture_output=True,
        timeout=60,
        env=environment,
        check=False,
    )

    head, _, body = finished.stdout.decode().partition("\r\n\r\n")
    assert finished.returncode == 2
    assert head.startswith("Status: 500")
    assert body.startswith("Scalable mode needs Python 3.9 or newer;")
    assert body.count("\n") == 1
    assert "Traceback" not in finished.stderr.decode()
