"""The host's own PHP-FPM runs an unchanged bot behind the prelude, by a main script of ours. Nothing of that stays."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import which

import pytest

from scalable.lib.runners.choose import BotSettings
from scalable.lib.runners.outcome import Kind, Outcome
from scalable.lib.runners.php import prelude_of_fpm
from scalable.lib.runners.php.fastcgi import FastCgiRunner
from scalable.lib.runners.php.fpm import HostServer
from scalable.lib.runners.php.prelude_of_fpm import ENTRY, PreludeOfFpm
from scalable.lib.setup.bot_check import check_bot
from scalable.lib.setup.finding import Verdict
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm
from tests.support.waiting import SOON_SECONDS

UPDATE = '{"update_id":1}'
SHOWS = "php_flag[display_errors] = on\nphp_value[output_buffering] = 0\nphp_admin_value[opcache.revalidate_freq] = 0"


class Host:
    """A host with one process of PHP-FPM, so that what one request leaves behind is seen by the next one."""

    def __init__(self, folder: Path, fpm: PhpFpm) -> None:
        self.bot = folder / "bot.php"
        self.fpm = fpm
        self.server = HostServer(str(fpm.socket), PreludeOfFpm())

    def run(self, code: str, seconds: float = 30.0) -> Outcome:
        self.bot.write_text("<?php " + code)
        return outcome_of(FastCgiRunner(self.bot, seconds, self.server), UPDATE)

    def bare(self, code: str) -> Outcome:
        """As the web server has it run."""
        self.bot.write_text("<?php " + code)
        return outcome_of(FastCgiRunner(self.bot, 30.0, HostServer(str(self.fpm.socket))), UPDATE)

    def warnings(self) -> list[str]:
        bot = BotSettings(str(self.bot), "fastcgi", 30.0, "", str(self.fpm.socket), "", self.bot.parent)
        return [finding.seen for finding in check_bot(bot, True) if finding.verdict is Verdict.WARNING]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    need(php_fpm_available())
    with ExitStack() as stack:

        def start(pool: str = SHOWS) -> Host:
            fpm = start_php_fpm(tmp_path, children=1, pool=pool)
            stack.callback(fpm.stop)
            return Host(tmp_path, fpm)

        yield start


BREAKS = {
    "after a text": ("echo 'ok'; undefined_function();", "Call to undefined function undefined_function()"),
    "by an exception": ("echo 'ok'; throw new Exception('no such chat');", "Uncaught Exception: no such chat"),
    "of its memory": (
        "ini_set('memory_limit', '16M'); while (true) { $a[] = str_repeat('x', 999); }",
        "Allowed memory",
    ),
    "of its time": ("set_time_limit(1); while (true) { }", "Maximum execution time"),
    "by its own word": ("echo 'ok'; trigger_error('given up', E_USER_ERROR);", "given up"),
    "in a library": ("echo 'ok'; require __DIR__ . '/absent.php';", "absent.php"),
    "of its syntax": ("echo 'ok", "syntax error"),
    "behind a long text": ("ini_set('display_errors', '0'); echo str_repeat('x', 20000); nothing();", "nothing()"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_an_error_behind_a_status_200_is_seen_with_its_file_and_line(start: Callable[..., Host], how: str) -> None:
    code, words = BREAKS[how]
    host = start()

    outcome = host.run(code)

    assert (outcome.kind, outcome.http_status) == (Kind.FAILED, 200), outcome.explanation()
    assert words in outcome.cause
    assert f"{host.bot}" in outcome.cause
    assert host.run("echo 'fine';").answer == b"fine"
    assert host.warnings() == []


def test_nothing_of_it_stays_in_the_process_for_the_pages_of_the_site(start: Callable[..., Host]) -> None:
    host = start()
    look = (
        "echo json_encode([getmypid(), class_exists('ScalablePrelude', false), getenv('SCALABLE_RUN'), ob_get_level(),"
        "ini_get_all(null, false), get_included_files()]);"
    )
    before = json.loads(host.bare(look).answer)

    assert host.run("echo 'ok'; undefined_function();").kind is Kind.FAILED

    assert json.loads(host.bare(look).answer) == before


def test_the_bot_finds_itself_in_the_place_of_the_main_script(start: Callable[..., Host]) -> None:
    host = start()
    look = """
        $known = 1; function known() { global $known; return $known; }
        $mine = array_diff_key($_SERVER, array_flip(['REMOTE_PORT', 'REQUEST_TIME', 'REQUEST_TIME_FLOAT']));
        echo json_encode([$mine, __FILE__, __DIR__, getcwd(), known(), file_get_contents('php://input'), $_GET, $_POST,
            array_keys(array_diff_key(get_defined_vars(), ['_ENV' => 1, '_REQUEST' => 1])), getallheaders(),
            PHP_SAPI, is_file('bot.php')]);
    """

    assert json.loads(host.run(look).answer) == json.loads(host.bare(look).answer)
    assert host.run("echo 'ok'; undefined_function();").kind is Kind.FAILED, "it was the prelude that was compared"


def test_a_text_decides_nothing(start: Callable[..., Host]) -> None:
    host = start()

    for text in (
        "PHP message: PHP Fatal error:  x",
        "[key:end=fatal]",
        "<br />\\n<b>Fatal error</b>:  x in y on line 1",
    ):
        outcome = host.run(f'$t = "{text}"; error_log($t); error_log($t, 4); echo $t;')
        assert outcome.kind is Kind.SUCCEEDED, outcome.cause
    assert "PHP message: \n" not in outcome.output + "\n"


# Where it cannot be had, the bot is run as before, and the check tells


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("php_admin_value[open_basedir] = FOLDER", "may not read"),
        ("php_admin_value[disable_functions] = register_shutdown_function", "may not read"),
        ("php_admin_value[fastcgi.logging] = 0", "keeps its reports to itself"),
        ("security.limit_extensions = .php5", "may not read"),
    ],
)
def test_where_php_may_not_read_it_the_bot_is_run_without(
    start: Callable[..., Host], tmp_path: Path, pool: str, words: str
) -> None:
    host = start(pool.replace("FOLDER", str(tmp_path)))

    outcome, bare = host.run("echo 'fine';"), host.bare("echo 'fine';")

    assert (outcome.kind, outcome.answer) == (bare.kind, bare.answer)
    assert any(words in warning and "behind a status 200" in warning for warning in host.warnings())


@pytest.mark.parametrize(
    "code",
    [
        "if (!debug_backtrace()) echo 'main';",
        "if (get_included_files()[0] === __FILE__) echo 'main';",
        "if (realpath(get_required_files()[0]) == __FILE__) echo 'main';",
        "if (getmyinode() === fileinode(__FILE__)) echo 'main';",
    ],
)
def test_a_bot_that_looks_whether_it_is_the_main_script_is_that(start: Callable[..., Host], code: str) -> None:
    host = start()

    assert host.run(code).answer == b"main"
    assert any("looks at which script is the main one" in warning for warning in host.warnings())


def test_what_user_ini_says_beside_the_bot_is_heeded(start: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / ".user.ini").write_text("memory_limit = 77M\n")
    host = start()

    assert host.run("echo ini_get('memory_limit');").answer == b"77M"
    assert any(".user.ini is heeded only for one" in warning for warning in host.warnings())


def test_a_php_that_is_busy_is_not_waited_for_twice(
    start: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(prelude_of_fpm, "ANSWER_SECONDS", 0.2)
    host = start()
    gate = tmp_path / "gate"
    busy = tmp_path / "busy.php"
    busy.write_text(f"<?php while (!file_exists('{gate}')) {{ usleep(10000); clearstatcache(); }}")
    waits = FastCgiRunner(busy, 0.3, HostServer(str(host.fpm.socket)))
    assert outcome_of(waits, UPDATE).kind is Kind.TIMED_OUT

    began = time.monotonic()
    assert host.run("echo 'fine';", 1.0).kind is Kind.TIMED_OUT
    assert time.monotonic() - began < SOON_SECONDS
    gate.touch()

    assert host.run("echo 'again';").answer == b"again"


def test_the_main_script_does_nothing_for_anybody_else(tmp_path: Path) -> None:
    need(None if which("php-cgi") else "php-cgi is not installed")
    run = subprocess.run(
        ["php-cgi", "-q", str(ENTRY)], capture_output=True, text=True, timeout=30, check=True, cwd=tmp_path, env={}
    )

    assert (run.stdout, run.stderr) == ("", "")
