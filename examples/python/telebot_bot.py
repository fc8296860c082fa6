"""The example bot on pyTelegramBotAPI (telebot), called inside the worker with one update after the other.

BOT_LEGACY_PATH=../examples/python/telebot_bot.py:handle
BOT_TOKEN       the bot's token, in the environment of the worker
BOT_API_URL     another Bot API server (default https://api.telegram.org)
"""

from __future__ import annotations

import os
import time
from typing import Any

import telebot
from telebot import apihelper, types

HELP = (
    "/start – say hello\n/help – this list\n/echo TEXT – get TEXT back\n/button – a button to press\n"
    "/slow – answer after two seconds\n/fail – fail on purpose"
)
apihelper.API_URL = (os.environ.get("BOT_API_URL") or "https://api.telegram.org").rstrip("/") + "/bot{0}/{1}"
# threaded=False: the handler has ended when process_new_updates returns, and what it raises comes out of there. With
# threads the worker would call the update done while, or although, its handler fails.
bot = telebot.TeleBot(os.environ["BOT_TOKEN"], threaded=False)


def handle(update: dict[str, Any]) -> None:
    """One update of Telegram, as a dict. Returns when it is handled; raises when it is not."""
    bot.process_new_updates([types.Update.de_json(update)])


def reply(message: types.Message, text: str, **more: Any) -> None:
    """Answer where the message came from. Plain text, so that <, & and * come back as they were."""
    topic = message.message_thread_id if message.is_topic_message else None
    bot.send_message(message.chat.id, text, message_thread_id=topic, **more)


@bot.message_handler(commands=["start"])
def start(message: types.Message) -> None:
    name = message.from_user.first_name if message.from_user else "friend"
    reply(message, f"Hello, {name}! 👋\nSend /help to see what I can do.")


@bot.message_handler(commands=["help"])
def show_help(message: types.Message) -> None:
    reply(message, HELP)


@bot.message_handler(commands=["echo"])
def echo(message: types.Message) -> None:
    _, _, text = (message.text or "").partition(" ")
    reply(message, text or "Write some text after /echo.")


@bot.message_handler(commands=["button"])
def button(message: types.Message) -> None:
    keyboard = types.InlineKeyboardMarkup([[types.InlineKeyboardButton("Press me 👇", callback_data="pressed")]])
    reply(message, "Here is a button.", reply_markup=keyboard)


@bot.message_handler(commands=["slow"])
def slow(message: types.Message) -> None:
    time.sleep(2)
    reply(message, "That took two seconds. 🐢")


@bot.message_handler(commands=["fail"])
def fail(message: types.Message) -> None:
    raise RuntimeError("this update asked for a failure with /fail")


@bot.callback_query_handler(lambda query: query.data == "pressed")
def pressed(query: types.CallbackQuery) -> None:
    bot.answer_callback_query(query.id, "Thank you! 🎉")
    text = f"Pressed by {query.from_user.first_name}."
    if query.message:
        bot.edit_message_text(text, query.message.chat.id, query.message.message_id)
    else:
        bot.edit_message_text(text, inline_message_id=query.inline_message_id)


@bot.inline_handler(lambda query: True)
def offer(query: types.InlineQuery) -> None:
    text = query.query or "Hello! 👋"
    article = types.InlineQueryResultArticle(
        "echo", "Send this text", types.InputTextMessageContent(text), description=text
    )
    bot.answer_inline_query(query.id, [article], cache_time=0)


if __name__ == "__main__":  # without Scalable mode: the bot asks Telegram for updates itself
    bot.remove_webhook()
    bot.infinity_polling()
