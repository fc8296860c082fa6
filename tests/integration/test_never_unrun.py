"""F1, F2, F4 and F14 with real PHP: what `auto` lets run has its update, whatever it asks first; else it is held.

Each bot is one that ends without a word when it is not asked as it expects, so "done" would be a lie. Each is tried on
a host with php-cgi, and on one that has PHP's command-line program alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable
from scalable.lib.runners.choose import BotSettings, create_runner
from scalable.lib.runners.outcome import Kind
from scalable.lib.setup.webhook_secret import secret_to_write
from tests.support.found_php import php_found_only_in
from tests.support.generators.bots import outcome_of
from tests.support.need import need

UPDATE = '{"update_id":1}'
RAN = 'file_put_contents(BOT."/ran", file_get_contents("php://input"), FILE_APPEND);'
HEADER = '$_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"]'
SETS = "{ touch(BOT.'/set'); exit('webhook set'); }"
LOADER = 'spl_autoload_register(function ($c) { require __DIR__."/".basename(strtr($c, "\\\\", "/")).".php"; });'


class Host:
    """A bot's folder, and PHP: `php` alone, or php-cgi as well."""

    def __init__(self, folder: Path) -> None:
        self.bot = folder / "site" / "bot.php"
        self.scalable = folder / "site" / "scalable"
        self.data = folder / "data"
        self.scalable.mkdir(parents=True)
        self.data.mkdir(mode=0o700)

    def ends(self, code: str, query: str = "", secret: str = "", **files: str) -> str:
        """`ran` or `held`; what else it did instead. Files as in lib_php="…"."""
        define = f"define('BOT', '{self.bot.parent}');"
        for name, text in {"bot_php": f"{define} {code}", **files}.items():
            self.bot.with_name(name.replace("_php", ".php")).write_text(f"<?php {text}")
        bot = BotSettings(str(self.bot), "auto", 60.0, "", "", secret, self.data, query=query)
        runner = create_runner(bot, {})
        try:
            outcome = outcome_of(runner, UPDATE)
        except BotUnsuitable as problem:
            return f"held: {problem}"
        finally:
            runner.close()
        assert outcome.kind is Kind.SUCCEEDED, outcome.explanation()
        ran, is_set = self.bot.with_name("ran"), self.bot.with_name("set").exists()
        return "set" if is_set else "ran" if ran.exists() and ran.read_text() == UPDATE else "done unrun"

    def secret(self) -> str:
        """What `init` writes of BOT_WEBHOOK_SECRET for the bot, when nobody can be asked."""
        made = secret_to_write({"BOT_LEGACY_PATH": str(self.bot)}, self.scalable)
        return "one that init made up" if made.token == "" else made.token or ""


@pytest.fixture(params=["php-cgi", "php alone"])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    need(None if shutil.which("php") and shutil.which("php-cgi") else "php and php-cgi are not installed")
    programs = None
    if request.param == "php alone":
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "php").symlink_to(str(shutil.which("php")))
    with php_found_only_in(programs, monkeypatch):
        yield Host(tmp_path)


INCLUDES = [
    "define('ROOT', __DIR__); require ROOT.'/lib.php';",
    "require __DIR__.'/lib.php';",
    "include_once dirname(__FILE__).'/lib.php';",
    "set_include_path(__DIR__); require 'lib.php';",
    "chdir(__DIR__); require './lib.php';",
    '$name = "lib"; require "$name.php";',
    "foreach (glob(__DIR__.'/li*.php') as $file) { require $file; }",
    "require dirname($_SERVER['SCRIPT_FILENAME']).'/lib.php';",
    f"{LOADER} new Lib;",
]


@pytest.mark.parametrize("include", INCLUDES)
def test_f1_a_bot_whose_library_reads_the_update_runs(host: Host, include: str) -> None:
    """F1: however it includes it."""
    assert host.ends(include, lib_php=f"{RAN} class Lib {{}}", Lib_php=f"{RAN} class Lib {{}}") == "ran"


@pytest.mark.parametrize(
    "ask",
    [
        "if (PHP_SAPI === 'cli') exit;",
        "if (strpos(php_sapi_name(), 'cli') !== false) exit;",
        "define('SHELL', PHP_SAPI === 'cli'); if (SHELL) exit;",
        "if (constant('PHP_SAPI') == 'cli') exit;",
        "if (defined('STDIN')) exit;",
        "if (isset($argv)) exit;",
        "if (!empty($_SERVER['argc'])) exit;",
        "if (http_response_code() === false) exit;",
        "if (getenv('REQUEST_METHOD') !== 'POST') exit;",
        "if (!getenv('HTTP_HOST')) exit;",
        "if (filter_input(INPUT_SERVER, 'REQUEST_METHOD') !== 'POST') exit;",
        "if (empty($_SERVER['CONTENT_LENGTH']) || $_SERVER['CONTENT_TYPE'] !== 'application/json') exit;",
        "if (!isset($_SERVER['REMOTE_ADDR'], $_SERVER['HTTP_HOST'], $_SERVER['GATEWAY_INTERFACE'])) exit;",
    ],
)
def test_f1_a_bot_that_wants_its_web_server_runs_or_is_held(host: Host, ask: str) -> None:
    """F1: of the kind, a bot that sees another request than it expects."""
    assert host.ends(f"{ask} {RAN}").partition(":")[0] in ("ran", "held")


@pytest.mark.parametrize(
    ("code", "lib"),
    [
        (f"{LOADER} new Lib;", f"class Lib {{}} if (PHP_SAPI === 'cli') exit; {RAN}"),
        (f"{LOADER} App\\Lib::run();", f"namespace App; class Lib {{ static function run() {{ {RAN} }} }}"),
        ("foreach (['Lib'] as $f) { require $f.'.php'; }", f"if (PHP_SAPI === 'cli') exit; {RAN}"),
        (
            f"{LOADER} (new Lib)->run();",
            f"class Lib {{ function run() {{ if (isset($_SERVER['argv'])) exit; {RAN} }} }}",
        ),
    ],
)
def test_f1_what_a_bot_includes_by_a_name_is_asked_too(host: Host, code: str, lib: str) -> None:
    """F1: behind an autoloader, and by a path made of a variable."""
    assert host.ends(code, Lib_php=lib).partition(":")[0] in ("ran", "held")


GATES = [
    'if(($_GET["s"]??"")!=="k")exit;',
    "if (filter_input(INPUT_GET, 's') !== 'k') exit;",
    "$q = filter_input_array(INPUT_GET); if (($q['s'] ?? '') !== 'k') exit;",
    "if (!filter_has_var(INPUT_GET, 's')) exit;",
    "if (!isset($_REQUEST['s'])) die('no');",
    "parse_str((string) getenv('QUERY_STRING'), $q); if (($q['s'] ?? '') !== 'k') exit;",
    "parse_str($_SERVER['QUERY_STRING'], $q); if (($q['s'] ?? '') !== 'k') exit;",
    "if ($_SERVER['QUERY_STRING'] !== 's=k') exit;",
    "$s = isset($_GET['s']) ? $_GET['s'] : null; if ($s != 'k') { exit; }",
    "isset($_GET['s']) && $_GET['s'] === 'k' or die;",
    "hash_equals('k', $_GET['s'] ?? '') || exit;",
    "function ok() { return ($_GET['s'] ?? '') === 'k'; } if (!ok()) exit;",
    "$s = trim(strtolower((string) @$_GET['s'])); if (!$s) exit('no');",
    "if (count($_GET) == 0) exit;",
    "extract($_GET); if (($s ?? '') !== 'k') exit;",
    "$ok = ($_GET['s'] ?? '') == 'k' ? true : false; if (!$ok) exit;",
    "if (($GLOBALS['_GET']['s'] ?? '') !== 'k') exit;",
    "class Bot { function __construct() { if (($_GET['s'] ?? '') !== 'k') exit; } } new Bot;",
]


@pytest.mark.parametrize("gate", GATES)
def test_f2_a_bot_with_a_key_in_its_address_is_held_until_it_is_told(host: Host, gate: str) -> None:
    """F2: with the query it runs, without it it is held, whatever it reads it by."""
    assert host.ends(f"{gate} {RAN}").startswith("held: the bot does nothing without its query")

    with_its_query = host.ends(f"{gate} {RAN}", query="s=k")
    assert with_its_query == "ran" or "reads its request by getenv or filter_input" in with_its_query


@pytest.mark.parametrize(
    "work",
    [
        f"if (($_GET['a'] ?? '') === 'hook') {{ {RAN} }}",
        f"if (isset($_GET['a'])) {{ run(); }} else {{ echo 'hello'; }} function run() {{ {RAN} }}",
        f"switch ($_GET['a'] ?? '') {{ case 'hook': {RAN} break; default: echo 'hello'; }}",
        f"match ($_REQUEST['a'] ?? '') {{ 'hook' => run(), default => null }}; function run() {{ {RAN} }}",
        "if (!empty($_GET['a'])) require __DIR__.'/lib.php';",
    ],
)
def test_f2_a_bot_whose_work_is_one_of_several_pages_is_held_until_it_is_told_which(host: Host, work: str) -> None:
    """F2: of the kind, the query chooses what the script does."""
    assert host.ends(work, lib_php=RAN).startswith("held: the bot does nothing without its query")
    assert host.ends(work, query="a=hook", lib_php=RAN) == "ran"


@pytest.mark.parametrize(
    "extra",
    [
        f"if (isset($_GET['setup'])) {SETS}",
        f"if (($_GET['do'] ?? '') == 'set' && ($_GET['key'] ?? '') === 'k') {SETS}",
        "$page = $_GET['page'] ?? 'bot'; if ($page !== 'bot') exit;",
        "switch ($_GET['do'] ?? '') { case 'info': exit('info'); default: break; }",
        "if (!empty($_REQUEST['debug']) or isset($_GET['log'])) error_log('debug');",
        "function page() { if (!isset($_GET['page'])) return 1; return (int) $_GET['page']; }",
        "isset($_GET['off']) and exit;",
    ],
)
def test_f2_a_query_that_only_adds_something_keeps_no_bot_from_its_update(host: Host, extra: str) -> None:
    """F2: the other way round."""
    assert host.ends(f"{extra} {RAN}") == "ran"


COMPARES = [
    f'if(({HEADER}??"")!=="mine")exit;',
    "$h = getallheaders(); if (($h['X-Telegram-Bot-Api-Secret-Token'] ?? '') !== 'mine') exit;",
    "$h = array_change_key_case(apache_request_headers()); if ($h['x-telegram-bot-api-secret-token'] != 'mine') exit;",
    f"if (!hash_equals((string) 'mine', (string) ({HEADER} ?? ''))) exit;",
    f"class Bot {{ private const KEY = 'mine'; function ok() {{ return ({HEADER} ?? '') === self::KEY; }} }}"
    " if (!(new Bot)->ok()) exit;",
    f"require 'config.php'; if (({HEADER} ?? '') !== SECRET) exit;",
    f"require 'config.php'; if (({HEADER} ?? '') !== Config::SECRET) exit;",
    f"if (!in_array({HEADER} ?? '', array('mine'), true)) exit;",
    "$name = 'HTTP_X_TELEGRAM_' . 'BOT_API_SECRET_TOKEN'; if (($_SERVER[$name] ?? '') !== 'mine') exit;",
    f"{LOADER} (new Gate)->check();",
    "foreach (['Gate'] as $part) { require $part . '.php'; } (new Gate)->check();",
    f"if (md5({HEADER} ?? '') !== '6f93b2b1de5b8b3b41a6b5d0d1c9a4f6') exit;",
    f"switch ({HEADER} ?? '') {{ case 'mine': break; default: exit; }}",
    f"$config = ['secret' => 'mine']; if (({HEADER} ?? '') !== $config['secret']) exit;",
    f"if (filter_input(INPUT_SERVER, '{HEADER[10:-2]}') !== 'mine') exit;",
    f"if (getenv('{HEADER[10:-2]}') !== 'mine') exit;",
]


@pytest.mark.parametrize("compare", COMPARES)
def test_f4_init_makes_no_secret_up_for_a_bot_that_compares_its_own(host: Host, compare: str) -> None:
    """F4: it keeps the one in the source, or leaves it to the owner, and then the queue is held."""
    files = {
        "config_php": "define('SECRET', 'mine'); class Config { const SECRET = 'mine'; }",
        "Gate_php": f"class Gate {{ function check() {{ if (({HEADER} ?? '') !== 'mine') exit; }} }}",
    }
    before = host.ends(f"{compare} {RAN}", **files)
    secret = host.secret()

    assert before.startswith("held: "), "without a secret it would refuse every update"
    assert secret in ("mine", "")
    after = host.ends(f"{compare} {RAN}", secret=secret, **files)
    assert after.partition(":")[0] in ("ran", "held")


@pytest.mark.parametrize(
    "without_a_post",
    [
        "if ($_SERVER['REQUEST_METHOD'] !== 'POST')",
        "if (!file_get_contents('php://input'))",
        "$u = json_decode(file_get_contents('php://input'), true); if (!isset($u['update_id']))",
        "if (empty($_POST) && $_SERVER['REQUEST_METHOD'] != 'POST')",
        "if (php_sapi_name() == 'cli')",
        "if (php_sapi_name() == 'cli' && ($argv[1] ?? '') !== 'run')",
        "if (defined('STDIN'))",
        "if (isset($_SERVER['argv']))",
        "if (!getenv('REQUEST_METHOD'))",
        "if (strpos($_SERVER['CONTENT_TYPE'] ?? '', 'json') === false)",
        "if (!isset($_SERVER['HTTP_HOST']) or isset($_SERVER['HTTP_USER_AGENT']))",
        "if (PHP_SAPI === 'cli') { echo 'Token: '; fgets(STDIN); touch(BOT.'/set'); exit; } if (false)",
        "if (($argc ?? 0) > 0) { readline('Token: '); touch(BOT.'/set'); exit; } if (false)",
    ],
)
def test_f14_a_bot_that_moves_its_webhook_without_a_post_does_not_do_it(host: Host, without_a_post: str) -> None:
    """F14: it sees a POST with an update, or it is held. Whether it would set or delete the webhook is the same."""
    code = f"function deleteWebhook() {SETS} {without_a_post} {{ deleteWebhook(); }} {RAN}"

    assert host.ends(code).partition(":")[0] in ("ran", "held")
