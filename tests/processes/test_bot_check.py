"""The check of the bot: what it warns of, and that it does not warn without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.errors import BotUnsuitable
from scalable.lib.runners.choose import BotSettings, decided
from scalable.lib.setup.bot_check import check_bot
from scalable.lib.setup.finding import Finding, Verdict
from tests.support.places import REPOSITORY

READS_BODY = "<?php $update = json_decode(file_get_contents('php://input'), true);"
ANSWERS = "<?php echo json_encode(['method' => 'sendMessage', 'chat_id' => 1, 'text' => 'hi']);"


HEADER = "$_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']"


def found(folder: Path, source: str, mode: str = "cli", secret: str = "", query: str = "") -> list[Finding]:
    (folder / "bot.php").write_text(source)
    return check_bot(BotSettings(f"{folder}/bot.php{query}", mode, 60.0, "", "", secret, folder), True)


def warnings(folder: Path, source: str, mode: str = "cli", token: bool = True, htaccess: str = "") -> list[str]:
    file = folder / "bot.php"
    file.write_text(source)
    if htaccess:
        (folder / ".htaccess").write_text(htaccess)
    findings = check_bot(BotSettings(str(file), mode, 60.0, "", "", "", folder), token)
    assert findings[0].verdict is Verdict.OK, findings
    return [finding.seen for finding in findings if finding.verdict is Verdict.WARNING]


@pytest.mark.parametrize("mode", ["cli", "cgi", "fastcgi", "auto"])
def test_a_bot_finds_its_update_in_every_mode(tmp_path: Path, mode: str):
    assert warnings(tmp_path, READS_BODY, mode) == []


@pytest.mark.parametrize(
    ("mode", "lost"), [("cli", "php://input is empty"), ("fastcgi", "an error behind a status 200")]
)
def test_a_php_that_may_not_read_the_prelude_is_told(tmp_path: Path, mode: str, lost: str):
    (tmp_path / ".user.ini").write_text(f"open_basedir = {tmp_path}\n")

    (warning,) = warnings(tmp_path, READS_BODY, mode)

    assert warning.startswith("open_basedir of php.ini or .user.ini does not reach ")
    assert lost in warning


@pytest.mark.parametrize(
    "source",
    [
        READS_BODY.replace("php://input", "php://stdin"),
        "<?php $body = file_get_contents('php://input') ?: file_get_contents('php://stdin');",
        "<?php $body = stream_get_contents(STDIN);",
        (REPOSITORY / "examples" / "bot.php").read_text(),
    ],
)
def test_one_that_reads_standard_input_is_right(tmp_path: Path, source: str):
    assert warnings(tmp_path, source) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<?php if(($_GET['s']??'')!=='k')exit;", "reads its query ($_GET in bot.php, line 1), and there is none"),
        ("<?php $_REQUEST['key'];", "reads its query"),
        ("<?php while (1) { getUpdates(); }", "fetches its updates itself (getUpdates in bot.php, line 1)"),
        ("<?php if (PHP_SAPI === 'cli') exit;", "asks which interface PHP has (bot.php, line 1)"),
        ('<?php file_get_contents("$api/setWebhook");', "calls setWebhook (bot.php, line 1)"),
        (f"<?php if ({HEADER} !== getenv('S')) exit;", "not in its source, and BOT_WEBHOOK_SECRET is empty"),
    ],
)
def test_f2_f4_f14_what_a_bot_may_not_find_in_the_mode_its_owner_named_is_a_warning(
    tmp_path: Path, source: str, words: str
):
    (warning,) = warnings(tmp_path, source)

    assert words in warning


def test_f2_the_warning_says_what_to_write(tmp_path: Path):
    (line,) = [f.line for f in found(tmp_path, "<?php $_GET['s'];") if f.verdict is Verdict.WARNING]

    assert line.endswith("if its webhook had one, write it: BOT_LEGACY_PATH=…/bot.php?s=…")


def test_f4_another_secret_than_the_bots_is_an_error_and_neither_is_printed(tmp_path: Path):
    source = f"<?php if ({HEADER} !== 'hush-mine') exit;"

    for secret in ("hush-other", ""):
        findings = found(tmp_path, source, secret=secret)
        assert [f.verdict for f in findings if f.subject == "bot"] == [Verdict.OK, Verdict.ERROR]
        assert "hush" not in " ".join(f.line for f in findings)
    assert [f.verdict for f in found(tmp_path, source, secret="hush-mine")] == [Verdict.OK, Verdict.OK]


def test_f4_a_bot_whose_secret_is_elsewhere_is_mentioned(tmp_path: Path):
    source = f"<?php if ({HEADER} !== getenv('S')) exit;"

    assert any("BOT_WEBHOOK_SECRET has to be the one it has" in f.seen for f in found(tmp_path, source, secret="x"))


@pytest.mark.parametrize(
    "source",
    [
        "<?php while (1) { getUpdates(); }",
        f"<?php if ({HEADER} !== 'mine') exit;",
        "<?php if (($_GET['s'] ?? '') !== 'k') exit;",
    ],
)
def test_what_is_not_certain_to_be_run_by_auto_is_the_error_that_the_pool_tells(tmp_path: Path, source: str):
    findings = found(tmp_path, source, "auto")

    assert [(f.verdict, f.subject) for f in findings if f.verdict is not Verdict.OK] == [(Verdict.ERROR, "bot")]
    with pytest.raises(BotUnsuitable) as raised:
        decided(BotSettings(f"{tmp_path}/bot.php", "auto", 60.0, "", "", "", tmp_path))
    assert findings[0].seen == str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        ANSWERS,
        "<?php $reply['method'] = 'sendMessage';",
        '<?php echo \'{"method": "sendMessage"}\';',
    ],
)
def test_one_that_answers_in_its_response_needs_the_token(tmp_path: Path, source: str):
    (warning,) = warnings(tmp_path, source, "fastcgi", token=False)

    assert warning.endswith("set BOT_TOKEN")
    assert warnings(tmp_path, source, "fastcgi", token=True) == []


@pytest.mark.parametrize(
    "line",
    [
        "AddHandler application/x-httpd-ea-php56 .php .php8 .phtml",
        "  AddHandler application/x-httpd-alt-php56___lsphp .php",
        "AddHandler php56-script .php",
        "<FilesMatch \\.php$>\nSetHandler application/x-httpd-php56\n</FilesMatch>",
    ],
)
def test_a_web_server_that_runs_another_php_is_told(tmp_path: Path, line: str):
    (warning,) = warnings(tmp_path, "<?php", "fastcgi", htaccess=f"# php -- BEGIN cPanel\n{line}\n")

    assert warning.startswith(f"the web server runs PHP 5.6 here ({tmp_path / '.htaccess'}), and workers ")
    assert warning.endswith("set BOT_PHP_BINARY to the same version")


def test_the_same_php_or_an_unnamed_one_is_no_reason_to_worry(tmp_path: Path):
    php = next(
        f.seen
        for f in check_bot(
            BotSettings(str(REPOSITORY / "examples" / "bot.php"), "cli", 60.0, "", "", "", tmp_path), True
        )
        if f.subject == "php"
    )
    same = "".join(php.split()[0].split(".")[:2])

    assert warnings(tmp_path, "<?php", htaccess=f"AddHandler application/x-httpd-ea-php{same} .php\n") == []
    assert warnings(tmp_path, "<?php", htaccess="AddHandler application/x-httpd-php .php\n") == []


def test_a_bot_that_is_not_there_is_one_error(tmp_path: Path):
    findings = check_bot(BotSettings(str(tmp_path / "no.php"), "cli", 60.0, "", "", "", tmp_path), False)

    assert [f.verdict for f in findings] == [Verdict.ERROR, Verdict.OK]
    assert "there is no bot at" in findings[0].seen


def test_a_bot_at_an_address_is_not_looked_into(tmp_path: Path):
    (finding,) = check_bot(BotSettings("https://example.com/bot.php", "auto", 60.0, "", "", "", tmp_path), False)

    assert finding.verdict is Verdict.OK
    assert "https://example.com/bot.php" in finding.seen
