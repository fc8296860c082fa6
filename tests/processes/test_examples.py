"""The example bots and the sample updates: valid, complete, and the same answers from PHP and Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.need import need

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
UPDATE_FILES = sorted((EXAMPLES / "updates").glob("*.json"))
# https://core.telegram.org/bots/api#update, Bot API 10.3
UPDATE_TYPES = {
    "message", "edited_message", "channel_post", "edited_channel_post",
    "business_connection", "business_message", "edited_business_message", "deleted_business_messages",
    "guest_message", "message_reaction", "message_reaction_count",
    "inline_query", "chosen_inline_result", "callback_query", "shipping_query", "pre_checkout_query",
    "purchased_paid_media", "poll", "poll_answer", "my_chat_member", "chat_member", "chat_join_request",
    "chat_boost", "removed_chat_boost", "managed_bot", "subscription", "stopped_message_generation",
}  # fmt: skip
TOKEN = "123456:example-token-of-the-tests"


def run(language: str, update: bytes, **environ: str) -> subprocess.CompletedProcess[bytes]:
    """One bot started the way the worker starts it: cwd is its folder, the update on standard input."""
    if language == "php":
        need(None if shutil.which("php") else "php is not installed")
    command = {"php": ["php", "bot.php"], "python": [sys.executable, "bot.py"]}[language]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    return subprocess.run(
        command, input=update, cwd=EXAMPLES, env={**clean, **environ}, capture_output=True, timeout=60
    )


def calls(done: subprocess.CompletedProcess[bytes]) -> list[Any]:
    return [json.loads(line) for line in done.stdout.decode("utf-8").split("\n") if line]


def message(text: str, **rest: Any) -> bytes:
    update = {"update_id": 1, "message": {"chat": {"id": 9900000001}, "text": text, **rest}}
    return json.dumps(update, ensure_ascii=False).encode("utf-8")


def sample(name: str) -> bytes:
    return (EXAMPLES / "updates" / f"{name}.json").read_bytes()


@cache
def run_sample(language: str, name: str) -> subprocess.CompletedProcess[bytes]:
    """One bot run without a token on a sample update; the result is kept, since it cannot differ."""
    return run(language, sample(name))


either_bot = pytest.mark.parametrize("language", ["php", "python"])
every_update = pytest.mark.parametrize("path", UPDATE_FILES, ids=lambda path: path.stem)


# The sample updates


@every_update
def test_update_has_the_one_type_its_file_is_named_after(path: Path) -> None:
    update = json.loads(path.read_bytes().decode("utf-8"))
    assert set(update) == {"update_id", path.stem.split("-")[0]}
    assert isinstance(update["update_id"], int)


@every_update
def test_update_file_is_formatted_the_readable_way(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=2) + "\n"


@every_update
def test_ids_have_the_shape_telegram_gives_them(path: Path) -> None:
    update = json.loads(path.read_bytes())
    for thing in objects(update):
        if "is_bot" in thing or thing.get("type") == "private":
            assert thing["id"] > 2**31, thing
        if thing.get("type") in ("supergroup", "channel"):
            assert str(thing["id"]).startswith("-100"), thing


@every_update
def test_entities_lie_inside_their_text(path: Path) -> None:
    for thing in objects(json.loads(path.read_bytes())):
        for text_field, entities_field in (("text", "entities"), ("caption", "caption_entities")):
            for entity in thing.get(entities_field, []):
                units = thing[text_field].encode("utf-16-le")
                piece = units[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])]
                assert len(piece) == 2 * entity["length"]
                assert piece.decode("utf-16-le").strip() != ""


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


def test_every_update_type_has_a_file_and_no_other_has() -> None:
    assert {path.stem for path in UPDATE_FILES if "-" not in path.stem} == UPDATE_TYPES


def test_update_ids_are_distinct() -> None:
    ids = [json.loads(path.read_bytes())["update_id"] for path in UPDATE_FILES]
    assert len(set(ids)) == len(ids)


# The bots, without a token


@every_update
def test_both_bots_answer_an_update_with_the_same_calls(path: Path) -> None:
    php, python = run_sample("php", path.stem), run_sample("python", path.stem)
    assert (php.returncode, calls(php)) == (python.returncode, calls(python)), (php.stderr, python.stderr)


@either_bot
@every_update
def test_bot_fails_only_the_update_that_asks_for_it(language: str, path: Path) -> None:
    done = run_sample(language, path.stem)
    expected = 1 if path.stem == "message-fail" else 0
    assert done.returncode == expected, done.stderr
    assert bool(done.stderr) == bool(expected)


@either_bot
@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("message-start", ["sendMessage"]),
        ("message-help", ["sendMessage"]),
        ("message-echo", ["sendMessage"]),
        ("message-button", ["sendMessage"]),
        ("message-slow", ["sendMessage"]),
        ("callback_query", ["answerCallbackQuery", "editMessageText"]),
        ("inline_query", ["answerInlineQuery"]),
        ("message", []),
        ("message-photo", []),
        ("edited_message", []),
        ("poll", []),
    ],
)
def test_bot_answers_what_is_meant_for_it_and_ignores_the_rest(language: str, name: str, methods: list[str]) -> None:
    assert [call["method"] for call in calls(run_sample(language, name))] == methods


@either_bot
def test_echo_gives_the_text_back_byte_by_byte(language: str) -> None:
    text = json.loads(sample("message-echo"))["message"]["text"][len("/echo ") :]
    done = run_sample(language, "message-echo")
    assert calls(done)[0]["text"] == text
    assert "👩‍🌾🌻 <b>not bold</b> &".encode() in done.stdout


@either_bot
def test_unusual_spaces_and_line_separators_survive_the_echo(language: str) -> None:
    text = "a\u2028b\u0085c\u00a0d \u202eevil\u202c\n\tend  "
    assert calls(run(language, message("/echo " + text)))[0]["text"] == text


@either_bot
@pytest.mark.parametrize("text", ["/", "/unknown", "/echoes x", "echo x", "//echo x", "/start,", "0", ""])
def test_text_that_is_no_command_of_the_bot_gets_no_answer(language: str, text: str) -> None:
    done = run(language, message(text))
    assert (done.returncode, done.stdout) == (0, b""), done.stderr


@either_bot
@pytest.mark.parametrize(("text", "echoed"), [("/echo 0", "0"), ("/echo@a_bot\nx", "x"), ("/echo", "Write some")])
def test_echo_reads_its_argument_after_any_space(language: str, text: str, echoed: str) -> None:
    assert calls(run(language, message(text)))[0]["text"].startswith(echoed)


@either_bot
def test_answer_in_a_topic_stays_in_the_topic(language: str) -> None:
    assert calls(run_sample(language, "message-topic"))[0]["message_thread_id"] == 631


@either_bot
def test_press_of_a_button_in_an_inline_message_edits_that_message(language: str) -> None:
    query = {"id": "1", "from": {"first_name": "Ada"}, "data": "pressed", "inline_message_id": "B1"}
    done = run(language, json.dumps({"update_id": 1, "callback_query": query}).encode())
    assert calls(done)[1]["inline_message_id"] == "B1"


@either_bot
@pytest.mark.parametrize(
    "raw",
    [b"", b" \n", b"{", b"null", b"42", b"[]", b"{}", b'{"update_id":"7"}', b'{"update_id":1}x', b'\xff{"update_id":1}',
     b'\xef\xbb\xbf{"update_id":1}', '{"update_id":1}'.encode("utf-16")],
)  # fmt: skip
def test_input_that_is_no_update_is_refused_in_one_clear_line(language: str, raw: bytes) -> None:
    done = run(language, raw)
    assert done.returncode == 1
    assert done.stdout == b""
    assert re.fullmatch(rb"bot\.(php|py): (no input|the input is not) .+\n|bot\.(php|py): no input: .+\n", done.stderr)


@either_bot
def test_message_without_a_chat_is_a_failure_and_not_a_silent_loss(language: str) -> None:
    done = run(language, b'{"update_id":1,"message":{"text":"/start"}}')
    assert done.returncode == 1
    assert b"chat" in done.stderr
    assert done.stdout == b""


@either_bot
def test_journal_gets_a_line_for_a_success_and_for_a_failure(language: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    for name in ("message-start", "message-fail"):
        run(language, sample(name), BOT_JOURNAL=str(journal))
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    ids = [json.loads(sample(name))["update_id"] for name in ("message-start", "message-fail")]
    assert [line["update_id"] for line in lines] == ids
    assert all(line["started"] <= line["ended"] and line["pid"] > 0 for line in lines)
    assert all(set(line) == {"update_id", "pid", "started", "ended"} for line in lines)


# The bots, with a token


class BotApi:
    """A Bot API on a free port that keeps what it was sent and always gives the same answer."""

    def __init__(self, status: int, answer: bytes) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.requests.append((self.path, self.headers["Content-Type"], json.loads(body.decode("utf-8"))))
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> BotApi:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@either_bot
@pytest.mark.parametrize("name", ["message-echo", "callback_query", "inline_query", "message-button"])
def test_with_a_token_the_printed_calls_are_made(language: str, name: str) -> None:
    printed = calls(run_sample(language, name))
    with BotApi(200, b'{"ok":true,"result":true}') as api:
        done = run(language, sample(name), BOT_TOKEN=TOKEN, BOT_API_URL=api.url + "/")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    made = [{"method": path.rpartition("/")[2], **params} for path, _, params in api.requests]
    assert made == printed
    assert {(path.rpartition("/")[0], content_type) for path, content_type, _ in api.requests} == {
        (f"/bot{TOKEN}", "application/json")
    }


@either_bot
@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (400, b'{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}', b"chat not found"),
        (429, b'{"ok":false,"description":"Too Many Requests: retry after 5"}', b"retry after 5"),
        (200, b'{"ok":false}', b"not from the Bot API"),
        (502, b"<html>Bad gateway</html>", b"not from the Bot API"),
        (200, b"[]", b"not from the Bot API"),
        (200, b"", b"not from the Bot API"),
    ],
)
def test_refused_call_is_a_failure_with_the_reason(language: str, status: int, answer: bytes, reason: bytes) -> None:
    with BotApi(status, answer) as api:
        done = run(language, sample("callback_query"), BOT_TOKEN=TOKEN, BOT_API_URL=api.url)
    assert done.returncode == 1
    assert b"answerCallbackQuery failed: " in done.stderr
    assert reason in done.stderr
    assert TOKEN.encode() not in done.stderr
    assert len(api.requests) == 1


@either_bot
def test_unreachable_server_is_a_failure_that_does_not_show_the_token(language: str) -> None:
    with socket.socket() as taken:  # Bound and not listening: connections are refused.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = run(language, sample("message-start"), BOT_TOKEN=TOKEN, BOT_API_URL=url)
    assert done.returncode == 1
    assert b"sendMessage failed: " in done.stderr
    assert TOKEN.encode() not in done.stdout + done.stderr


# The files


@either_bot
def test_bot_is_a_short_file_with_unix_lines_and_no_bom(language: str) -> None:
    raw = (EXAMPLES / {"php": "bot.php", "python": "bot.py"}[language]).read_bytes()
    assert raw.startswith((b"<?php\n", b'"""'))
    assert b"\r" not in raw
    assert raw.count(b"\n") < 200


def test_php_finds_no_error_in_the_bot() -> None:
    need(None if shutil.which("php") else "php is not installed")
    done = subprocess.run(["php", "-l", "bot.php"], cwd=EXAMPLES, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
