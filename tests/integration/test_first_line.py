"""The first line that `init` writes starts the scripts soonest, wherever this Python keeps the packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers.apache import SHORT_PATH
from tests.support.servers.cgi import cgi_variables, run_cgi
from tests.support.servers.site import SYSTEM_PYTHON, Site, copy_plugin, vendored_packages

Make = Callable[[Path], tuple[str, dict[str, str]]]


def packages_into(place: Path, *but: str) -> None:
    """The packages, all but some, where a Python looks for them."""
    place.mkdir(parents=True, exist_ok=True)
    for path in vendored_packages().iterdir():
        if path.name.partition(".")[0] not in but:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, place / path.name)


def make_venv(folder: Path) -> Path:
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    return folder


def site_packages(venv: Path) -> Path:
    [found] = venv.glob("lib/python3*/site-packages")
    return found


def in_vendor(plugin: Path) -> tuple[str, dict[str, str]]:
    return SYSTEM_PYTHON, {}


def in_a_virtual_environment(plugin: Path) -> tuple[str, dict[str, str]]:
    shutil.rmtree(plugin / "vendor")
    venv = make_venv(plugin.parent / "env")
    packages_into(site_packages(venv))
    return str(venv / "bin" / "python3"), {}


def one_of_them_taken_out_of_vendor(plugin: Path) -> tuple[str, dict[str, str]]:
    """As the checks advise where this Python has a newer one."""
    venv = make_venv(plugin.parent / "env")
    for path in (plugin / "vendor").glob("bottle*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    packages_into(site_packages(venv), *{path.name.partition(".")[0] for path in (plugin / "vendor").iterdir()})
    return str(venv / "bin" / "python3"), {}


def at_home(plugin: Path) -> tuple[str, dict[str, str]]:
    """As `pip install --user` leaves them."""
    shutil.rmtree(plugin / "vendor")
    home = plugin.parent / "home"
    asked = [SYSTEM_PYTHON, "-c", "import site; print(site.getusersitepackages())"]
    place = subprocess.run(asked, env={"HOME": str(home)}, capture_output=True, text=True, check=True, timeout=60)
    packages_into(Path(place.stdout.strip()))
    return SYSTEM_PYTHON, {"HOME": str(home)}


PLACES = (in_vendor, in_a_virtual_environment, one_of_them_taken_out_of_vendor, at_home)


def prepare(plugin: Path, python: str, environment: dict[str, str]) -> str:
    """Run `init`; the first line it left."""
    done = subprocess.run(
        [python, str(plugin / "config.py"), "init"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
        env={"PATH": "/usr/bin:/bin", "BOT_LEGACY_PATH": "../bot.py", **environment},
    )
    assert done.returncode == 0, done
    return (plugin / "webhook_queue.py").read_text().partition("\n")[0]


@pytest.mark.parametrize("make", PLACES)
def test_the_scripts_start_with_it_and_find_the_packages(tmp_path: Path, make: Make) -> None:
    plugin = copy_plugin(tmp_path)
    (tmp_path / "bot.py").write_text("")
    python, environment = make(plugin)

    line = prepare(plugin, python, environment)

    assert line == f"#!{python} -S"
    with (plugin / ".htenv").open("a") as settings:
        settings.write("BOT_WEBHOOK_SECRET=\nBOT_MONITOR_TOKEN=let-me-in\nBOT_LEGACY_PATH=../bot.py\n")
    body = json.dumps({"update_id": 1, "message": {"chat": {"id": 7}}}).encode()
    variables = {"PATH": "/usr/bin:/bin", **environment}
    webhook = run_cgi([str(plugin / "webhook_queue.py")], {**variables, **cgi_variables("POST", body)}, body)
    asked = {**variables, **cgi_variables("GET", b"", QUERY_STRING="token=let-me-in&format=json")}
    page = run_cgi([str(plugin / "dashboard.py")], asked)
    assert (webhook.status, page.status) == (200, 200), (webhook.log, page.log)
    checks = subprocess.run(
        [str(plugin / "config.py")], capture_output=True, text=True, timeout=60, check=False, env=variables
    )
    assert f"at {python} runs webhook_queue.py, dashboard.py, worker.py" in checks.stdout
    if not environment:  # a home invented for the test is not the one the system knows this user by
        assert "has no " not in checks.stdout


@pytest.mark.parametrize("make", PLACES[:3])
def test_apache_runs_them(make_site: Callable[..., Site], tmp_path: Path, make: Make) -> None:
    bot = tmp_path / "bot.py"
    bot.write_text("")
    site = make_site(bot, "sqlite", BOT_WEBHOOK_SECRET="")
    python, _ = make(site.plugin)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", ":".join(site.owner), str(site.root)], check=True, timeout=60)
    command = [python if word == SYSTEM_PYTHON else word for word in site.command("config.py", "init")]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd="/", check=False, env={"PATH": SHORT_PATH}
    )

    assert done.returncode == 0, done
    assert (site.plugin / "webhook_queue.py").read_text().startswith(f"#!{python} -S\n")
    assert site.send({"update_id": 1, "message": {"chat": {"id": 7}}}).status == 200, site.logs()
    assert site.counts()["pending"] == 1
