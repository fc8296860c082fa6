"""HttpRunner with the web server of a real PHP."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from scalable.lib.runners.http.runner import HttpRunner
from scalable.lib.runners.outcome import Kind
from tests.support.generators.bots import outcome_of
from tests.support.need import need
from tests.support.servers.children import Child, accepts_connections, free_port, wait_until_ready

AMPLE_SECONDS = 30.0
SECRET = "a-secret_of-the-webhook"


def test_a_php_bot_behind_a_web_server_is_run_unchanged(tmp_path: Path):
    need(None if shutil.which("php") else "php is not installed")
    (tmp_path / "bot.php").write_text(
        "<?php $u = json_decode(file_get_contents('php://input'), true);\n"
        "if ($u['update_id'] === 2) { strlen(); }\n"
        "header('Content-Type: application/json');\n"
        "echo json_encode(['method' => 'sendMessage', 'text' => $u['text'], "
        "'secret' => $_SERVER['HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN']]);\n"
    )
    port, log = free_port(), tmp_path / "php.log"
    php = Child(["php", "-d", "display_errors=0", "-S", f"127.0.0.1:{port}", "-t", str(tmp_path)], log=log)
    php.start()
    try:
        wait_until_ready(php, lambda: accepts_connections(port), what="php -S", log=log)
        runner = HttpRunner(f"http://127.0.0.1:{port}/bot.php", AMPLE_SECONDS, SECRET)
        good = outcome_of(runner, '{"update_id": 1, "text": "привіт"}')
        broken = outcome_of(runner, '{"update_id": 2, "text": ""}')
    finally:
        php.close()

    assert good.succeeded, good
    assert json.loads(good.answer) == {"method": "sendMessage", "text": "привіт", "secret": SECRET}
    assert broken.kind is Kind.FAILED
    assert broken.cause == "HTTP status 500"
