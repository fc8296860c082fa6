"""An unmodified PHP bot, run by the real php-cgi and the real PHP-FPM: it finds what a web server gives it, and nothing
that it does harms the worker or the next update.

`resident-7.4` is the php-cgi of an old PHP, as many shared hosts have it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.runners.outcome import Kind
from tests.support.generators.bots import outcome_of
from tests.support.generators.php_bots import PhpBot
from tests.support.need import need
from tests.support.servers.apache import apache_available, start_apache
from tests.support.servers.old_php import old_php_cgi, old_php_cgi_available
from tests.support.servers.php_fpm import PhpFpm, php_fpm_available, start_php_fpm
from tests.support.waiting import SOON_SECONDS

ROOT = Path(__file__).resolve().parents[2]
MODES = ("cgi", "resident", "resident-7.4", "fpm")  # as a program: test_php_prelude.py
SECRET = "s3cret_-"
UPDATE = '{"update_id":1,"message":{"text":"привіт 👋"}}'
MIB = 1024 * 1024
# Sends what was printed so far; many a php.ini keeps the first 4096 bytes back otherwise.
FLUSH = "while (ob_get_level()) { ob_end_flush(); } flush();"
# What Telegram sends (tdlib/telegram-bot-api, WebhookActor.cpp), but for the permission to compress.
TELEGRAM_HEADERS = {
    "Host": "localhost",
    "X-Telegram-Bot-Api-Secret-Token": SECRET,
    "Content-Type": "application/json",
    "Connection": "keep-alive",
}


@pytest.fixture(scope="module")
def fpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhpFpm]:
    need(php_fpm_available())
    # As hosts have it.
    pool = "php_admin_value[opcache.revalidate_freq] = 0\nphp_flag[display_errors] = off"
    server = start_php_fpm(tmp_path_factory.mktemp("fpm"), pool=pool)
    yield server
    server.stop()


@pytest.fixture(params=MODES)
def bot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PhpBot]:
    """A bot that is run in each mode."""
    mode, _, version = request.param.partition("-")
    php = socket = ""
    if mode == "fpm":
        socket = str(request.getfixturevalue("fpm").socket)
    elif version:
        need(old_php_cgi_available())
        php = old_php_cgi(tmp_path)
    else:
        need(None if shutil.which("php-cgi") else "php-cgi is not installed")
    made = PhpBot(tmp_path, mode, php=php, fpm_socket=socket)
    yield made
    made.close()


def test_the_bot_finds_the_update_and_the_request(bot: PhpBot):
    runner = bot.runner(
        """
        $body = file_get_contents('php://input');
        echo json_encode(['body' => $body, 'length' => $_SERVER['CONTENT_LENGTH'], 'folder' => getcwd(),
            'method' => $_SERVER['REQUEST_METHOD'], 'get' => $_GET, 'post' => $_POST, 'https' => $_SERVER['HTTPS'],
            'secret' => $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN'], 'headers' => getallheaders(),
            'same' => getallheaders() === apache_request_headers(), 'token' => getenv('BOT_TOKEN'),
            'self' => $_SERVER['PHP_SELF'], 'file' => __FILE__, 'address' => $_SERVER['REMOTE_ADDR']]);
    """,
        secret=SECRET,
        environment={"BOT_TOKEN": "1:x"},
    )

    found = json.loads(outcome_of(runner, UPDATE).answer)

    headers = found.pop("headers")
    assert found == {
        "body": UPDATE,
        "length": str(len(UPDATE.encode())),
        "folder": str(bot.path.parent),
        "method": "POST",
        "get": [],
        "post": [],
        "https": "on",
        "secret": SECRET,
        "same": True,
        "token": "1:x",
        "self": "/bot.php",
        "file": str(bot.path),
        "address": "149.154.167.220",
    }
    assert {name: headers[name] for name in TELEGRAM_HEADERS} == TELEGRAM_HEADERS
    assert headers["Content-Length"] == found["length"]


@pytest.mark.parametrize(
    ("code", "kind", "cause", "retry_after_seconds"),
    [
        ("echo 'ok';", Kind.SUCCEEDED, "HTTP status 200", None),
        ("http_response_code(204);", Kind.SUCCEEDED, "HTTP status 204", None),
        ("http_response_code(500); echo 'no';", Kind.FAILED, "HTTP status 500", None),
        ("http_response_code(429); header('Retry-After: 7');", Kind.FAILED, "HTTP status 429", 7.0),
        ("header('HTTP/1.1 503 Busy'); header('Retry-After: 9');", Kind.FAILED, "HTTP status 503", 9.0),
        ("http_response_code(410);", Kind.FAILED_FOR_GOOD, "HTTP status 410: the bot refuses this update", None),
        ("header('Location: /x');", Kind.FAILED, "HTTP status 302: a redirect, which is not followed", None),
        # As for Telegram, which never learns of it.
        ("echo 'ok'; exit(1);", Kind.SUCCEEDED, "HTTP status 200", None),
    ],
)
def test_the_status_of_the_response_decides(
    bot: PhpBot, code: str, kind: Kind, cause: str, retry_after_seconds: float | None
):
    outcome = outcome_of(bot.runner(code), UPDATE)

    assert (outcome.kind, outcome.cause, outcome.retry_after_seconds) == (kind, cause, retry_after_seconds)


@pytest.mark.parametrize("shown", ["1", "0"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("throw new Exception('gave up');", "Uncaught Exception: gave up"),
        ("ini_set('memory_limit', '16M'); $s = str_repeat('x', 64 << 20);", "Allowed memory size of 16777216 bytes"),
        ("undefined_function();", "Call to undefined function undefined_function()"),
    ],
)
def test_a_bot_that_breaks_off_has_failed_and_the_next_update_is_run(bot: PhpBot, code: str, words: str, shown: str):
    """Given errors that are shown, with status 200, or only logged, with status 500."""
    prefix = f"ini_set('display_errors', '{shown}'); ini_set('log_errors', '1'); ini_set('error_log', '');"
    runner = bot.runner(prefix + code)

    outcome = outcome_of(runner, UPDATE)
    bot.write("echo 'fine';")

    assert outcome.kind is Kind.FAILED
    assert outcome.http_status == (200 if shown == "1" else 500)
    assert words in outcome.explanation()
    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_an_exception_with_a_long_stack_trace_is_a_failure_too(bot: PhpBot):
    """Given one longer than what is kept of an output, shown with status 200, as deep frameworks have them."""
    outcome = outcome_of(
        bot.runner("""
        ini_set('display_errors', '1'); ini_set('log_errors', '0');
        function deeper($n) { $n ? deeper($n - 1) : throw_it(); }
        function throw_it() { throw new Exception('gave up'); }
        deeper(150);
    """),
        UPDATE,
    )

    assert (outcome.kind, outcome.http_status) == (Kind.FAILED, 200)
    assert outcome.cause.lower().startswith("php fatal error: uncaught")  # old versions cut the trace by themselves


def test_a_bot_with_a_syntax_error_has_failed(bot: PhpBot):
    outcome = outcome_of(bot.runner("echo 'oops"), UPDATE)

    assert outcome.kind is Kind.FAILED


def test_what_a_bot_logs_or_prints_on_standard_error_is_kept_and_stays_off_our_terminal(
    bot: PhpBot, capfd: pytest.CaptureFixture[str]
):
    """PHP-FPM keeps its own process's standard error for its log."""
    outcome = outcome_of(
        bot.runner("""
        ini_set('log_errors', '1'); ini_set('error_log', '');
        error_log('logged'); file_put_contents('php://stderr', "on standard error\\n"); echo 'said';
    """),
        UPDATE,
    )

    assert outcome.output.startswith("said")
    assert "logged" in outcome.output
    if bot.mode != "fpm":
        assert "on standard error" in outcome.output
    assert outcome.answer == b"said"
    assert capfd.readouterr() == ("", "")


def test_a_binary_answer_arrives_as_it_is(bot: PhpBot):
    outcome = outcome_of(bot.runner("for ($i = 0; $i < 256; $i++) { echo chr($i); }"), UPDATE)

    assert outcome.answer == bytes(range(256))


def test_an_answer_is_never_compressed(bot: PhpBot):
    """Given a bot, or a php.ini, that compresses whenever the caller permits it."""
    outcome = outcome_of(bot.runner("ini_set('zlib.output_compression', '1'); echo str_repeat('plain ', 100);"), UPDATE)

    assert outcome.answer == b"plain " * 100


def test_a_mebibyte_goes_both_ways(bot: PhpBot):
    update = json.dumps({"update_id": 1, "text": "ї" * (MIB // 2 - 50)}, ensure_ascii=False)
    runner = bot.runner(
        "$body = file_get_contents('php://input'); echo md5($body); echo str_repeat('x', 1 << 20), 'the end';"
    )

    outcome = outcome_of(runner, update)

    assert outcome.succeeded
    assert outcome.output.endswith("xthe end")
    assert outcome.answer == b""  # larger than any method call
    bot.write("echo md5(file_get_contents('php://input'));")
    assert outcome_of(runner, update).answer.decode() == hashlib.md5(update.encode()).hexdigest()


@pytest.mark.parametrize("size", [10, MIB, 9 * MIB])
def test_an_update_that_the_bot_does_not_read_does_not_reach_the_next_run(bot: PhpBot, size: int):
    """Even one larger than PHP's post_max_size, which PHP itself does not read."""
    runner = bot.runner("echo 'not read';")

    outcomes = [outcome_of(runner, "x" * size) for _ in range(3)]
    bot.write("echo file_get_contents('php://input');")

    assert [outcome.answer.partition(b"not read")[1] for outcome in outcomes] == [b"not read"] * 3
    assert outcome_of(runner, UPDATE).answer == UPDATE.encode()


def test_a_flood_is_read_to_the_end_and_only_its_end_is_kept(bot: PhpBot):
    runner = bot.runner("""
        ini_set('log_errors', '1'); ini_set('error_log', ''); ini_set('log_errors_max_len', '0');
        $line = str_repeat('o', 65536); $noise = str_repeat('e', 8192);
        for ($i = 0; $i < 800; $i++) {
            echo $line; flush(); error_log($noise); file_put_contents('php://stderr', $line);
        }
        echo 'the end';
    """)

    outcome = outcome_of(runner, UPDATE)
    bot.write("echo 'fine';")

    assert outcome.succeeded
    assert "othe end" in outcome.output
    assert len(outcome.output) <= 3 * TAIL_BYTES + 2
    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_a_bot_over_its_time_is_ended_and_the_next_update_is_run(bot: PhpBot):
    """PHP-FPM ends nothing for us; there the message says so."""
    runner = bot.runner(f"echo 'so far'; {FLUSH} sleep(600);", timeout_seconds=3.0)

    outcome = outcome_of(runner, UPDATE)
    bot.write("echo 'fine';")

    assert outcome.kind is Kind.TIMED_OUT
    assert outcome.cause.startswith("stopped after 3 s (BOT_LEGACY_TIMEOUT)")
    assert outcome.output.endswith("so far")
    assert outcome.seconds < SOON_SECONDS
    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_a_bot_that_dies_of_a_signal_says_so_and_the_next_update_is_run(bot: PhpBot):
    runner = bot.runner(f"echo 'last words'; {FLUSH} posix_kill(getmypid(), 11); sleep(60);")

    outcome = outcome_of(runner, UPDATE)
    bot.write("echo 'fine';")

    assert outcome.kind is Kind.DIED
    assert ("the host's PHP closed the connection" if bot.mode == "fpm" else "SIGSEGV") in outcome.cause
    assert "last words" in outcome.output
    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_a_bot_that_recurses_for_ever_ends_and_the_next_update_is_run(bot: PhpBot):
    """Old versions of PHP crash on it, newer ones notice."""
    runner = bot.runner("ini_set('memory_limit', '-1'); function f() { array_map('f', [1]); } f();")

    outcome = outcome_of(runner, UPDATE)
    bot.write("echo 'fine';")

    assert outcome.kind in (Kind.DIED, Kind.FAILED)
    assert outcome_of(runner, UPDATE).answer == b"fine"


def test_a_new_version_of_the_bot_runs_at_once(bot: PhpBot):
    """Written over the old one, in the same size and within the same second, or put in its place."""
    runner = bot.runner("require 'part.php'; echo 'bot one';")
    (bot.path.parent / "part.php").write_text("<?php echo 'part one, ';")
    answers = [outcome_of(runner, UPDATE).answer for _ in range(3)]

    bot.write("require 'part.php'; echo 'bot two';")
    (bot.path.parent / "part.php").write_text("<?php echo 'part two, ';")
    answers.append(outcome_of(runner, UPDATE).answer)
    (bot.path.parent / "new.php").write_text("<?php echo 'bot three';")
    (bot.path.parent / "new.php").replace(bot.path)
    answers.append(outcome_of(runner, UPDATE).answer)

    assert answers == [b"part one, bot one"] * 3 + [b"part two, bot two", b"bot three"]


def test_the_example_bot_works_unchanged(bot: PhpBot, tmp_path: Path):
    shutil.copy(ROOT / "examples" / "bot.php", tmp_path / "bot.php")
    runner = bot.runner("")
    shutil.copy(ROOT / "examples" / "bot.php", bot.path)

    started, failed = (
        outcome_of(runner, (ROOT / "examples" / "updates" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("message-start", "message-fail")
    )

    assert started.succeeded
    assert json.loads(started.answer)["method"] == "sendMessage"
    assert (failed.kind, failed.http_status) == (Kind.FAILED, 500)


# Of this server and of the way it was asked; TLS, address and name are those of Telegram's call.
OF_THE_TEST = {
    "CONTEXT_DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "ORIG_PATH_INFO",
    "ORIG_PATH_TRANSLATED",
    "ORIG_SCRIPT_FILENAME",
    "ORIG_SCRIPT_NAME",
    "REDIRECT_HANDLER",
    "REDIRECT_URL",
    "SERVER_ADMIN",
    "SERVER_SIGNATURE",
    "HTTP_ACCEPT_ENCODING",
}
DIFFERENT = {
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_SCHEME",
    "SERVER_PORT",
    "SERVER_SOFTWARE",
    "REQUEST_TIME",
    "REQUEST_TIME_FLOAT",
}


@pytest.fixture
def site() -> Iterator[Path]:
    """A site as a panel lays it out. Not in tmp_path: pytest closes that to the web user when another run begins."""
    home = Path(tempfile.mkdtemp(prefix="hosts-"))
    home.chmod(0o711)
    (home / "public_html" / "shop").mkdir(parents=True)
    yield home / "public_html"
    shutil.rmtree(home)


def asked_by_apache(site: Path, path: str, update: bytes) -> bytes:
    """What the bot answers when Apache gives it Telegram's request."""
    apache = start_apache(site.parent / "apache", site=site, handler_php="cgi")
    connection = http.client.HTTPConnection(apache.url.rpartition("/")[2], timeout=60)
    try:
        connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
        headers = {**TELEGRAM_HEADERS, "Content-Length": str(len(update)), "Accept-Encoding": "gzip, deflate"}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(update)
        return connection.getresponse().read()
    finally:
        connection.close()
        apache.stop()


@pytest.mark.parametrize("mode", ["cgi", "resident"])
def test_the_bot_finds_what_apache_gives_it(site: Path, mode: str):
    need(apache_available(with_php=True))
    bot = PhpBot(site / "shop", mode)
    runner = bot.runner("echo json_encode($_SERVER);", secret=SECRET)

    ours = json.loads(outcome_of(runner, UPDATE).answer)
    bot.close()
    theirs = json.loads(asked_by_apache(site, "/shop/bot.php", UPDATE.encode()))

    assert sorted(set(theirs) - set(ours)) == sorted(OF_THE_TEST)
    assert set(ours) - set(theirs) <= {"HTTPS", "FCGI_ROLE", "PHP_FCGI_MAX_REQUESTS"}
    both = (set(ours) & set(theirs)) - DIFFERENT
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}
