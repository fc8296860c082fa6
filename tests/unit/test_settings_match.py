"""A request that was handed over is answered by the pool only if the web server's own process would answer the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scalable.lib.ingest.settings_match import SettingsMatch
from scalable.lib.ingest.wsgi import Wsgi
from scalable.lib.installation import Installation
from scalable.lib.setup.config import Config, load_config

WEBHOOK: Wsgi = lambda environ, start_response: []  # noqa: ARG005, E731 - it is only compared
FILE = "BOT_WEBHOOK_SECRET='one'\nBOT_MONITOR_TOKEN='two'\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".htenv").write_text(FILE)
    return tmp_path


def chooser(folder: Path, **environment: str) -> SettingsMatch:
    """That of a pool started in `folder` with this environment."""

    def read_site(environment: Mapping[str, str], scalable_folder: Path) -> tuple[Path, object]:
        config = load_config(environment, scalable_folder)
        return config.settings_file, config.site_settings()

    return SettingsMatch(read_site, read_site(environment, folder)[1], lambda: {"webhook_queue.py": WEBHOOK})


def variables(folder: Path, script: str = "webhook_queue.py", **environment: str) -> Mapping[str, str]:
    """Those of a CGI process, as the gateway reads them."""
    given = {"SCALABLE_FOLDER": str(folder), "SCALABLE_SCRIPT": script, "REQUEST_METHOD": "POST", **environment}
    return {name: os.fsencode(value).decode("latin-1") for name, value in given.items()}


def test_the_same_settings_give_the_application_of_that_script(folder: Path):
    choose = chooser(folder)

    assert choose(variables(folder)) is WEBHOOK
    assert choose(variables(folder)) is WEBHOOK
    assert choose(variables(folder, "worker.py")) is None


@pytest.mark.parametrize(
    "environment",
    [
        {"BOT_WEBHOOK_SECRET": "another"},
        {"BOT_MONITOR_TOKEN": "another"},
        {"BOT_QUEUE_TABLE": "another"},
        {"BOT_QUEUE_ORDER": "none"},
        {"BOT_DATA_DIR": "another"},
        {"BOT_MONITOR_LIMIT": "5"},
        {"BOT_DB_HOST": "h", "BOT_DB_NAME": "n", "BOT_DB_USER": "u", "BOT_DB_PASS": "p"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_another_setting_in_the_web_servers_environment_declines(folder: Path, environment: dict[str, str]):
    assert chooser(folder)(variables(folder, **environment)) is None


def test_a_setting_only_the_pool_was_started_with_declines(folder: Path):
    """Such as a pool that takes every update, on a host whose file asks for a secret."""
    choose = chooser(folder, BOT_WEBHOOK_SECRET="another")

    assert choose(variables(folder)) is None
    assert choose(variables(folder, BOT_WEBHOOK_SECRET="another")) is WEBHOOK


def test_settings_of_the_workers_alone_do_not_matter(folder: Path):
    choose = chooser(folder, BOT_WORKER_POOL_SIZE="8", BOT_LEGACY_PATH="../other.php")

    assert choose(variables(folder, BOT_LOG_LEVEL="DEBUG", BOT_OF_THE_BOT="its own")) is WEBHOOK


def test_a_file_that_was_changed_after_the_start_declines_and_one_changed_back_does_not(folder: Path):
    choose = chooser(folder)
    assert choose(variables(folder)) is WEBHOOK
    texts = (FILE.replace("one", "new"), None), (FILE, WEBHOOK), (FILE + "BOT_WORKER_SLEEP=3\n", WEBHOOK)
    for text, expected in texts:
        (folder / ".htenv").write_text(text)

        assert choose(variables(folder)) is expected


def test_a_file_that_is_put_in_place_of_none_or_taken_away_declines(tmp_path: Path):
    choose = chooser(tmp_path)
    assert choose(variables(tmp_path)) is WEBHOOK

    (tmp_path / ".htenv").write_text(FILE)
    with_a_file = choose(variables(tmp_path))
    (tmp_path / ".htenv").unlink()

    assert (with_a_file, choose(variables(tmp_path))) == (None, WEBHOOK)


def test_wrong_settings_decline_so_that_the_cgi_process_says_what_is_wrong(folder: Path):
    choose = chooser(folder)

    (folder / ".htenv").write_text(FILE + "BOT_WORKER_POOL_SIZE=four\n")

    assert choose(variables(folder)) is None
    assert choose(variables(folder, BOT_CONFIG="/no/such/file")) is None


def test_another_copy_of_the_program_has_its_own_settings_file(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """Web scripts in one folder and workers in another, over the same data folder."""
    other = tmp_path_factory.mktemp("other")
    data = str(folder / "data")
    choose = chooser(folder, BOT_DATA_DIR=data)
    assert choose(variables(other, BOT_DATA_DIR=data)) is None

    (other / ".htenv").write_text(FILE)

    assert choose(variables(other, BOT_DATA_DIR=data)) is WEBHOOK


def test_names_beyond_ascii_are_read_as_the_system_has_them(tmp_path: Path):
    folder = tmp_path / "b\u00f6t"
    folder.mkdir()
    (folder / ".htenv").write_text("BOT_MONITOR_TOKEN='geh\u00efm'\n", encoding="utf-8")

    assert chooser(folder)(variables(folder, BOT_MONITOR_TOKEN="geh\u00efm")) is WEBHOOK


def test_many_environments_are_no_leak_and_the_log_is_reminded_now_and_then(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    choose = chooser(folder)
    for number in range(100):
        assert choose(variables(folder, BOT_QUEUE_TABLE=f"table{number}")) is None

    assert len(choose._known) <= 16
    assert caplog.text.count("the web server's settings are not those this pool was started with") == 1
    assert "start the pool again" in caplog.text


# The folder is compared by itself; the environment reaches only a worker that the web starts, and a pool starts none.
OF_NO_CONSEQUENCE = {"scalable_folder", "environment"}


class Watched:
    """A Config that notes what is read of it, also by its own methods."""

    def __init__(self, config: Config) -> None:
        self.config, self.read = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        made_of = getattr(Config, name, None)
        if callable(made_of):
            return made_of.__get__(self)
        self.read.add(name)
        return getattr(self.config, name)


def test_everything_the_web_scripts_depend_on_is_compared(tmp_path: Path):
    """Also what a later version adds to `create_scripts`."""
    config = load_config({"BOT_DATA_DIR": str(tmp_path / "data")}, tmp_path)
    of_the_scripts, compared = Watched(config), Watched(config)
    installation = Installation(of_the_scripts)  # type: ignore[arg-type]

    installation.create_scripts()
    installation.queue()
    Config.site_settings(compared)  # type: ignore[arg-type]

    assert of_the_scripts.read
    assert of_the_scripts.read - OF_NO_CONSEQUENCE <= compared.read
