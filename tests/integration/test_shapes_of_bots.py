"""Bots as people publish them, one file each, with the default settings: each runs its update, or the queue is held.

None ends as `done` unrun. The shapes are those of well-known single-file bots, in words of our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import which

import pytest

from scalable.lib.queue.views.health import check_health
from scalable.lib.queue.views.verdict import IS_HELD
from tests.support.need import need
from tests.support.servers.idle_installation import Ticks
from tests.support.servers.site import wait_until

# Which of them no worker may run with these settings: one would refuse every update, one would never end.
HELD = ("exits on a wrong header", "polls by mistake")
# What a bot does with its update: it keeps it.
RAN = 'file_put_contents(__DIR__ . "/ran", file_get_contents("php://input") . "\\n", FILE_APPEND);'
# By name: the bot, and the files beside it.
SHAPES: dict[str, tuple[str, dict[str, str]]] = {
    "reads in a library": (
        'require __DIR__ . "/src/Bot.php"; (new Bot())->handle();',
        {
            "src/Bot.php": """<?php class Bot {
                public function handle() {
                    try {
                        $input = file_get_contents("php://input");
                        if ($input === "" || $input === false) { throw new RuntimeException("Input is empty!"); }
                        file_put_contents(dirname(__DIR__) . "/ran", $input . "\\n", FILE_APPEND);
                    } catch (Exception $e) { echo $e->getMessage(); }
                }
            }"""
        },
    ),
    "answers early": (
        'ignore_user_abort(true); set_time_limit(0); ob_start(); echo "{}"; header("Connection: close");'
        ' header("Content-Length: " . ob_get_length()); ob_end_flush(); flush();'
        ' if (function_exists("fastcgi_finish_request")) { fastcgi_finish_request(); } usleep(300000); ' + RAN,
        {},
    ),
    "exits on a wrong header": (
        'if (($_SERVER["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"] ?? "") !== "an-example-secret")'
        " { http_response_code(403); exit; } " + RAN,
        {},
    ),
    "branches on the interface": (
        'if (PHP_SAPI === "cli") { echo "open me in a browser\\n"; exit; } ' + RAN,
        {},
    ),
    "has a menu for its owner": (
        'if (PHP_SAPI === "cli") { echo "1) set the webhook\\n2) remove it\\n"; $choice = trim((string) fgets(STDIN));'
        ' if ($choice === "1") { file_put_contents(__DIR__ . "/setWebhook", "1"); } exit; } ' + RAN,
        {},
    ),
    "has a shell by a constant": (
        'if (defined("STDIN")) { file_put_contents(__DIR__ . "/setWebhook", "1"); fwrite(STDOUT, "set\\n"); } else { '
        + RAN
        + " }",
        {},
    ),
    "asks at a terminal": (
        'if (stream_isatty(defined("STDIN") ? STDIN : fopen("php://temp", "r"))) { exit("run by cron"); } ' + RAN,
        {},
    ),
    "reads either": (
        '$raw = file_get_contents("php://input") ?: file_get_contents("php://stdin");'
        ' file_put_contents(__DIR__ . "/ran", $raw . "\\n", FILE_APPEND);',
        {},
    ),
    "reads standard input alone": (
        'if (PHP_SAPI !== "cli") { http_response_code(403); exit("only from a shell"); }'
        ' file_put_contents(__DIR__ . "/ran", stream_get_contents(STDIN) . "\\n", FILE_APPEND);',
        {},
    ),
    "has a menu and an unknown library": (
        'require __DIR__ . "/" . strtolower("LIB") . ".php";'
        ' if (PHP_SAPI === "cli") { echo fgets(STDIN); exit; } keep();',
        {"lib.php": "<?php function keep() { " + RAN + " }"},
    ),
    "sets its webhook without a POST": (
        'if ($_SERVER["REQUEST_METHOD"] !== "POST")'
        ' { file_put_contents(__DIR__ . "/setWebhook", "1"); exit("webhook set"); } ' + RAN,
        {},
    ),
    "logs what the user writes": (
        '$update = json_decode(file_get_contents("php://input"), true);'
        ' error_log("got: " . ($update["message"]["text"] ?? "")); error_log($update["message"]["text"] ?? ""); ' + RAN,
        {},
    ),
    "opens its storage or exits": (
        'if (!@file_put_contents(__DIR__ . "/bot.db", "1", FILE_APPEND))'
        ' { error_log("DB connection error: cannot be opened"); exit; } ' + RAN,
        {},
    ),
    "polls by mistake": (
        '$offset = 0; while (true) { $updates = json_decode(@file_get_contents("http://127.0.0.1:9/bot1:x/getUpdates'
        '?offset=$offset"), true); foreach ((array) $updates as $update) { $offset++; } usleep(200000); }',
        {},
    ),
    "keeps a session": (
        "session_id('chat7'); session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; " + RAN,
        {},
    ),
    "requires by the root of the site": (
        'require $_SERVER["DOCUMENT_ROOT"] . "/lib.php"; keep(__DIR__);',
        {
            "lib.php": "<?php function keep($folder)"
            ' { file_put_contents("$folder/ran", file_get_contents("php://input") . "\\n", FILE_APPEND); }'
        },
    ),
}


def is_held(ticks: Ticks) -> bool:
    """Whether the page says that no update is run, and why."""
    return any(reason.code == IS_HELD for reason in check_health(ticks.queue).reasons)


@pytest.mark.parametrize("name", SHAPES)
def test_it_runs_its_update_or_the_queue_is_held_with_the_reason(name: str, tmp_path: Path) -> None:
    need(None if which("php") else "php is not installed")
    code, files = SHAPES[name]
    site = tmp_path / "public_html"
    for path, text in {"bot.php": "<?php\n" + code, **files}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    with Ticks(tmp_path, site / "bot.php", BOT_WORKER_POOL_SIZE="1") as ticks:
        ticks.store(1, chat=7, text="PHP Fatal error:  x")
        ticks.start("worker_pool.py")

        wait_until(
            lambda: ticks.states()[1] == "done" or is_held(ticks),
            lambda: (ticks.states(), ticks.logs()),
            timeout_seconds=40,
        )

        if name in HELD:
            assert (ticks.states(), ticks.attempts(), (site / "ran").exists()) == ({1: "pending"}, {1: 0}, False)
            return
        assert ticks.states() == {1: "done"}
        wait_until((site / "ran").exists, ticks.logs)  # the one that answers early works on
        assert [json.loads(line)["update_id"] for line in (site / "ran").read_text().splitlines()] == [1]
        assert not (site / "setWebhook").exists()
