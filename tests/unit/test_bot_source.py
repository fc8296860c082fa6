"""What the source of a PHP bot says of how it wants to be run, and what only looks as if it did."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.php import bot_source
from scalable.lib.runners.php.bot_source import BotSource, read_bot_source
from scalable.lib.runners.php.source_signs import Signs
from tests.support.places import REPOSITORY

BODY = "file_get_contents('php://input');"
HEADER = "$_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']"


def read(folder: Path, bot: str, **files: str) -> BotSource:
    """Of a bot with these files: lib_php="…" is lib.php, sub__lib_php is sub/lib.php."""
    for name, source in {"bot_php": bot, **files}.items():
        file = folder / name.replace("__", "/").replace("_php", ".php")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return read_bot_source(folder / "bot.php")


def signs(folder: Path, code: str) -> Signs:
    return read(folder, f"<?php {code}").signs


# F1: a bot that reads its update in a file it includes


@pytest.mark.parametrize(
    "include",
    [
        'require __DIR__."/lib.php";',
        "require_once(__DIR__ . '/lib.php');",
        "include 'lib.php';",
        "@include_once './lib.php';",
        "require dirname(__FILE__).'/lib.php';",
        "require dirname(__DIR__) . '/' . 'site/lib.php';",
        "require dirname(__FILE__, 2) . '/site/lib.php';",
        "define('ROOT', __DIR__ . '/'); require ROOT . 'lib.php';",
        "const ROOT = __DIR__; require ROOT.'/lib.php';",
        "$root = realpath(__DIR__); require $root . DIRECTORY_SEPARATOR . 'lib.php';",
        "require $_SERVER['DOCUMENT_ROOT'] . '/site/lib.php';",
        "if (true) { require \\__DIR__ . '/lib.php'; }",
        "require __DIR__ . '/a.php';",
    ],
)
def test_f1_what_an_included_file_reads_is_read(tmp_path: Path, include: str):
    lib = f"<?php $update = {BODY}"

    source = read(tmp_path / "site", f"<?php {include}", lib_php=lib, a_php="<?php require 'lib.php';")

    assert source.signs.body is not None
    assert source.signs.body.file == "lib.php"
    assert source.is_complete


def test_f1_behind_an_autoloader_not_everything_can_be_told(tmp_path: Path):
    autoload = "<?php spl_autoload_register(function ($class) { require __DIR__ . '/' . $class . '.php'; });"

    bot = "<?php require __DIR__.'/vendor/autoload.php'; (new Bot)->run();"
    source = read(tmp_path, bot, vendor__autoload_php=autoload)

    assert not source.is_complete
    assert source.signs.body is None


@pytest.mark.parametrize(
    "include",
    ["require $name;", "require __DIR__ . '/absent.php';", 'foreach ($a as $b) require "$b.php";', "eval($code);"],
)
def test_an_include_that_cannot_be_told_makes_the_source_incomplete(tmp_path: Path, include: str):
    assert not read(tmp_path, f"<?php {include}").is_complete


def test_files_that_include_each_other_are_read_once(tmp_path: Path):
    source = read(tmp_path, "<?php require 'a.php';", a_php=f"<?php require 'bot.php'; {BODY}")

    assert source.is_complete
    assert str(source.signs.body) == "a.php, line 1"


def test_a_bot_larger_than_is_read_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bot_source, "MAX_BYTES", 200)

    long = "<?php " + "x();" * 50
    source = read(tmp_path, "<?php require 'a.php'; require 'b.php';", a_php=long, b_php=f"<?php {BODY}")

    assert not source.is_complete
    assert source.signs.body is not None, "what fits is read"


@pytest.mark.parametrize(
    "code",
    [
        "// file_get_contents('php://input')",
        "/* STDIN php://input $_GET['s'] getUpdates() PHP_SAPI */",
        "echo 'read php://input yourself';",
        "#[Reads('php://input')]\nfunction f() {}",
        "$x->STDINs(); $stdin = 1; $PHP_SAPI = 2; $get['s'];",
        "class A { function getUpdates() {} function setWebhook() {} }",
        "?> php://input <?php __halt_compiler(); 'php://input'",
        "$text = 'Use getUpdates or setWebhook of the Bot API';",
    ],
)
def test_what_is_only_written_there_is_no_sign(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert (found.body, found.stdin, found.query, found.polls, found.sets_webhook, found.interface) == (
        None, None, {}, None, None, None
    )  # fmt: skip


@pytest.mark.parametrize("code", ["fopen('php://stdin', 'r');", "fgets(STDIN);", 'file("PHP://STDIN");'])
def test_standard_input_is_seen(tmp_path: Path, code: str):
    assert str(signs(tmp_path, f"\n{code}").stdin) == "bot.php, line 2"


# F2: a bot that wants its query


@pytest.mark.parametrize(
    ("code", "keys"),
    [
        ('if(($_GET["s"]??"")!=="k")exit;', ["s"]),
        ("$a = $_REQUEST['a'] . $_GET['b'];", ["a", "b"]),
        ("filter_input(INPUT_GET, 'token');", ["token"]),
        ('echo "key=$_GET[key]";', ["key"]),
        ("parse_str($_SERVER['QUERY_STRING'], $q);", [""]),
        ("extract($_GET);", [""]),
        ("$_GET[$name];", [""]),
    ],
)
def test_f2_what_it_reads_of_the_query_is_named(tmp_path: Path, code: str, keys: list[str]):
    assert list(signs(tmp_path, code).query) == keys


@pytest.mark.parametrize(
    "code",
    [
        'if(($_GET["s"]??"")!=="k")exit;',
        "if (empty($_GET['s'])) { http_response_code(403); echo 'no'; exit; }",
        "if (!isset($_REQUEST['s']) || $_REQUEST['s'] != KEY) { die('no'); }",
        "if (!hash_equals('k', filter_input(INPUT_GET, 's'))) return;",
        "if ($_GET['s'] === 'k') { $u = file_get_contents('php://input'); }",
    ],
)
def test_f2_it_is_seen_that_nothing_is_done_without_the_query(tmp_path: Path, code: str):
    assert str(signs(tmp_path, code).query_gate) == "bot.php, line 1"


@pytest.mark.parametrize(
    "code",
    [
        "if (isset($_GET['setup'])) { setWebhook(); exit; }",
        "if (($_GET['debug'] ?? '') === '1') { ini_set('display_errors', 1); }",
        "$mode = $_GET['mode'] ?? 'bot';",
        "if (!$update) exit; echo $_GET['x'];",
    ],
)
def test_a_query_that_only_adds_something_is_no_gate(tmp_path: Path, code: str):
    assert signs(tmp_path, code + BODY).query_gate is None


# F4: a bot that compares the secret token itself


@pytest.mark.parametrize(
    "code",
    [
        'if(($_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"]??"")!=="mine")exit;',
        f"if ('mine' == {HEADER}) run();",
        f"hash_equals('mine', {HEADER} ?? '') or die;",
        f"const SECRET = 'mine'; if ({HEADER} !== SECRET) exit;",
        f"define('SECRET', 'mine'); if (SECRET !== {HEADER}) exit;",
        f"$s = 'mi' . 'ne'; $h = {HEADER} ?? null; if ($h !== $s) {{ http_response_code(401); exit; }}",
        f"class C {{ const KEY = 'mine'; }} if (C::KEY !== {HEADER}) exit;",
        "$h = getallheaders(); if ($h['X-Telegram-Bot-Api-Secret-Token'] != 'mine') exit;",
        f"if (!in_array({HEADER}, ['mine'], true)) exit;",
        f"if (!isset({HEADER}) || {HEADER} !== 'mine') exit;",
    ],
)
def test_f4_the_secret_it_compares_is_found(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert found.secret is not None
    assert found.secret_values == {"mine"}
    assert "mine" not in repr(read(tmp_path, f"<?php {code}"))


def test_f4_a_secret_of_an_included_file_is_found(tmp_path: Path):
    bot = f"<?php require 'config.php'; if ({HEADER} !== $secret) exit;"

    assert read(tmp_path, bot, config_php="<?php $secret = 'mine';").signs.secret_values == {"mine"}


@pytest.mark.parametrize(
    "code",
    [
        f"if ({HEADER} !== getenv('SECRET')) exit;",
        f"if ({HEADER} !== $config['secret']) exit;",
        f"$s = 'a'; if ($test) $s = 'b'; if ({HEADER} !== $s) exit;",
        f"if (({HEADER} ?? '') === '') exit;",
        f'if ({HEADER} !== "$prefix-x") exit;',
    ],
)
def test_f4_a_secret_that_is_not_in_the_source_is_not_made_up(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert found.secret is not None
    assert found.secret_values == set()


def test_what_a_library_compares_is_not_the_bots(tmp_path: Path):
    lib = f"<?php if ({HEADER} !== 'mine') exit; PHP_SAPI === 'cli'; fgets(STDIN); $_GET['s']; {BODY}"

    found = read(tmp_path, "<?php require 'vendor/a.php';", vendor__a_php=lib).signs

    assert (found.secret, found.secret_values) == (None, set())
    assert (found.interface, found.stdin, found.query) == (None, None, {})
    assert found.body is not None, "but where it reads the update, it does so for the bot"


# F14: a bot that calls setWebhook


@pytest.mark.parametrize(
    "code",
    [
        "$bot->setWebhook(['url' => $url]);",
        'file_get_contents("https://api.telegram.org/bot$token/setWebhook?url=x");',
        "api('setWebhook', $p);",
        "curl_init(API . '/setwebhook');",
    ],
)
def test_f14_a_call_of_setwebhook_is_seen(tmp_path: Path, code: str):
    found = signs(tmp_path, f"if ($_SERVER['REQUEST_METHOD'] !== 'POST') {{ {code} }}")

    assert found.sets_webhook is not None
    assert found.method is not None


@pytest.mark.parametrize(
    "code",
    [
        "while (true) { foreach ($bot->getUpdates($o) as $u) { run($u); } }",
        'while (1) { $r = file_get_contents("https://api.telegram.org/bot$token/getUpdates?offset=$o"); }',
        "$telegram->handleGetUpdates();",
        "for (;;) { $r = call('getUpdates', ['timeout' => 30]); }",
    ],
)
def test_long_polling_is_seen(tmp_path: Path, code: str):
    assert signs(tmp_path, code).polls is not None


@pytest.mark.parametrize(
    ("code", "interfaces"),
    [
        ("if (PHP_SAPI === 'cli') exit;", {"cli"}),
        ('if (php_sapi_name() == "cli") die;', {"cli"}),
        ("if (in_array(\\PHP_SAPI, ['fpm-fcgi', 'apache2handler'], true)) run('x');", {"fpm-fcgi", "apache2handler"}),
        ("switch (php_sapi_name()) { case 'cli': exit; case 'litespeed': run(); }", {"cli", "litespeed"}),
        ("if (substr(PHP_SAPI, 0, 3) === 'cgi') run('cli');", {"cgi"}),
        ("$sapi = PHP_SAPI;", set()),
    ],
)
def test_the_interfaces_it_asks_for_are_seen(tmp_path: Path, code: str, interfaces: set[str]):
    found = signs(tmp_path, code)

    assert found.interface is not None
    assert found.interfaces >= interfaces
    assert len(found.interfaces) <= len(interfaces) + 1


def test_a_source_is_current_until_one_of_its_files_changes_or_comes(tmp_path: Path):
    source = read(tmp_path, "<?php require 'a.php'; include 'b.php';", a_php="<?php ")
    assert source.is_current

    (tmp_path / "b.php").write_text("<?php ")
    assert not source.is_current

    source = read_bot_source(tmp_path / "bot.php")
    (tmp_path / "a.php").write_text(f"<?php {BODY}")
    assert not source.is_current


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"<?php '\xe9" + BODY.encode(), b"<?php " + b"(" * 10000])
def test_whatever_is_in_the_file_it_is_read_without_an_error(tmp_path: Path, content: bytes):
    (tmp_path / "bot.php").write_bytes(content)

    read_bot_source(tmp_path / "bot.php")


def test_a_bot_that_is_not_there_says_nothing(tmp_path: Path):
    source = read_bot_source(tmp_path / "bot.php")

    assert not source.is_complete
    assert source.signs == Signs()


def test_the_example_reads_the_request_and_standard_input():
    found = read_bot_source(REPOSITORY / "examples" / "bot.php").signs

    assert found.body is not None
    assert found.stdin is not None
    assert found.interfaces == {"cli"}
    assert (found.polls, found.secret, found.query) == (None, None, {})
