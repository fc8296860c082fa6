"""The check of the bot: what it warns of, and that it does not warn without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.choose import BotSettings
from scalable.lib.setup.bot_check import check_bot
from scalable.lib.setup.finding import Verdict
from tests.support.places import REPOSITORY

READS_BODY = "<?php $update = json_decode(file_get_contents('php://input'), true);"
ANSWERS = "<?php echo json_encode(['method' => 'sendMessage', 'chat_id' => 1, 'text' => 'hi']);"


def warnings(folder: Path, source: str, mode: str = "cli", token: bool = True, htaccess: str = "") -> list[str]:
    file = folder / "bot.php"
    file.write_text(source)
    if htaccess:
        (folder / ".htaccess").write_text(htaccess)
    findings = check_bot(BotSettings(str(file), mode, 60.0, "", "", "", folder), token)
    assert findings[0].verdict is Verdict.OK, findings
    return [finding.seen for finding in findings if finding.verdict is Verdict.WARNING]


@pytest.mark.parametrize("mode", ["cli", "cgi", "fastcgi"])
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
