"""What a bot does where it asks whether it was started by hand, as far as its source tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.php.bot_source import read_bot_source
from scalable.lib.runners.php.source_signs import Signs
from tests.support.places import REPOSITORY

BODY = "file_get_contents('php://input')"


def signs(folder: Path, code: str) -> Signs:
    (folder / "bot.php").write_text(f"<?php\n{code}")
    return read_bot_source(folder / "bot.php").signs


@pytest.mark.parametrize(
    "code",
    [
        "if ($raw === '' && PHP_SAPI === 'cli') { $raw = (string) file_get_contents('php://stdin'); }",
        "if (!$raw and defined('STDIN')) $raw = stream_get_contents(STDIN);",
        "$raw = PHP_SAPI === 'cli' ? file_get_contents('php://stdin') : file_get_contents('php://input');",
        "$raw = file_get_contents(php_sapi_name() == 'cli' ? 'php://stdin' : 'php://input');",
        "$in = fopen(\\PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input', 'rb');",
        "if (PHP_SAPI === 'cli') { $u = json_decode(stream_get_contents(STDIN), true); } else { $u = input(); }",
        "function raw() { if (PHP_SAPI === 'cli') { return file_get_contents('php://stdin'); } return input(); }",
        "$this->raw = defined('STDIN') ? stream_get_contents(STDIN) : input();",
    ],
)
def test_where_it_takes_all_of_standard_input_that_is_its_update(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert found.stdin is not None
    assert (found.console, found.refuses_web) == (None, None)


@pytest.mark.parametrize(
    "code",
    [
        "if (PHP_SAPI !== 'cli') exit;",
        "if (php_sapi_name() != 'cli') { http_response_code(403); die('only from a shell'); }",
        "if (!defined('STDIN')) { echo 'no', PHP_EOL; exit(1); }",
        "PHP_SAPI === 'cli' or die('no');",
        "defined('STDIN') || exit;",
        "('cli' == php_sapi_name()) OR die();",
    ],
)
def test_it_is_seen_that_it_refuses_the_web(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert str(found.refuses_web) == "bot.php, line 2"
    assert found.console is None


@pytest.mark.parametrize(
    "code",
    [
        "if (PHP_SAPI === 'cli') { echo '1) set the webhook'; if (trim(fgets(STDIN)) === '1') setWebhook(); exit; }",
        "if (php_sapi_name() === 'cli') { menu(); } else { run(); }",
        "if (defined('STDIN')) { $choice = fgets(STDIN); }",
        "if (PHP_SAPI == 'cli') { $handle = fopen('php://stdin', 'r'); }",
        "if (PHP_SAPI !== 'cli') { $bot->run(json_decode(" + BODY + ")); exit; } menu();",
        "if (PHP_SAPI !== 'cli') { run(); exit; } menu();",
        "if (PHP_SAPI !== 'fpm-fcgi') exit;",
        "function install() { if (PHP_SAPI !== 'cli') exit('only from a shell'); }",
        "PHP_SAPI === 'cli' and die;",
        "PHP_SAPI !== 'cli' or die;",
        "PHP_SAPI === 'cli' && menu() or die;",
        "$isShell = PHP_SAPI === 'cli';",
        "switch (PHP_SAPI) { case 'cli': menu(); exit; default: run(); }",
        "while (PHP_SAPI === 'cli') { $line = fgets(STDIN); }",
        "if (isset($argv)) { menu(); exit; }",
        "if ($argc > 0) setWebhook();",
        "if (!empty($_SERVER['argv'])) { setWebhook(); exit; }",
        "if (basename($_SERVER['argv'][0]) === 'bot.php') exit;",
    ],
)
def test_anything_else_it_does_in_a_shell_cannot_be_told(tmp_path: Path, code: str):
    found = signs(tmp_path, code + BODY + ";")

    assert str(found.console) == "bot.php, line 2"
    assert found.refuses_web is None


@pytest.mark.parametrize(
    "code",
    [
        "if (isset($argv[1])) { setWebhook(); exit; }",
        "if (($_SERVER['argv'][1] ?? '') === 'setup') setWebhook();",
        "// PHP_SAPI === 'cli'\n$text = 'argv'; $stdin = defined('TOKEN');",
        "$argument = 'defined(STDIN)'; $x->argv = 1;",
    ],
)
def test_what_does_not_depend_on_the_shell_is_no_such_question(tmp_path: Path, code: str):
    found = signs(tmp_path, code)

    assert (found.console, found.refuses_web) == (None, None)


@pytest.mark.parametrize(
    "code", ["if (PHP_SAPI", "PHP_SAPI", "} PHP_SAPI === 'cli' {", "if (((PHP_SAPI === 'cli') {{", "$argv["]
)
def test_a_source_that_is_cut_off_is_read_without_an_error(tmp_path: Path, code: str):
    (tmp_path / "bot.php").write_text(f"<?php {code}")

    assert read_bot_source(tmp_path / "bot.php").signs.refuses_web is None


def test_the_example_takes_its_update_there():
    found = read_bot_source(REPOSITORY / "examples" / "bot.php").signs

    assert (found.console, found.refuses_web) == (None, None)
