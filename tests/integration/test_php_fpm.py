"""The host's PHP-FPM, a real one: busy, gone, back again, and going on after its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.fpm import HostServer
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.servers.children import wait_until_ready
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm

AMPLE_SECONDS = 60.0
Run = Callable[..., Outcome]


@pytest.fixture
def fpm(tmp_path: Path) -> Iterator[PhpFpm]:
    """With one process, so that it is easily busy."""
    need(php_fpm_available())
    server = start_php_fpm(tmp_path, children=1, pool="php_admin_value[opcache.revalidate_freq] = 0")
    yield server
    server.stop()


@pytest.fixture
def run(fpm: PhpFpm, tmp_path: Path) -> Run:
    """Runs a bot with this code: run(code, timeout_seconds)."""

    def run(code: str, timeout_seconds: float = AMPLE_SECONDS, name: str = "bot") -> Outcome:
        bot = tmp_path / f"{name}.php"
        bot.write_text("<?php " + code)
        return outcome_of(FastCgiRunner(bot, timeout_seconds, HostServer(str(fpm.socket))))

    return run


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} was not made"
        time.sleep(0.01)


def waiting_at(gate: Path) -> str:
    return f"touch('begun'); while (!file_exists('{gate}')) {{ usleep(10000); clearstatcache(); }} touch('ended');"


def test_an_update_waits_for_a_busy_php(run: Run, tmp_path: Path):
    busy = threading.Thread(target=run, args=(waiting_at(tmp_path / "gate"),), kwargs={"name": "busy"})
    busy.start()
    wait_for(tmp_path / "begun")
    waiting = threading.Timer(0.5, (tmp_path / "gate").touch)
    waiting.start()

    outcome = run("echo 'fine';")
    busy.join(AMPLE_SECONDS)

    assert outcome.answer == b"fine"
    assert (tmp_path / "ended").exists()


def test_a_bot_over_its_time_may_go_on_as_the_cause_says(run: Run, tmp_path: Path):
    outcome = run(waiting_at(tmp_path / "gate"), 0.5)
    (tmp_path / "gate").touch()

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.cause.endswith("; the host's PHP may still be running the bot")
    wait_for(tmp_path / "ended")


def test_a_php_fpm_that_is_gone_is_a_failed_attempt_until_it_is_back(run: Run, fpm: PhpFpm):
    fpm.process.stop()
    gone = run("echo 'fine';")
    fpm.process.start()
    wait_until_ready(fpm.process, lambda: run("echo 'fine';").succeeded, what="PHP-FPM", log=fpm.log)

    assert gone.kind is Kind.FAILED
    assert gone.cause.startswith(f"BOT_FASTCGI_SOCKET={fpm.socket}: ")
    assert "PHP-FPM is not running" in gone.cause


def test_a_bot_that_answers_early_and_works_on_is_done_when_it_answered(run: Run, tmp_path: Path):
    """As for a web server."""
    outcome = run(f"echo 'fine'; fastcgi_finish_request(); {waiting_at(tmp_path / 'gate')}")
    (tmp_path / "gate").touch()

    assert outcome.answer == b"fine"
    wait_for(tmp_path / "ended")


def test_a_file_that_php_fpm_does_not_run_is_a_failed_attempt(fpm: PhpFpm, tmp_path: Path):
    """Its pool names the types of files it runs: security.limit_extensions."""
    bot = tmp_path / "bot.phtml"
    bot.write_text("<?php echo 'fine';")

    outcome = outcome_of(FastCgiRunner(bot, AMPLE_SECONDS, HostServer(str(fpm.socket))))

    assert (outcome.kind, outcome.http_status) == (Kind.FAILED, 403)
