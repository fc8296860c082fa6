"""Which way `auto` chooses for a PHP bot, and for which it chooses none and says why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable
from scalable.lib.runners.choose import BotSettings, decided
from scalable.lib.runners.php import find_php as finding
from scalable.lib.runners.php.find_php import CGI, CLI, forget_php
from tests.support.found_php import php_found_only_in
from tests.support.generators.bots import shell_bot

BODY = "$u = file_get_contents('php://input');"
HEADER = "$_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']"
ADDRESS = "https://example.com/bot.php?key=1"


class Host:
    """A host with these PHP programs, and a bot on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(
        self,
        name: str,
        interface: str,
        version: str = "8.2.1",
        extensions: str = "Core json",
        settings: str = "open_basedir => no value => no value",
    ) -> str:
        said = f"PHP {version} ({interface}) (built: today)"
        listed = "[PHP Modules]\\n" + extensions.replace(" ", "\\n")
        code = f"""case "$1" in
-v) echo "{said}" ;;
-m) printf '{listed}\\n' ;;
-i) echo "{settings}" ;;
-r) shift 3; for name; do echo "${{name}}_function"; done ;;
esac"""
        return str(shell_bot(self.folder, code, name))

    def decides(self, code: str, address: str = "", **settings: str) -> BotSettings:
        target = self.folder / "bot.php"
        target.write_text(f"<?php {code}")
        bot = BotSettings(
            str(target),
            settings.get("mode", "auto"),
            60.0,
            settings.get("php", ""),
            settings.get("socket", ""),
            settings.get("secret", ""),
            self.folder,
            query=settings.get("query", ""),
        )
        return decided(bot, own_address=lambda: address)

    def refuses(self, code: str, address: str = "", **settings: str) -> str:
        with pytest.raises(BotUnsuitable) as raised:
            self.decides(code, address, **settings)
        assert "\n" not in str(raised.value)
        assert "BOT_LEGACY_MODE" in str(raised.value), "what an owner can do who knows better"
        return str(raised.value)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with php_found_only_in(tmp_path, monkeypatch):
        yield Host(tmp_path)


# php-cgi of the site's own version, or the command-line program


def test_fastcgi_where_php_cgi_of_the_same_version_is_there(host: Host) -> None:
    host.has("php", CLI)
    php_cgi = host.has("php-cgi", CGI)

    chosen = host.decides(BODY)

    assert (chosen.chosen_mode, chosen.php_binary) == ("fastcgi", php_cgi)


@pytest.mark.parametrize("version", ["8.1.9", "7.4.33", "8.20.1"])
def test_php_cgi_of_another_version_is_not_taken(host: Host, version: str) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI, version)

    assert host.decides(BODY).chosen_mode == "cli"


def test_another_php_cgi_further_on_is_taken_when_it_is_of_the_version(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI, "8.1.9")
    right = host.has("php-cgi8.2", CGI, "8.2.7")
    monkeypatch.setattr(finding, "PATTERNS", (f"{str(host.folder).lstrip('/')}/{{name}}[0-9]*",))

    assert host.decides(BODY).php_binary == right


@pytest.mark.parametrize(
    ("code", "lacks", "mode"),
    [
        (BODY + "curl_function();", "curl", "cli"),
        (BODY + "\\mbstring_Function();", "mbstring", "cli"),
        (BODY + "new PDO($dsn);", "pdo_mysql", "cli"),
        (BODY + "require $unknown;", "intl", "cli"),
        (BODY + "json_function();", "curl", "fastcgi"),
        (BODY + "// curl_function()", "curl", "fastcgi"),
        (BODY + "require $unknown;", "readline pcntl", "fastcgi"),
    ],
)
def test_php_cgi_has_to_have_the_extensions_that_the_bot_uses(host: Host, code: str, lacks: str, mode: str) -> None:
    host.has("php", CLI, extensions=f"Core json {lacks}")
    host.has("php-cgi", CGI)

    assert host.decides(code).chosen_mode == mode


def test_a_bot_that_reads_standard_input_is_run_as_a_program_as_it_was_in_1_0(host: Host) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI)

    assert host.decides("$u = stream_get_contents(STDIN);").chosen_mode == "cli"
    assert host.decides(f"$u = stream_get_contents(STDIN) ?: {BODY}").chosen_mode == "cli"


@pytest.mark.parametrize(
    "settings", ["disable_functions => rewind,exec => x", "open_basedir => /absent => /absent", ""]
)
def test_where_php_does_not_take_the_prelude_a_bot_that_reads_its_request_is_held(host: Host, settings: str) -> None:
    host.has("php", CLI, settings=settings)

    with pytest.raises(BotUnsuitable, match="would not find its update in php://input"):
        host.decides(BODY)
    with pytest.raises(BotUnsuitable, match="would not find its update in php://input"):
        host.decides(f"if (empty($_SERVER['REQUEST_METHOD'])) {{ echo fgets(STDIN); exit; }} {BODY}")
    assert host.decides("$u = stream_get_contents(STDIN);").chosen_mode == "cli"
    assert host.decides(f"$u = stream_get_contents(STDIN) ?: {BODY}").chosen_mode == "cli"


def test_the_owners_socket_is_used(host: Host) -> None:
    host.has("php", CLI)

    assert host.decides("if (PHP_SAPI !== 'fpm-fcgi') exit;" + BODY, socket="/run/fpm.sock").chosen_mode == "fastcgi"


def test_php_cgi_alone_is_enough(host: Host) -> None:
    php = host.has("php-cgi", CGI)

    assert host.decides(BODY).php_binary == php
    assert host.decides(BODY, php=php).chosen_mode == "fastcgi"


def test_without_any_php_the_runner_says_so(host: Host) -> None:
    assert host.decides(BODY).chosen_mode == "cli"


def test_a_mode_that_the_owner_named_stays(host: Host) -> None:
    assert host.decides("while (1) getUpdates();", mode="cli").chosen_mode == "cli"


# A bot that insists on its web server


@pytest.mark.parametrize(
    "code",
    ["if (PHP_SAPI === 'cli') exit;", "php_sapi_name() == 'cli' and die;", "$web = substr(PHP_SAPI, 0, 3) != 'cli';"],
)
def test_a_bot_that_is_not_for_a_shell_is_run_by_php_cgi_or_at_its_address(host: Host, code: str) -> None:
    host.has("php", CLI)

    chosen = host.decides(code + BODY, ADDRESS)
    assert (chosen.chosen_mode, chosen.target) == ("http", ADDRESS)
    assert "asks which interface PHP has (bot.php, line 1)" in host.refuses(code + BODY)

    host.has("php-cgi", CGI)
    forget_php()
    assert host.decides(code + BODY, ADDRESS).chosen_mode == "fastcgi"


@pytest.mark.parametrize("name", ["fpm-fcgi", "apache2handler", "litespeed"])
def test_a_bot_that_names_another_web_interface_is_not_given_php_cgi(host: Host, name: str) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI)
    code = f"if (PHP_SAPI !== '{name}') exit;" + BODY

    assert host.decides(code, ADDRESS).chosen_mode == "http"
    assert "BOT_LEGACY_PATH to its address" in host.refuses(code)


def test_a_bot_that_takes_php_cgi_among_others_is_given_it(host: Host) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI)

    assert host.decides("in_array(PHP_SAPI, ['fpm-fcgi', 'cgi-fcgi']) or die;" + BODY).chosen_mode == "fastcgi"


def test_a_bot_that_is_made_for_shells_too_runs_in_one(host: Host) -> None:
    host.has("php", CLI)

    assert host.decides(BODY + "if (PHP_SAPI === 'cli') $u = file_get_contents('php://stdin');").chosen_mode == "cli"


def test_a_branch_on_the_method_is_right_everywhere(host: Host) -> None:
    host.has("php", CLI)

    assert host.decides("if ($_SERVER['REQUEST_METHOD'] !== 'POST') setWebhook();" + BODY).chosen_mode == "cli"


# A bot that asks whether it was started by hand

MENU = "echo '1) set the webhook'; if (trim(fgets(STDIN)) === '1') setWebhook();"
CONSOLES = {
    "a menu": f"if (PHP_SAPI === 'cli') {{ {MENU} exit; }} {BODY}",
    "a menu or else the update": f"if (php_sapi_name() == 'cli') {{ {MENU} }} else {{ {BODY} run($u); }}",
    "the update, then a menu": f"if (PHP_SAPI !== 'cli') {{ {BODY} run($u); exit; }} {MENU}",
    "by a constant": f"if (defined('STDIN')) {{ {MENU} exit; }} {BODY}",
    "by its arguments": f"if (isset($argv)) {{ {MENU} exit; }} {BODY}",
    "a menu and a way for shells": f"if (PHP_SAPI === 'cli' && posix_isatty(STDIN)) {{ {MENU} exit; }}"
    f"$u = PHP_SAPI === 'cli' ? stream_get_contents(STDIN) : {BODY}",
    "a menu and an unknown library": f"require $x; if (PHP_SAPI === 'cli') {{ {MENU} exit; }} $bot->run();",
    "without a menu": f"if (defined('STDIN')) {{ setWebhook(); exit; }} {BODY}",
}


@pytest.mark.parametrize("code", CONSOLES.values(), ids=CONSOLES)
def test_a_bot_whose_shell_is_for_its_owner_gets_its_updates_as_from_a_web_server(host: Host, code: str) -> None:
    host.has("php", CLI)

    assert "asks which interface PHP has (bot.php, line 1)" in host.refuses(code)
    assert host.decides(code, ADDRESS).chosen_mode == "http"
    assert host.decides(code, socket="/run/fpm.sock").chosen_mode == "fastcgi"
    host.has("php-cgi", CGI)
    forget_php()
    assert host.decides(code).chosen_mode == "fastcgi"


PROGRAMS = {
    "plain": "$u = json_decode(file_get_contents('php://stdin'));",
    "lines": "while (($line = fgets(STDIN)) !== false) { $raw .= $line; }",
    "either": f"$u = stream_get_contents(STDIN) ?: {BODY}",
    "in a shell": f"$raw = PHP_SAPI === 'cli' ? file_get_contents('php://stdin') : {BODY}",
    "where nothing was posted": f"{BODY} if (!$u && PHP_SAPI === 'cli') {{ $u = stream_get_contents(STDIN); }}",
    "in a shell alone": "if (PHP_SAPI !== 'cli') exit('no'); $u = stream_get_contents(STDIN); run($u);",
    "in a shell alone, however": f"PHP_SAPI === 'cli' or die; {BODY} run($u ?: stream_get_contents(STDIN));",
    "in a shell alone, with a library": "require $x; if (PHP_SAPI !== 'cli') exit; run(stream_get_contents(STDIN));",
    "in a block": "if (PHP_SAPI === 'cli') { $u = stream_get_contents(STDIN); run($u); }",
}


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_a_bot_that_takes_its_update_in_a_shell_is_run_as_a_program(host: Host, code: str) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI)

    assert host.decides(code).chosen_mode == "cli"


@pytest.mark.parametrize(
    "code",
    [
        "require $x; if (PHP_SAPI === 'cli') { $u = stream_get_contents(STDIN); run($u); }",
        f"require $x; if (defined('STDIN')) {{ {MENU} }} else {{ (new Bot())->handle(); }}",
        f"if (PHP_SAPI !== 'cli') exit; if (isset($argv)) {{ {MENU} exit; }} {BODY}",
    ],
)
def test_where_it_cannot_be_told_what_its_shell_is_for_nothing_is_run(host: Host, code: str) -> None:
    host.has("php", CLI)
    host.has("php-cgi", CGI)

    assert "it cannot be told whether it takes an update there" in host.refuses(code)
    assert host.decides(code, mode="cli").chosen_mode == "cli"


# Bots that would do nothing


@pytest.mark.parametrize(
    "code",
    [
        "while (true) { foreach ($bot->getUpdates() as $u) run($u); }",
        "require __DIR__ . '/absent.php'; $telegram->handleGetUpdates();",
        'for (;;) json_decode(file_get_contents("$api/getUpdates?offset=$o"));',
    ],
)
def test_a_long_polling_bot_is_not_run(host: Host, code: str) -> None:
    assert "fetches its updates itself (getUpdates in bot.php, line 1)" in host.refuses(code)
    assert host.decides(code + BODY).chosen_mode == "cli"


@pytest.mark.parametrize(
    "mine", [f"if (({HEADER} ?? '') !== 'mine') exit;", f"$s = 'mine'; hash_equals($s, {HEADER}) or die;"]
)
def test_f4_a_bot_that_would_refuse_the_secret_is_not_run_and_neither_is_shown(host: Host, mine: str) -> None:
    host.has("php", CLI)

    for secret, seen in (("", "is empty"), ("other-secret", "is another one")):
        refused = host.refuses(mine + BODY, secret=secret)
        assert f"BOT_WEBHOOK_SECRET {seen}" in refused
        assert "mine" not in refused
        assert "other-secret" not in refused
    assert host.decides(mine + BODY, secret="mine").chosen_mode == "cli"


def test_f4_a_secret_that_is_elsewhere_has_to_be_set(host: Host) -> None:
    code = f"if ({HEADER} !== getenv('SECRET')) exit;" + BODY

    assert "not in its source, and BOT_WEBHOOK_SECRET is empty" in host.refuses(code)
    assert host.decides(code, secret="any").chosen_mode == "cli"


@pytest.mark.parametrize(
    ("code", "keys"),
    [
        ("if(($_GET['s']??'')!=='k')exit;", "?s=…"),
        ("if (empty($_REQUEST['a']) || $_GET['b'] != 1) { http_response_code(403); die; }", "?a=…&b=…"),
        ("if (!isset($_GET['token'])) exit;", "?token=…"),
    ],
)
def test_f2_a_bot_that_does_nothing_without_its_query_is_not_run_without_one(host: Host, code: str, keys: str) -> None:
    assert f"BOT_LEGACY_PATH=…/bot.php{keys}" in host.refuses(code + BODY)
    assert host.decides(code + BODY, query="s=k").chosen_mode == "cli"


@pytest.mark.parametrize(
    ("code", "query"),
    [
        ("if (!filter_input(INPUT_GET, 'token')) exit;", "token=k"),
        ("parse_str(getenv('QUERY_STRING'), $q); if ($q['token'] !== 'k') exit;", "token=k"),
        ("if (filter_input(INPUT_SERVER, 'REQUEST_METHOD') !== 'POST') exit;", ""),
        ("if (!getenv('REMOTE_ADDR')) exit;", ""),
    ],
)
def test_f2_a_bot_that_reads_its_request_where_a_program_has_none_is_given_it_elsewhere(
    host: Host, code: str, query: str
) -> None:
    """F2: and F1's kind, PHP's `cli` has no request for getenv() and filter_input()."""
    host.has("php", CLI)

    assert "reads its request by getenv or filter_input (bot.php, line 1)" in host.refuses(code + BODY, query=query)
    assert host.decides(code + BODY, ADDRESS, query=query).chosen_mode == "http"

    host.has("php-cgi", CGI)
    forget_php()
    assert host.decides(code + BODY, query=query).chosen_mode == "fastcgi"


def test_f2_a_page_for_its_owner_that_asks_for_a_query_is_no_reason_to_hold_a_bot_that_has_none(host: Host) -> None:
    """F2: without a query PHP's `cli` says the same as a web server."""
    host.has("php", CLI)

    assert host.decides("if (filter_input(INPUT_GET, 'setup')) setup();" + BODY).chosen_mode == "cli"


@pytest.mark.parametrize(
    ("shell", "mode"),
    [
        ("if (PHP_SAPI === 'cli') { echo 'Token: '; save(fgets(STDIN)); exit; }", "fastcgi"),
        (f"if (isset($argv[1])) {{ {MENU} exit; }}", "fastcgi"),
        ("if (PHP_SAPI === 'cli') { run(json_decode(fgets(STDIN))); exit; }", "fastcgi"),
        ("if (PHP_SAPI === 'cli') { $u = stream_get_contents(STDIN); }", "cli"),
    ],
)
def test_f14_where_a_person_is_asked_in_a_shell_no_update_is_given(host: Host, shell: str, mode: str) -> None:
    """F14: a bot that a web server runs as well is run as by one, unless it goes on after the shell."""
    host.has("php", CLI)
    host.has("php-cgi", CGI)

    assert host.decides(shell + BODY).chosen_mode == mode
