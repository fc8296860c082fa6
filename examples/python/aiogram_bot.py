"""The example bot on aiogram 3, called inside the worker with one update after the other.

BOT_LEGACY_PATH=../examples/python/aiogram_bot.py:handle
BOT_TOKEN       the bot's token, in the environment of the worker
BOT_API_URL     another Bot API server (default https://api.telegram.org)
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command, CommandObject, CommandStart
from aiogram.methods import TelegramMethod
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InlineQuery,
    InlineQueryResultArticle,
    InputTextMessageContent,
    Message,
    Update,
)

HELP = (
    "/start – say hello\n/help – this list\n/echo TEXT – get TEXT back\n/button – a button to press\n"
    "/slow – answer after two seconds\n/fail – fail on purpose"
)
server = TelegramAPIServer.from_base(os.environ.get("BOT_API_URL") or "https://api.telegram.org")
bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
dispatcher = Dispatcher()


async def handle(update: dict[str, Any]) -> None:
    """One update of Telegram, as a dict. Returns when it is handled; raises when it is not.

    feed_update and not feed_webhook_update: that one lets go of a handler after 55 seconds, and the worker would call
    the update done while, or although, its handler fails.
    """
    result = await dispatcher.feed_update(bot, Update.model_validate(update, context={"bot": bot}))
    if isinstance(result, TelegramMethod):  # a handler returned a call instead of making it
        await bot(result)


async def on_worker_stop() -> None:
    """Called once, when the worker ends."""
    await bot.session.close()


@dispatcher.message(CommandStart())
async def start(message: Message) -> None:
    name = message.from_user.first_name if message.from_user else "friend"
    await message.answer(f"Hello, {name}! 👋\nSend /help to see what I can do.")


@dispatcher.message(Command("help"))
async def show_help(message: Message) -> None:
    await message.answer(HELP)


@dispatcher.message(Command("echo"))
async def echo(message: Message, command: CommandObject) -> None:
    await message.answer(command.args or "Write some text after /echo.")


@dispatcher.message(Command("button"))
async def button(message: Message) -> None:
    keyboard = [[InlineKeyboardButton(text="Press me 👇", callback_data="pressed")]]
    await message.answer("Here is a button.", reply_markup=InlineKeyboardMarkup(inline_keyboard=keyboard))


@dispatcher.message(Command("slow"))
async def slow(message: Message) -> None:
    await asyncio.sleep(2)
    await message.answer("That took two seconds. 🐢")


@dispatcher.message(Command("fail"))
async def fail(message: Message) -> None:
    raise RuntimeError("this update asked for a failure with /fail")


@dispatcher.callback_query(F.data == "pressed")
async def pressed(query: CallbackQuery) -> None:
    await query.answer("Thank you! 🎉")
    text = f"Pressed by {query.from_user.first_name}."
    if query.message:
        await bot.edit_message_text(text, chat_id=query.message.chat.id, message_id=query.message.message_id)
    else:
        await bot.edit_message_text(text, inline_message_id=query.inline_message_id)


@dispatcher.inline_query()
async def offer(query: InlineQuery) -> None:
    text = query.query or "Hello! 👋"
    content = InputTextMessageContent(message_text=text)
    article = InlineQueryResultArticle(
        id="echo", title="Send this text", description=text, input_message_content=content
    )
    await query.answer([article], cache_time=0)


if __name__ == "__main__":  # without Scalable mode: the bot asks Telegram for updates itself
    asyncio.run(dispatcher.start_polling(bot))
