"""The example bot on python-telegram-bot 20 and later, called inside the worker with one update after the other.

BOT_LEGACY_PATH=../examples/python/ptb_bot.py:handle
BOT_TOKEN       the bot's token, in the environment of the worker
BOT_API_URL     another Bot API server (default https://api.telegram.org)
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from telegram import (
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQueryResultArticle,
    InputTextMessageContent,
    Update,
)
from telegram.ext import ApplicationBuilder, CallbackQueryHandler, CommandHandler, ContextTypes, InlineQueryHandler

HELP = (
    "/start – say hello\n/help – this list\n/echo TEXT – get TEXT back\n/button – a button to press\n"
    "/slow – answer after two seconds\n/fail – fail on purpose"
)
server = (os.environ.get("BOT_API_URL") or "https://api.telegram.org").rstrip("/")
application = ApplicationBuilder().token(os.environ["BOT_TOKEN"]).base_url(f"{server}/bot").build()
beginning = asyncio.Lock()
failures: dict[int, Exception] = {}


async def handle(update: dict[str, Any]) -> None:
    """One update of Telegram, as a dict. Returns when it is handled; raises when it is not."""
    async with beginning:
        await application.initialize()  # asks Telegram who the bot is, the first time
    await application.process_update(Update.de_json(update, application.bot))
    failure = failures.pop(update["update_id"], None)
    if failure is not None:
        raise failure


async def remember(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    """Keep what a handler raised: process_update itself only logs it, and the worker would call the update done."""
    if isinstance(update, Update) and context.error is not None:
        failures[update.update_id] = context.error


async def on_worker_stop() -> None:
    """Called once, when the worker ends."""
    await application.shutdown()


async def start(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    name = update.effective_user.first_name if update.effective_user else "friend"
    await reply(update, f"Hello, {name}! 👋\nSend /help to see what I can do.")


async def show_help(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await reply(update, HELP)


async def echo(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    _, _, text = ((update.effective_message and update.effective_message.text) or "").partition(" ")
    await reply(update, text or "Write some text after /echo.")


async def button(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    keyboard = InlineKeyboardMarkup.from_button(InlineKeyboardButton("Press me 👇", callback_data="pressed"))
    await reply(update, "Here is a button.", reply_markup=keyboard)


async def slow(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await asyncio.sleep(2)
    await reply(update, "That took two seconds. 🐢")


async def fail(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    raise RuntimeError("this update asked for a failure with /fail")


async def pressed(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    if (query := update.callback_query) is not None:
        await query.answer("Thank you! 🎉")
        await query.edit_message_text(f"Pressed by {query.from_user.first_name}.")


async def offer(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    if (query := update.inline_query) is not None:
        text = query.query or "Hello! 👋"
        content = InputTextMessageContent(text)
        article = InlineQueryResultArticle("echo", "Send this text", content, description=text)
        await query.answer([article], cache_time=0)


async def reply(update: Update, text: str, **more: Any) -> None:
    """Answer where the message came from. Plain text, so that <, & and * come back as they were."""
    if update.effective_message is not None:
        await update.effective_message.reply_text(text, **more)


for command, callback in {
    "start": start, "help": show_help, "echo": echo, "button": button, "slow": slow, "fail": fail,
}.items():  # fmt: skip
    application.add_handler(CommandHandler(command, callback))
application.add_handler(CallbackQueryHandler(pressed, pattern="^pressed$"))
application.add_handler(InlineQueryHandler(offer))
application.add_error_handler(remember)

if __name__ == "__main__":  # without Scalable mode: the bot asks Telegram for updates itself
    application.run_polling()
