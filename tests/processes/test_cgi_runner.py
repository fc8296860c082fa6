"""CgiRunner with stand-ins for php-cgi: what it is started with, and what is made of the way it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.cgi import CgiRunner
from scalable.lib.runners.php.cgi_request import WebRequest
from scalable.lib.runners.php.find_php import find_php
from tests.support.generators.bots import outcome_of, shell_bot

AMPLE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _php_is_looked_for_anew() -> None:
    find_php.cache_clear()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., CgiRunner]:
    """Makes a runner whose php-cgi does `code`; further arguments are the runner's."""

    def make(code: str, timeout_seconds: float = AMPLE_SECONDS, **rest) -> CgiRunner:
        bot = tmp_path / "bot.php"
        bot.write_text("<?php")
        php = shell_bot(
            tmp_path,
            (
                'if [ "$1" = -v ]; then echo "PHP 8.1.2 (cgi-fcgi) (built: Jan  1 2025)"; exit 0; fi\n'
                'if [ "$1" = -i ]; then exit 0; fi\n' + code
            ),
            "php-cgi",
        )
        return CgiRunner(bot, timeout_seconds, str(php), **rest)

    return make


def test_the_request_is_in_the_environment_and_the_update_on_standard_input(
    make: Callable[..., CgiRunner], tmp_path: Path
):
    runner = make(
        'printf "A: b\\n\\n"; cat; echo; pwd; echo "$#"; env | sort',
        request=WebRequest("s3cret"),
        environment={
            "BOT_TOKEN": "1:x",
            "HOME": "/home/you",
            "HTTP_PROXY": "http://evil",
            "SHELL": "/bin/zsh",
        },
    )

    outcome = outcome_of(runner, '{"t":"ї"}')

    body, folder, arguments, *variables = outcome.answer.decode().splitlines()
    assert outcome.succeeded
    assert (body, arguments) == ('{"t":"ї"}', "0")
    assert folder == str(tmp_path)
    assert f"SCRIPT_FILENAME={tmp_path}/bot.php" in variables
    assert "CONTENT_LENGTH=10" in variables
    assert "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN=s3cret" in variables
    assert {"BOT_TOKEN=1:x", "HOME=/home/you", "REDIRECT_STATUS=200"} <= set(variables)
    assert not [line for line in variables if line.startswith(("HTTP_PROXY=", "SHELL="))]


def run(runner: CgiRunner) -> Outcome:
    return outcome_of(runner)


@pytest.mark.parametrize(
    ("code", "kind", "cause", "exit_code"),
    [
        ('printf "Status: 200 OK\\r\\n\\r\\nhi"', Kind.SUCCEEDED, "HTTP status 200", 0),
        ('printf "A: b\\n\\nhi"; exit 1', Kind.SUCCEEDED, "HTTP status 200", 1),
        ('printf "Status: 500\\n\\n"; exit 255', Kind.FAILED, "HTTP status 500", 255),
        ('printf "Status: 410\\n\\n"', Kind.FAILED_FOR_GOOD, "HTTP status 410: the bot refuses this update", 0),
        ("exit 3", Kind.FAILED, "php-cgi gave no response: it is empty (exit code 3)", 3),
        (
            "echo no response",
            Kind.FAILED,
            "php-cgi gave no response: no empty line ends its headers, in 12 bytes (exit code 0)",
            0,
        ),
        ('printf "A: b\\n\\nhi"; kill -SEGV $$', Kind.DIED, "killed by SIGSEGV", -11),
    ],
)
def test_the_response_decides_and_the_exit_code_is_told(
    make: Callable[..., CgiRunner], code: str, kind: Kind, cause: str, exit_code: int
):
    outcome = run(make(f"cat > /dev/null; {code}"))

    assert (outcome.kind, outcome.cause, outcome.exit_code) == (kind, cause, exit_code)


def test_words_of_an_error_that_were_logged_decide_nothing(make: Callable[..., CgiRunner]):
    outcome = run(make('printf "A: b\\n\\nhi"; echo "PHP Fatal error:  Uncaught Exception: no in /b.php:3" >&2'))

    assert (outcome.kind, outcome.cause) == (Kind.SUCCEEDED, "HTTP status 200")


def test_a_bot_over_its_time_is_told_with_the_setting_to_change(make: Callable[..., CgiRunner]):
    outcome = run(make("exec sleep 600", 0.3))

    assert (outcome.kind, outcome.cause) == (Kind.TIMED_OUT, "stopped after 0.3 s (BOT_LEGACY_TIMEOUT)")


def test_an_answer_larger_than_any_method_call_is_none_and_its_end_is_kept(make: Callable[..., CgiRunner]):
    outcome = run(make('printf "A: b\\n\\n"; head -c 1000000 /dev/zero | tr "\\0" x; echo the end'))

    assert (outcome.kind, outcome.answer) == (Kind.SUCCEEDED, b"")
    assert outcome.output.endswith("xthe end")


def test_the_check_says_which_php_runs_the_bot(make: Callable[..., CgiRunner], tmp_path: Path):
    line = make("").check()

    assert line == f"{tmp_path}/php-cgi as CGI, once per update, SCRIPT_FILENAME={tmp_path}/bot.php"


def test_a_missing_bot_is_told_at_the_start_and_a_failed_attempt_later(make: Callable[..., CgiRunner], tmp_path: Path):
    runner = make("echo must not run")
    (tmp_path / "bot.php").unlink()

    with pytest.raises(BotMissing, match="there is no bot at"):
        runner.check()
    outcome = run(runner)

    assert outcome.kind is Kind.FAILED
    assert "there is no bot at" in outcome.cause


def test_a_php_cgi_that_went_away_is_a_failed_attempt_and_no_crash(make: Callable[..., CgiRunner], tmp_path: Path):
    runner = make("")
    runner.check()
    (tmp_path / "php-cgi").unlink()

    outcome = run(runner)

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("php-cgi could not be started: ")


def test_a_php_that_is_no_php_cgi_is_told_with_the_setting(tmp_path: Path):
    (tmp_path / "bot.php").write_text("<?php")
    php = shell_bot(tmp_path, 'echo "PHP 8.1.2 (cli) (built: Jan  1 2025)"', "php")

    with pytest.raises(BotMissing, match=r"^BOT_PHP_BINARY='.*/php': expected php-cgi, it is cli of PHP 8\.1\.2"):
        CgiRunner(tmp_path / "bot.php", AMPLE_SECONDS, str(php)).check()


def test_the_update_is_in_no_argument_no_variable_and_no_repr(make: Callable[..., CgiRunner]):
    outcome = outcome_of(
        make('cat > /dev/null; printf "A: b\\n\\n"; tr "\\0" " " < /proc/$$/cmdline; env; echo private'),
        '{"text":"secret words"}',
    )

    assert "secret words" not in outcome.output
    assert "private" in outcome.output
    assert "private" not in repr(outcome)


def test_the_bot_inherits_no_open_file_of_the_worker(make: Callable[..., CgiRunner], tmp_path: Path):
    with (tmp_path / "secret.txt").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)

        outcome = run(make('printf "A: b\\n\\n"; ls -l /proc/$$/fd'))

    assert outcome.succeeded
    assert "secret.txt" not in outcome.output
