"""A small Telegram bot in one file, for Python 3.9 and later, with the standard library only.

It is run once per update: the update arrives as JSON on standard input. Exit code 0 means the update was handled;
anything else means it was not, and the reason is on stderr.

    BOT_TOKEN     the bot's token; without it no call is made, each one is printed as a line of JSON instead
    BOT_API_URL   another Bot API server (default https://api.telegram.org)
    BOT_JOURNAL   a file that gets one line per run, see write_journal()
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Callable

Json = dict[str, Any]

API_TIMEOUT_SECONDS = 20
HELP = (
    "/start – say hello\n/help – this list\n/echo TEXT – get TEXT back\n/button – a button to press\n"
    "/slow – answer after two seconds\n/fail – fail on purpose"
)
# "/echo@example_bot some text": command, optional name of the bot, optional text.
COMMAND = re.compile(r"/([a-z]+)(?:@\w+)?(?:\s+(.*))?", re.ASCII | re.DOTALL)


class BotError(Exception):
    """The update could not be handled; the message says why."""


def main() -> int:
    started = time.time()
    update: Json = {}
    try:
        update = read_update()
        for call in answers(update):
            perform(call)
        return 0
    except BotError as error:
        print(f"bot.py: {error}", file=sys.stderr)
        return 1
    finally:
        write_journal(update, started)


def read_update() -> Json:
    """The update on standard input; BotError when there is none."""
    raw = sys.stdin.buffer.read()
    if not raw.strip():
        raise BotError("no input: expected a Telegram update as JSON")
    try:
        update = json.loads(raw.decode("utf-8"))
    except ValueError as error:
        raise BotError(f"the input is not valid JSON: {error}") from error
    if not isinstance(update, dict) or not isinstance(update.get("update_id"), int):
        raise BotError("the input is not a Telegram update: expected an object with an update_id")
    return update


def answers(update: Json) -> list[Json]:
    """The method calls that answer an update, in order; none for an update that is not for this bot."""
    for update_type, answer in UPDATES.items():
        if update_type in update:
            return answer(update[update_type])
    return []


def answer_message(message: Json) -> list[Json]:
    found = COMMAND.fullmatch(message.get("text", ""))
    if not found or found[1] not in COMMANDS:
        return []
    return [COMMANDS[found[1]](message, found[2] or "")]


def say_hello(message: Json, _text: str) -> Json:
    name = message.get("from", {}).get("first_name", "friend")
    return reply(message, f"Hello, {name}! 👋\nSend /help to see what I can do.")


def show_help(message: Json, _text: str) -> Json:
    return reply(message, HELP)


def echo(message: Json, text: str) -> Json:
    return reply(message, text or "Write some text after /echo.")


def show_button(message: Json, _text: str) -> Json:
    button = {"text": "Press me 👇", "callback_data": "pressed"}
    return {**reply(message, "Here is a button."), "reply_markup": {"inline_keyboard": [[button]]}}


def answer_slowly(message: Json, _text: str) -> Json:
    time.sleep(2)
    return reply(message, "That took two seconds. 🐢")


def fail(_message: Json, _text: str) -> Json:
    raise BotError("this update asked for a failure with /fail")


def reply(message: Json, text: str) -> Json:
    """A sendMessage to where the message came from. Plain text, so that <, & and * come back as they were."""
    call: Json = {"method": "sendMessage", "chat_id": message["chat"]["id"], "text": text}
    if message.get("is_topic_message"):
        call["message_thread_id"] = message["message_thread_id"]
    return call


def answer_button(query: Json) -> list[Json]:
    thanks: Json = {"method": "answerCallbackQuery", "callback_query_id": query["id"]}
    if query.get("data") != "pressed":
        return [thanks]  # Some other button: only stop the progress bar on it.
    thanks["text"] = "Thank you! 🎉"
    edit: Json = {"method": "editMessageText", "text": f"Pressed by {query['from']['first_name']}."}
    if "message" in query:
        edit.update(chat_id=query["message"]["chat"]["id"], message_id=query["message"]["message_id"])
    else:
        edit["inline_message_id"] = query["inline_message_id"]
    return [thanks, edit]


def answer_inline_query(query: Json) -> list[Json]:
    text = query["query"] or "Hello! 👋"
    article: Json = {"type": "article", "id": "echo", "title": "Send this text", "description": text}
    article["input_message_content"] = {"message_text": text}
    return [{"method": "answerInlineQuery", "inline_query_id": query["id"], "results": [article], "cache_time": 0}]


def perform(call: Json) -> None:
    """Makes the call, or prints it when there is no token."""
    token = os.environ.get("BOT_TOKEN", "")
    if not token:
        sys.stdout.buffer.write(to_json(call) + b"\n")
        return
    method = call["method"]
    params = {name: value for name, value in call.items() if name != "method"}
    server = (os.environ.get("BOT_API_URL") or "https://api.telegram.org").rstrip("/")
    try:
        answer = post(f"{server}/bot{token}/{method}", params)
    except (OSError, HTTPException, ValueError) as error:
        # Some of these messages hold the address, and so the token.
        raise BotError(f"{method} failed: {error}".replace(token, "<token>")) from None
    if answer.get("ok") is not True:
        raise BotError(f"{method} failed: {answer.get('description', 'the answer is not from the Bot API')}")


def post(url: str, params: Json) -> Json:
    """The answer of the Bot API; an empty one when something else answered."""
    request = urllib.request.Request(url, to_json(params), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=API_TIMEOUT_SECONDS) as response:  # nosec B310  # BOT_API_URL is the owner's
            body = response.read()
    except urllib.error.HTTPError as error:
        body = error.read()  # The reason of an error is in the body.
    with suppress(ValueError, TypeError):
        return dict(json.loads(body))
    return {}


def to_json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def write_journal(update: Json, started: float) -> None:
    """For tests of a queue: proves which process handled which update, and when. A real bot does not need it."""
    if os.environ.get("BOT_JOURNAL"):
        import fcntl  # Only here: Windows does not have it.

        with open(os.environ["BOT_JOURNAL"], "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            run = {"update_id": update.get("update_id"), "pid": os.getpid(), "started": started, "ended": time.time()}
            file.write(to_json(run) + b"\n")


COMMANDS: dict[str, Callable[[Json, str], Json]] = {
    "start": say_hello,
    "help": show_help,
    "echo": echo,
    "button": show_button,
    "slow": answer_slowly,
    "fail": fail,
}
UPDATES: dict[str, Callable[[Json], list[Json]]] = {
    "message": answer_message,
    "callback_query": answer_button,
    "inline_query": answer_inline_query,
}

if __name__ == "__main__":
    sys.exit(main())
