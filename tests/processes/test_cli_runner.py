"""CliRunner: which command runs the bot, and what is made of the way it ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.runners.cli import CliRunner, bot_command
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php.find_php import ask_php, find_php
from tests.support.generators.bots import outcome_of, python_bot, shell_bot

AMPLE_SECONDS = 30.0


def run(bot: Path, payload: str = "{}", timeout_seconds: float = AMPLE_SECONDS) -> Outcome:
    return outcome_of(CliRunner(bot, timeout_seconds), payload)


def fake_php(folder: Path, interface: str = "cli", name: str = "php") -> Path:
    """A program that introduces itself as PHP, and runs a script by saying which."""
    return shell_bot(
        folder,
        (
            'if [ "$1" = -v ]; then echo "PHP 8.1.2-1ubuntu (%s) (built: Jan  1 2025)"; exit 0; fi\necho "php ran $*"'
        ).replace("%s", interface),
        name,
    )


@pytest.fixture(autouse=True)
def _php_is_looked_for_anew() -> None:
    find_php.cache_clear()


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        ("cat; exit 0", Kind.SUCCEEDED, "exit code 0"),
        ("cat; exit 1", Kind.FAILED, "exit code 1"),
        ("cat; exit 255", Kind.FAILED, "exit code 255"),
        ("cat; kill -SEGV $$", Kind.DIED, "killed by SIGSEGV"),
        ("cat; kill -KILL $$", Kind.DIED, "killed by SIGKILL"),
    ],
)
def test_the_exit_code_decides_and_a_signal_is_named(tmp_path: Path, code: str, kind: Kind, cause: str):
    outcome = run(shell_bot(tmp_path, code), '{"update_id":1,"text":"привіт"}')

    assert (outcome.kind, outcome.cause) == (kind, cause)
    assert outcome.output == '{"update_id":1,"text":"привіт"}'
    assert outcome.succeeded is (kind is Kind.SUCCEEDED)


def test_a_signal_without_a_name_is_told_by_its_number(tmp_path: Path):
    number = next(n for n in range(signal.SIGRTMIN + 1, signal.SIGRTMAX) if n not in list(signal.Signals))

    assert run(python_bot(tmp_path, f"import os\nos.kill(os.getpid(), {number})")).cause == f"killed by signal {number}"


def test_a_bot_over_its_time_is_told_with_the_setting_to_change(tmp_path: Path):
    outcome = run(shell_bot(tmp_path, "echo started; exec sleep 600"), timeout_seconds=0.3)

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.cause == "stopped after 0.3 s (BOT_LEGACY_TIMEOUT)"
    assert outcome.explanation() == "stopped after 0.3 s (BOT_LEGACY_TIMEOUT)\nstarted"


def test_a_bot_that_ends_well_only_after_its_time_has_not_succeeded(tmp_path: Path):
    bot = shell_bot(tmp_path, "trap 'exit 0' TERM; while :; do sleep 0.05; done")

    outcome = run(bot, timeout_seconds=0.5)

    assert (outcome.kind, outcome.exit_code) == (Kind.TIMED_OUT, 0)


def test_both_outputs_are_kept_for_the_person_who_reads_why(tmp_path: Path):
    outcome = run(shell_bot(tmp_path, "echo to out; echo to err >&2; exit 1"))

    assert outcome.explanation() == "exit code 1\nto out\nto err"


def test_the_bot_runs_in_its_own_folder_wherever_the_worker_is(tmp_path: Path):
    (tmp_path / "beside.txt").write_text("found")

    assert run(shell_bot(tmp_path, "cat beside.txt")).output == "found"


def test_a_python_bot_runs_with_this_python_and_needs_no_mode(tmp_path: Path):
    bot = tmp_path / "bot.py"
    bot.write_text("import sys; print(sys.executable)")
    bot.chmod(0o600)

    assert run(bot).output == sys.executable


def test_a_php_bot_runs_with_the_php_that_is_named(tmp_path: Path):
    php = fake_php(tmp_path)
    bot = tmp_path / "bot.php"
    bot.write_text("<?php")

    assert outcome_of(CliRunner(bot, AMPLE_SECONDS, str(php))).output == f"php ran {bot}"


def test_a_php_that_is_not_the_command_line_program_is_refused_and_told(tmp_path: Path):
    bot = tmp_path / "bot.php"
    bot.write_text("<?php")

    with pytest.raises(BotMissing, match=r"expected PHP's command-line program, it is cgi-fcgi of PHP 8\.1\.2"):
        CliRunner(bot, AMPLE_SECONDS, str(fake_php(tmp_path, "cgi-fcgi"))).check()


@pytest.mark.parametrize("named", ["no-such-program", "/", "/dev/null"])
def test_a_php_that_cannot_be_run_is_refused_and_told(tmp_path: Path, named: str):
    with pytest.raises(BotMissing, match="it cannot be run or is no PHP"):
        find_php(named)


def test_a_program_that_is_no_php_is_no_php(tmp_path: Path):
    assert ask_php(str(shell_bot(tmp_path, "echo Perl 5"))) is None


def test_a_missing_bot_is_told_with_its_path_and_the_setting(tmp_path: Path):
    with pytest.raises(BotMissing, match=rf"BOT_LEGACY_PATH: there is no bot at {tmp_path}/bot\.php"):
        CliRunner(tmp_path / "bot.php", AMPLE_SECONDS).check()


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "."])
def test_a_path_that_cannot_be_a_file_is_a_missing_bot_too(tmp_path: Path, name: str):
    """As is one in a folder that this user may not enter."""
    (tmp_path / "file").write_text("")

    with pytest.raises(BotMissing, match="there is no bot at"):
        bot_command(tmp_path / name)


def test_a_bot_that_is_not_executable_is_told_with_what_to_do(tmp_path: Path):
    bot = shell_bot(tmp_path, "exit 0")
    bot.chmod(0o644)

    with pytest.raises(BotMissing, match=r"neither \.php nor .py and not executable; chmod 755 it"):
        bot_command(bot)


def test_a_bot_that_is_away_for_a_moment_is_a_failed_attempt_and_no_crash(tmp_path: Path):
    outcome = run(tmp_path / "bot.py")

    assert outcome.kind is Kind.FAILED
    assert "there is no bot at" in outcome.cause


def test_a_bot_the_kernel_cannot_start_is_a_failed_attempt_and_no_crash(tmp_path: Path):
    bot = tmp_path / "bot"
    bot.write_text("#!/no/such/interpreter\n")
    bot.chmod(0o755)

    outcome = run(bot)

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("the bot could not be started: ")


def test_the_update_is_not_an_argument_that_others_could_see(tmp_path: Path):
    outcome = run(shell_bot(tmp_path, 'echo "$#"; tr "\\0" " " < /proc/$$/cmdline'), '{"text":"private words"}')

    assert "private words" not in outcome.output
    assert outcome.output.startswith("0")


def test_the_bot_inherits_no_open_file_of_the_worker(tmp_path: Path):
    with (tmp_path / "secret.txt").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)

        outcome = run(shell_bot(tmp_path, "ls -l /proc/$$/fd"))

    assert outcome.succeeded
    assert "secret.txt" not in outcome.output
