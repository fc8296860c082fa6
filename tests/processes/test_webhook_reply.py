"""The reply of a real PHP bot that also prints warnings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from scalable.lib.telegram.webhook_reply import JSON, MethodCall, read_reply
from tests.support.need import need

CALL = b'{"method":"sendMessage","chat_id":1,"text":"hi"}'


def test_a_real_php_bot_with_a_warning_is_still_heard(tmp_path: Path):
    need(None if shutil.which("php") else "php is not installed")
    bot = tmp_path / "bot.php"
    bot.write_text("""<?php echo $x; header("Content-Type: application/json");
        echo json_encode(["method" => "sendMessage", "chat_id" => 1, "text" => "hi"]);
        register_shutdown_function(function () { echo $y; });""")

    run = subprocess.run(["php", "-n", str(bot)], capture_output=True, timeout=30, check=True)

    assert run.stdout.count(b"Warning: ") == 3
    assert read_reply(run.stdout) == MethodCall("sendMessage", JSON, CALL)
