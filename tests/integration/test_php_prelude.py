"""Unchanged PHP bots behind the prelude: they find their update however they are run, and how they ended is known from
PHP itself and never from a text that people can write.

F1, F6, F8 and F14 are the faults of the first version that these are the right values of.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.runners.cli import CliRunner
from scalable.lib.runners.outcome import Kind
from scalable.lib.runners.php.find_php import ask_php
from scalable.lib.runners.php.php_ini import can_read, ini_values
from scalable.lib.runners.php.prelude import FILE, NEEDED
from tests.support.generators.bots import outcome_of, python_bot, shell_bot
from tests.support.generators.php_bots import PhpBot
from tests.support.need import need
from tests.support.servers.old_php import old_php_cgi, old_php_cgi_available
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm

# `resident-7.4` is the php-cgi of an old PHP, `fpm` the host's own PHP-FPM, `fpm-bare` that without the prelude.
OURS = ("cli", "cgi", "resident", "resident-7.4", "fpm")
MODES = (*OURS, "fpm-bare")
SECRET = "s3cret_-"
UPDATE = '{"update_id":1,"message":{"text":"привіт 👋"}}'
LINE = UPDATE + "\n"
# The bot notes that it ran, as the bots of the faults do.
RAN = "file_put_contents(__DIR__.'/ran', file_get_contents('php://input').\"\\n\", FILE_APPEND);"


@pytest.fixture(scope="module")
def fpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhpFpm]:
    need(php_fpm_available())
    pool = "php_admin_value[opcache.revalidate_freq] = 0\nphp_admin_flag[log_errors] = on\n"
    pool += "php_value[output_buffering] = 4096\n"
    server = start_php_fpm(tmp_path_factory.mktemp("fpm"), pool=pool)
    yield server
    server.stop()


def make(request: pytest.FixtureRequest, folder: Path) -> PhpBot:
    mode, _, version = request.param.partition("-")
    php = socket = ""
    if mode == "fpm":
        mode = request.param
        socket = str(request.getfixturevalue("fpm").socket)
    elif version:
        need(old_php_cgi_available())
        php = old_php_cgi(folder)
    else:
        program = "php" if mode == "cli" else "php-cgi"
        need(None if shutil.which(program) else f"{program} is not installed")
    return PhpBot(folder, mode, php=php, fpm_socket=socket)


@pytest.fixture(params=MODES)
def bot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PhpBot]:
    """A bot that is run in each mode."""
    made = make(request, tmp_path)
    yield made
    made.close()


@pytest.fixture(params=OURS)
def our_bot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PhpBot]:
    """A bot that is run in each mode in which a worker starts PHP."""
    made = make(request, tmp_path)
    yield made
    made.close()


@pytest.fixture
def cli(tmp_path: Path) -> PhpBot:
    """A bot that PHP's command-line program runs."""
    need(None if shutil.which("php") else "php is not installed")
    return PhpBot(tmp_path, "cli")


def ran(bot: PhpBot) -> str:
    file = bot.path.with_name("ran")
    return file.read_text(encoding="utf-8") if file.exists() else ""


# The update (F1 and its kind)


def test_f1_a_bot_that_reads_its_update_in_a_library_runs(bot: PhpBot):
    library = (
        "<?php try { $in = file_get_contents('php://input'); if (!$in) { throw new Exception('Input is empty!'); }"
    )
    library += f" {RAN} }} catch (Exception $e) {{ }}"
    bot.path.with_name("lib.php").write_text(library)

    outcome = outcome_of(bot.runner("require __DIR__.'/lib.php';"), UPDATE)

    assert outcome.succeeded
    assert ran(bot) == LINE


READS = {
    "twice": "$a = file_get_contents('php://input'); echo $a === file_get_contents('php://input') ? $a : 'another';",
    "in pieces": "$f = fopen('php://input', 'rb'); while (!feof($f)) { echo fread($f, 7); }",
    "by lines": "foreach (file('php://input') as $line) { echo $line; }",
    "as a stream": "$f = fopen('PHP://input', 'r'); echo stream_get_contents($f, 5); echo stream_get_contents($f);",
    "back and forth": "$f = fopen('php://input', 'r'); fread($f, 9); rewind($f); echo stream_get_contents($f);",
    "by copying": "copy('php://input', __DIR__.'/copy'); readfile(__DIR__.'/copy');",
    "through a filter": "echo str_rot13(file_get_contents('php://filter/read=string.rot13/resource=php://input'));",
    "into a stream": "stream_copy_to_stream(fopen('php://input', 'r'), fopen('php://output', 'w'));",
    "as an object": "$f = new SplFileObject('php://input', 'r'); while (!$f->eof()) { echo $f->fgets(); }",
    "behind a namespace": "namespace My\\Bot; echo \\file_get_contents('php://input');",
    "in strict types": "declare(strict_types=1); echo file_get_contents('php://input');",
    "from elsewhere": "chdir('/'); echo file_get_contents('php://input');",
    "in a shutdown function": "register_shutdown_function(function () { echo file_get_contents('php://input'); });",
    "in front of its own data": "echo file_get_contents('php://input'); __halt_compiler(); data",
}


@pytest.mark.parametrize("way", READS)
def test_a_bot_finds_its_update_in_whatever_way_it_reads_it(bot: PhpBot, way: str):
    outcome = outcome_of(bot.runner(READS[way]), UPDATE)

    assert (outcome.kind, outcome.answer.decode()) == (Kind.SUCCEEDED, UPDATE), outcome.explanation()


@pytest.mark.parametrize(
    "code",
    [
        "echo stream_get_contents(STDIN);",
        "echo file_get_contents('php://stdin');",
        "while (($line = fgets(STDIN)) !== false) { echo $line; }",
        "$in = file_get_contents('php://input') ?: file_get_contents('php://stdin'); echo $in;",
        "$in = stream_get_contents(STDIN) ?: file_get_contents('php://input'); echo $in;",
        "file_get_contents('php://input'); echo stream_get_contents(STDIN);",
        "stream_get_contents(STDIN); echo file_get_contents('php://input');",
        "file_get_contents('php://input'); echo file_get_contents('php://stdin');",
        "passthru('cat');",
    ],
)
def test_a_program_finds_it_on_standard_input_too(cli: PhpBot, code: str):
    assert outcome_of(cli.runner(code), UPDATE).answer.decode() == UPDATE


def test_a_mebibyte_arrives_whole(our_bot: PhpBot):
    update = "x" * (1 << 20) + "end"

    outcome = outcome_of(
        our_bot.runner("$u = file_get_contents('php://input'); echo strlen($u), substr($u, -3);"), update
    )

    assert outcome.answer == b"%dend" % len(update)


# What else is called php:// stays what it was


def test_other_streams_of_php_are_what_they_were(our_bot: PhpBot):
    outcome = outcome_of(
        our_bot.runner("""
        $t = fopen('php://temp', 'w+'); fwrite($t, 'abcdef'); fseek($t, 2); echo fread($t, 2), ftell($t);
        $m = fopen('php://memory', 'r+'); fwrite($m, "x\\ny\\n"); rewind($m); echo trim(fgets($m));
        echo ftruncate($m, 2) ? fstat($m)['size'] : '-', feof($m) ? '-' : 'more';
        file_put_contents('php://output', 'out'); file_put_contents('php://stderr', 'err');
        echo file_get_contents('php://filter/read=string.toupper/resource=data:,low');
        file_put_contents('php://filter/write=string.rot13/resource='.__DIR__.'/f', 'uryyb'); readfile(__DIR__.'/f');
        echo json_encode([@fopen('php://nonsense', 'r'), file_exists('php://input'), @unlink('php://input')]);
        $e = fopen('php://stderr', 'w'); stream_set_blocking($e, true); fclose($e);
        $o = fopen('php://output', 'w'); fwrite($o, 'left open');
    """),
        UPDATE,
    )

    assert outcome.answer == b"cd4x2moreoutLOWhello[false,false,false]left open", outcome.explanation()
    assert our_bot.mode == "fpm" or "err" in outcome.output  # PHP-FPM has a log of its own


def test_a_file_is_included_through_a_filter_and_an_update_is_not(cli: PhpBot):
    cli.path.with_name("x.txt").write_text("text")

    outcome = outcome_of(
        cli.runner("include 'php://filter/read=string.toupper/resource=x.txt'; var_dump(@include 'php://input');"),
        "<?php echo 'run';",
    )

    assert outcome.answer == b"TEXTbool(false)\n", outcome.explanation()


@pytest.mark.parametrize(
    "code",
    [
        "stream_wrapper_unregister('php'); stream_wrapper_restore('php'); echo 'fine';",
        """
        class Mine {
            public $context; private $left = 'mine';
            function stream_open($p, $m, $o, &$opened) { return true; }
            function stream_read($n) { $s = $this->left; $this->left = ''; return $s; }
            function stream_eof() { return $this->left === ''; }
            function stream_stat() { return []; }
        }
        stream_wrapper_unregister('php'); stream_wrapper_register('php', 'Mine');
        echo file_get_contents('php://input') === 'mine' ? 'fine' : 'no';
        """,
    ],
)
def test_a_bot_may_register_a_php_stream_of_its_own(our_bot: PhpBot, code: str):
    assert outcome_of(our_bot.runner(code), UPDATE).answer == b"fine"


# The answer goes out early (F6)


def test_f6_a_bot_that_finishes_its_request_and_works_on_runs(bot: PhpBot):
    """F6: as under PHP-FPM."""
    outcome = outcome_of(bot.runner(f"echo 'hi'; fastcgi_finish_request(); {RAN}"), UPDATE)

    assert (outcome.kind, outcome.answer) == (Kind.SUCCEEDED, b"hi")
    assert wait_for(bot) == LINE


def wait_for(bot: PhpBot) -> str:
    """What the bot noted; under PHP-FPM it may still be about to."""
    from tests.support.waiting import eventually

    eventually(lambda: ran(bot))
    return ran(bot)


@pytest.mark.parametrize(
    ("code", "answer", "status"),
    [
        ("ob_start(); ob_start(); echo 'hi'; fastcgi_finish_request(); echo 'too late';", b"hi", 200),
        ("echo 'hi', (int) fastcgi_finish_request(), (int) fastcgi_finish_request();", b"hi", 200),
        ("http_response_code(204); fastcgi_finish_request(); http_response_code(500);", b"", 204),
        ("echo 'hi'; fastcgi_finish_request(); exit(0);", b"hi", 200),
    ],
)
def test_what_comes_after_a_finished_request_is_not_in_the_answer(
    our_bot: PhpBot, code: str, answer: bytes, status: int
):
    """F6: of the kind, buffers, twice, a status, an exit."""
    outcome = outcome_of(our_bot.runner(code), UPDATE)

    assert (outcome.kind, outcome.answer) == (Kind.SUCCEEDED, answer), outcome.explanation()
    assert outcome.http_status in (status, None)


def test_an_error_after_the_answer_is_an_error(our_bot: PhpBot):
    """F6: of the kind, it breaks off after that."""
    if our_bot.mode == "fpm":
        pytest.skip("what happens after the answer of PHP-FPM is known to nobody")
    outcome = outcome_of(our_bot.runner("echo 'hi'; fastcgi_finish_request(); undefined_function();"), UPDATE)

    assert (outcome.kind, "undefined_function()" in outcome.cause) == (Kind.FAILED, True)


# The buffer of php.ini, output_buffering (F3): but for an answer that is whole it is what it was

BUFFERED = {
    "a status after a text": ("echo 'x'; http_response_code(500);", "x", 500),
    "thrown away": ("echo 'a'; ob_clean(); echo 'b';", "b", 200),
    "ended": ("echo 'a'; ob_end_clean(); echo 'b';", "b", 200),
    "passed on": ("echo 'a'; ob_flush(); echo (int) headers_sent();", "a1", 200),
    "one of its own inside": ("echo 'a'; ob_start(); echo 'b'; $b = ob_get_clean(); echo strtoupper($b);", "aB", 200),
    "read": ("echo 'a'; $a = ob_get_clean(); echo strtoupper($a);", "A", 200),
    "measured": ("echo 'abc'; echo ob_get_length();", "abc3", 200),
    "one level": ("echo ob_get_level(), (int) headers_sent();", "10", 200),
    "until it is full": ("echo str_repeat('x', 4096); echo (int) headers_sent();", "x" * 4096 + "1", 200),
    "not before": ("echo str_repeat('x', 4095); echo (int) headers_sent();", "x" * 4095 + "0", 200),
    "whole, and it waits": ("header('Content-Length: 2'); echo 'ok'; flush(); http_response_code(500);", "ok", 500),
    "not whole": ("ignore_user_abort(1); header('Content-Length: 3'); echo 'ok'; http_response_code(500);", "ok", 500),
    "no success": ("http_response_code(500); header('Connection: close'); header('Content-Length: 1'); echo 'x';"
                   " flush(); http_response_code(503);", "x", 503),
    "in a shutdown function": ("register_shutdown_function(function () { echo 'b'; }); echo 'a';", "ab", 200),
}  # fmt: skip


def skip_where_fpm_differs(way: str) -> None:
    if " flush();" in BUFFERED[way][0]:
        pytest.skip("flush() of PHP-FPM sends the headers, whatever is kept back")


@pytest.mark.parametrize("way", BUFFERED)
def test_what_php_ini_keeps_back_is_kept_back(our_bot: PhpBot, way: str):
    if our_bot.mode == "cli":
        pytest.skip("PHP's command line keeps nothing back, whatever php.ini says")
    if our_bot.mode == "fpm":
        skip_where_fpm_differs(way)
    else:
        our_bot.path.with_name(".user.ini").write_text("output_buffering = 4096\n")
    code, answer, status = BUFFERED[way]

    outcome = outcome_of(our_bot.runner(code), UPDATE)

    assert (outcome.answer.decode(), outcome.http_status) == (answer, status), outcome.explanation()


@pytest.mark.parametrize(
    ("setting", "size", "status"),
    [
        ("output_buffering = On", 20000, 500),
        ("output_buffering = 2000", 1999, 500),
        ("output_handler = trim", 3000, 500),
        ("zlib.output_compression = On", 20000, 200),  # nobody accepts it, so all is on its way
    ],
)
def test_so_it_is_with_a_buffer_of_another_kind(our_bot: PhpBot, setting: str, size: int, status: int):
    if our_bot.mode in ("cli", "fpm"):
        pytest.skip("PHP's command line keeps nothing back, and with such a file PHP-FPM has no prelude")
    our_bot.path.with_name(".user.ini").write_text(setting + "\n")

    outcome = outcome_of(our_bot.runner(f"echo str_repeat('x', {size}); http_response_code(500);"), UPDATE)

    assert (outcome.answer, outcome.http_status) == (b"x" * size, status), outcome.explanation()


def test_an_error_while_something_is_kept_back_is_an_error(our_bot: PhpBot):
    if our_bot.mode != "fpm":
        our_bot.path.with_name(".user.ini").write_text("output_buffering = 4096\n")

    outcome = outcome_of(our_bot.runner("ini_set('display_errors', '0'); echo 'said'; undefined_function();"), UPDATE)

    assert (outcome.kind, outcome.answer) == (Kind.FAILED, b"said")
    assert "undefined_function()" in outcome.cause
    assert our_bot.mode == "cli" or outcome.http_status == 500


# How it ended (F8)


@pytest.mark.parametrize(
    "text",
    [
        "PHP Fatal error:  x",
        "[28-Nov-2026 10:00:00 UTC] PHP Fatal error:  Uncaught Exception: no in /b.php:3",
        "PHP Parse error:  x; PHP message: PHP Fatal error:  x",
        "\\nFatal error: x in /b.php on line 3",
        "#0 {main}\\n  thrown in /b.php on line 3",
    ],
)
@pytest.mark.parametrize(
    "print_it",
    [
        "error_log($text);",
        "echo $text;",
        "file_put_contents('php://stderr', $text);",
        "exit($text);",
        "trigger_error($text, E_USER_WARNING);",
        "header('X-Said: ' . str_replace(\"\\n\", ' ', $text));",
    ],
)
def test_f8_a_text_that_a_user_wrote_decides_nothing(bot: PhpBot, text: str, print_it: str):
    """F8: in the log, the answer, the last words, a warning or a header; the first one is the case."""
    prefix = "ini_set('log_errors', '1'); ini_set('error_log', '');"

    outcome = outcome_of(bot.runner(f'{prefix} $text = "{text}"; {print_it}'), UPDATE)

    assert outcome.kind is Kind.SUCCEEDED, outcome.cause


def test_a_bot_that_prints_everything_it_knows_prints_no_report(our_bot: PhpBot):
    outcome = outcome_of(
        our_bot.runner(
            "error_log(print_r([$_SERVER, $_ENV, $GLOBALS], true)); print_r([$_SERVER, $_ENV, getenv('X')]);"
        ),
        UPDATE,
    )

    assert outcome.succeeded
    assert "SCALABLE_RUN" not in outcome.explanation()


HOW_IT_BREAKS = {
    "an undefined function": ("undefined_function();", "Call to undefined function undefined_function()"),
    "an exception": ("throw new RuntimeException('no such chat');", "Uncaught RuntimeException: no such chat"),
    "its memory": (
        "ini_set('memory_limit', '16M'); while (true) { $all[] = str_repeat('x', 1000); }",
        "Allowed memory size of 16777216 bytes exhausted",
    ),
    "its time": ("set_time_limit(1); while (true) { }", "Maximum execution time of 1 second exceeded"),
    "a library": ("require __DIR__.'/no-such-file.php';", "no-such-file.php"),
    "its own error": ("trigger_error('given up', E_USER_ERROR);", "given up"),
    "a hidden error": (
        "register_shutdown_function(function () { http_response_code(200); exit(0); }); undefined_function();",
        "Call to undefined function undefined_function()",
    ),
    "an error behind output": (
        "echo 'said'; while (ob_get_level()) { ob_end_flush(); } flush(); undefined_function();",
        "Call to undefined function undefined_function()",
    ),
    "a silenced error": ("error_reporting(0); @undefined_function();", "undefined_function()"),
    "an error in a buffer": ("ob_start(function () { return 'fine'; }); undefined_function();", "undefined_function()"),
    "an error before a flood": (
        "register_shutdown_function(function () { for ($i = 300; $i--;) { error_log(str_repeat('e', 1000)); } });"
        "undefined_function();",
        "undefined_function()",
    ),
}


@pytest.mark.parametrize("what", HOW_IT_BREAKS)
def test_a_bot_that_breaks_off_has_failed_and_file_and_line_are_told(our_bot: PhpBot, what: str):
    code, words = HOW_IT_BREAKS[what]

    outcome = outcome_of(our_bot.runner(code), UPDATE)
    our_bot.write("echo 'fine';")

    assert outcome.kind is Kind.FAILED
    assert outcome.cause.startswith("PHP fatal error: ")
    assert words in outcome.cause
    assert f"{our_bot.path}:1" in outcome.cause
    assert outcome_of(our_bot.runner("echo 'fine';"), UPDATE).succeeded


def test_a_syntax_error_is_told_with_its_file(our_bot: PhpBot):
    our_bot.path.with_name("lib.php").write_text("<?php\n\necho (;")

    in_bot = outcome_of(our_bot.runner("echo 'oops"), UPDATE)
    in_library = outcome_of(our_bot.runner("require 'lib.php';"), UPDATE)

    assert (in_bot.kind, in_library.kind) == (Kind.FAILED, Kind.FAILED)
    assert in_bot.cause.startswith("PHP parse error: syntax error, ")
    assert f"{our_bot.path.with_name('lib.php')}:3" in in_library.cause


@pytest.mark.parametrize(
    "code",
    [
        "exit;",
        "exit(0);",
        "die('bye');",
        "return;",
        "trigger_error('only a warning', E_USER_WARNING);",
        "echo $undefined[0]; @file_get_contents('/no/such/file');",
        "set_exception_handler(function ($e) { echo 'caught'; exit(0); }); throw new Exception('no');",
        "set_error_handler(function () { return true; }); trigger_error('handled', E_USER_WARNING);",
        "try { undefined_function(); } catch (Error $e) { echo 'caught'; }",
        "try { eval('echo (;'); } catch (ParseError $e) { echo 'caught'; }",
        "register_shutdown_function(function () { exit(0); });",
        "ini_set('display_errors', '1'); error_log('x'); register_shutdown_function('error_get_last');",
    ],
)
def test_a_bot_that_comes_to_an_end_of_its_own_has_succeeded(our_bot: PhpBot, code: str):
    outcome = outcome_of(our_bot.runner(code), UPDATE)

    assert outcome.kind is Kind.SUCCEEDED, outcome.cause


def test_what_a_child_of_the_bot_does_is_not_what_the_bot_does(cli: PhpBot):
    need(None if "pcntl" in printed("php", "-m") else "PHP has no pcntl")
    fork = "$p = pcntl_fork(); if ($p === 0) { undefined_function(); } pcntl_wait($status); echo 'fine';"

    forked = outcome_of(cli.runner(fork), UPDATE)
    cli.path.with_name("child.php").write_text(
        "<?php echo isset($_SERVER['REQUEST_METHOD']) ? 'web' : 'shell'; nothing();"
    )
    started = outcome_of(cli.runner("echo shell_exec(PHP_BINARY . ' child.php 2>&1');"), UPDATE)

    assert (forked.kind, forked.answer) == (Kind.SUCCEEDED, b"fine")
    assert started.succeeded
    assert b"shell" in started.answer


def printed(*command: str) -> str:
    import subprocess

    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("code", "kind", "cause"),
    [
        ("http_response_code(500); exit;", Kind.FAILED, "HTTP status 500"),
        ("header('HTTP/1.1 503 Busy');", Kind.FAILED, "HTTP status 503"),
        ("http_response_code(400);", Kind.FAILED_FOR_GOOD, "HTTP status 400: the bot refuses this update"),
        ("register_shutdown_function(function () { http_response_code(500); });", Kind.FAILED, "HTTP status 500"),
        ("http_response_code(200);", Kind.SUCCEEDED, "HTTP status 200"),
    ],
)
def test_the_status_a_bot_sets_decides_as_for_telegram(bot: PhpBot, code: str, kind: Kind, cause: str):
    outcome = outcome_of(bot.runner(code), UPDATE)

    assert outcome.kind is kind
    assert outcome.cause.removeprefix("exit code 0, ") == cause


# The request (F14)


def test_f14_a_bot_that_sets_its_webhook_when_nothing_was_posted_does_not_do_it(bot: PhpBot):
    code = f"""
        if (($_SERVER['REQUEST_METHOD'] ?? 'GET') !== 'POST') {{ touch(__DIR__.'/setWebhook'); exit; }}
        if (empty($_SERVER['HTTP_HOST']) || empty($_SERVER['REMOTE_ADDR'])) {{ touch(__DIR__.'/setWebhook'); exit; }}
        {RAN}
    """

    outcome = outcome_of(bot.runner(code, secret=SECRET), UPDATE)

    assert outcome.succeeded
    assert not bot.path.with_name("setWebhook").exists()
    assert ran(bot) == LINE


# What the owner and the host have set


def test_a_file_of_the_owners_own_before_the_bot_is_run_first(our_bot: PhpBot):
    """Given one in .user.ini, as a firewall for PHP has itself installed, which looks at the update, too."""
    first = our_bot.path.with_name("first.php")
    first.write_text("<?php $GLOBALS['seen'] = file_get_contents('php://input'); $local = 'there'; define('FIRST', 1);")
    our_bot.path.with_name(".user.ini").write_text(
        f'; mine\nauto_prepend_file = "{first}"\nmemory_limit = 77M ; enough\n[x]\nprecision=5\n'
    )

    outcome = outcome_of(
        our_bot.runner(
            "echo FIRST, $local, $seen, ini_get('memory_limit'), ini_get('precision'); undefined_function();"
        ),
        UPDATE,
    )

    assert outcome.output.startswith(f"1there{UPDATE}77M5"), outcome.explanation()
    if our_bot.mode == "fpm":
        return  # it reads such a file for its main script, so that has to be the bot itself
    assert outcome.cause.startswith("PHP fatal error: ")


def test_a_file_that_php_ini_puts_before_the_bot_is_run_first(our_bot: PhpBot, tmp_path: Path):
    if our_bot.php or our_bot.mode == "fpm":
        pytest.skip("that one is started without any php.ini")
    first, scanned = tmp_path / "first.php", tmp_path / "ini"
    first.write_text("<?php define('FIRST', 'first, ');")
    scanned.mkdir()
    (scanned / "own.ini").write_text(f"auto_prepend_file={first}\n")

    outcome = outcome_of(
        our_bot.runner("echo FIRST, 'then'; undefined_function();", environment={"PHP_INI_SCAN_DIR": f":{scanned}"}),
        UPDATE,
    )

    assert outcome.output.startswith("first, then"), outcome.explanation()
    assert outcome.cause.startswith("PHP fatal error: ")


@pytest.mark.parametrize("disabled", ["register_shutdown_function", "error_log, exec", "stream_wrapper_register"])
def test_where_php_forbids_what_the_prelude_needs_the_bot_runs_without(our_bot: PhpBot, tmp_path: Path, disabled: str):
    if our_bot.php or our_bot.mode == "fpm":
        pytest.skip("that one is started without any php.ini")
    scanned = tmp_path / "ini"
    scanned.mkdir()
    (scanned / "own.ini").write_text(f"disable_functions={disabled}\n")

    runner = our_bot.runner("echo 'fine';", environment={"PHP_INI_SCAN_DIR": f":{scanned}"})

    assert outcome_of(runner, UPDATE).answer == b"fine"
    our_bot.write("undefined_function();")
    assert outcome_of(runner, UPDATE).kind is Kind.FAILED


@pytest.mark.parametrize("where", ["php.ini", ".user.ini"])
def test_where_open_basedir_keeps_php_from_the_prelude_the_bot_runs_without(
    our_bot: PhpBot, tmp_path: Path, where: str
):
    line = f"open_basedir={our_bot.path.parent}\n"
    environment = {}
    if where == ".user.ini":
        our_bot.path.with_name(".user.ini").write_text(line)
    elif our_bot.php or our_bot.mode == "fpm":
        pytest.skip("that one is started without any php.ini")
    else:
        (tmp_path / "ini").mkdir()
        (tmp_path / "ini" / "own.ini").write_text(line)
        environment = {"PHP_INI_SCAN_DIR": f":{tmp_path / 'ini'}"}

    runner = our_bot.runner("echo 'fine', @file_get_contents('/etc/passwd') ? 'open' : '';", environment=environment)

    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_what_php_says_of_its_settings_is_read_from_both_programs():
    environment = (("PATH", "/usr/local/bin:/usr/bin:/bin"),)
    for program in ("php", "php-cgi"):
        path = shutil.which(program)
        need(None if path else f"{program} is not installed")
        values = ini_values(str(path), environment)
        assert values["user_ini.filename"] == ".user.ini"
        assert {"auto_prepend_file", "open_basedir", "disable_functions"} <= set(values)
        php = ask_php(str(path))
        assert php is not None
        assert can_read(php, str(FILE.parent), FILE, environment)
        assert not can_read(php, "/nowhere", FILE, environment)


def test_both_lists_of_what_the_prelude_needs_are_the_same():
    found = re.search(r"\$needed = array\((.*?)\);", FILE.read_text(encoding="utf-8"), re.DOTALL)

    assert found is not None
    assert set(re.findall(r"'(\w+)'", found.group(1))) == NEEDED


def test_a_program_that_says_nothing_of_its_settings_gets_no_prelude(tmp_path: Path):
    silent = shell_bot(
        tmp_path, 'if [ "$1" = -v ]; then echo "PHP 8.1.2 (cli)"; exit 0; fi; [ "$1" = -i ] || echo "ran $*"'
    )
    bot = tmp_path / "bot.php"
    bot.write_text("<?php")

    assert outcome_of(CliRunner(bot, 30, str(silent))).output == f"ran {bot}"


# Bots in other languages


def test_a_bot_that_is_no_php_is_run_as_ever(tmp_path: Path):
    bot = python_bot(tmp_path, "import os, sys; print(sys.stdin.read(), 'SCALABLE_RUN' in os.environ, end='')")

    assert outcome_of(CliRunner(bot, 30), UPDATE).answer.decode() == f"{UPDATE} False"
