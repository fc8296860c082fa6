"""Each web script's `application`, loaded by path as Passenger and others do, and checked against PEP 3333."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from scalable.lib.installation import Installation
from scalable.lib.setup.config import load_config
from tests.support.places import REPOSITORY

SCRIPTS = REPOSITORY / "scalable"


@pytest.fixture(autouse=True)
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def load(script: str) -> Any:
    """The script as a module of its own that nobody registered, as start-up files are loaded."""
    spec = importlib.util.spec_from_file_location("startup_file", SCRIPTS / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.application


def call(application: Any, method: str, path: str, body: bytes = b"", script_name: str = "") -> tuple[str, bytes]:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": script_name,
            "QUERY_STRING": "format=json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "CONTENT_TYPE": "application/json",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
    )
    said: list[str] = []

    def start_response(status: str, _headers: Any, _exc_info: Any = None) -> None:
        said.append(status)

    answer = validator(application)(environ, start_response)
    try:
        return said[0] if said else "", b"".join(answer)
    finally:
        answer.close()


def test_the_webhook_script_serves_the_webhook() -> None:
    status, body = call(load("webhook_queue.py"), "POST", "/", b'{"update_id": 1}')

    assert (status, json.loads(body)) == ("200 OK", {"ok": True, "queued_job_id": 1})


MESSAGE = b'{"update_id": 1, "message": {"chat": {"id": 5}}}'
PRESS = b'{"update_id": 2, "callback_query": {"from": {"id": 5}, "message": {"chat": {"id": 5}}}}'


@pytest.mark.parametrize(("script", "path"), [("webhook_queue.py", "/"), ("passenger_wsgi.py", "/webhook_queue.py")])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (None, ["callback:5", "chat:5"]),
        ("telegram", ["callback:5", "chat:5"]),
        ("chat", ["chat:5"]),
        ("none", [None, None]),
    ],
)
def test_updates_come_into_the_lanes_of_the_order_and_a_press_goes_first(
    script: str, path: str, order: str | None, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if order is not None:
        monkeypatch.setenv("BOT_QUEUE_ORDER", order)
    application = load(script)
    for body in (MESSAGE, PRESS):
        call(application, "POST", path, body)

    claimed = Installation(load_config(os.environ)).queue().claim("worker", 60, 5)

    assert [job.lane for job in claimed] == expected
    assert order == "chat" or claimed[0].update_type == "callback_query"


def test_the_dashboard_script_serves_the_dashboard() -> None:
    status, body = call(load("dashboard.py"), "GET", "/")

    assert (status, json.loads(body)["counts"]["total"]) == ("200 OK", 0)


@pytest.mark.parametrize("script_name", ["", "/bot/scalable"], ids=["at the root", "in a sub-folder"])
def test_passengers_script_serves_both_wherever_it_is_mounted(script_name: str) -> None:
    application = load("passenger_wsgi.py")

    status, _ = call(application, "POST", "/webhook_queue.py", b'{"update_id": 1}', script_name)
    seen, body = call(application, "GET", "/dashboard.py", b"", script_name)
    lost, _ = call(application, "GET", "/config.py", b"", script_name)

    assert (status, seen, lost) == ("200 OK", "200 OK", "404 Not Found")
    assert json.loads(body)["counts"]["pending"] == 1


def test_a_missing_package_answers_500_in_json_and_names_it_in_the_log(tmp_path: Path) -> None:
    """A host whose Python has none of the packages, asked by CGI; the webhook alone could do with SQLite."""
    environment = {
        "PATH": os.environ["PATH"],
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "BOT_DATA_DIR": str(tmp_path / "data"),
        "BOT_LEGACY_PATH": str(REPOSITORY / "examples" / "bot.py"),
    }
    plugin = tmp_path / "scalable"
    shutil.copytree(SCRIPTS, plugin, ignore=shutil.ignore_patterns("vendor", ".htdata", ".htenv", "__pycache__"))
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)

    def run(script: str, *without: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(bare / "bin" / "python"), "-I", str(plugin / script)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={name: value for name, value in environment.items() if name not in without},
            timeout=60,
        )

    asked = run("dashboard.py")
    started = run("worker_pool.py", "GATEWAY_INTERFACE", "REQUEST_METHOD")

    assert asked.stdout.startswith("Status: 500")
    assert json.loads(asked.stdout.partition("\n\n")[2])["ok"] is False
    assert "No module named 'bottle'" in asked.stderr
    assert started.returncode == 2
    assert "error: the Python package APScheduler is missing: upload the folder scalable/vendor" in started.stderr
