"""Whether a method call that a bot printed may be performed: it answers the update, where that came from.

A program on the command line may print a user's text, and has no way to tell it from an answer of its own. So whoever
writes to such a bot can have performed what this lets through: one JSON object, a method that answers, in the chat of
that update or for its query, and nothing in it that reaches another chat, spends Stars or opens a file. Source of
methods and parameters: Bot API; `file:` is what a local Bot API server reads (tdlib/telegram-bot-api, README).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from scalable.lib.telegram.webhook_reply import JSON, MethodCall

# What must be given of a call, one of these sets; all that is given must be the update's own.
_IN_CHAT = (("chat_id",),)
_FROM_CHAT = (("chat_id", "from_chat_id", "message_id"),)
_ON_MESSAGE = (("chat_id", "message_id"), ("inline_message_id",))
# Not among them: what is paid for (sendInvoice, whose payload a bot trusts; sendPaidMedia; gifts), and what decides
# about members, messages of others, files of the bot, or the bot itself.
_SENDS = """
    sendMessage sendRichMessage sendMessageDraft sendRichMessageDraft sendPhoto sendAudio sendDocument sendVideo
    sendAnimation sendVoice sendVideoNote sendMediaGroup sendLocation sendVenue sendContact sendPoll sendChecklist
    sendDice sendSticker sendGame sendChatAction
"""
_EDITS = """
    editMessageText editMessageCaption editMessageMedia editMessageReplyMarkup editMessageLiveLocation
    editMessageChecklist stopMessageLiveLocation deleteMessage setMessageReaction
"""
_QUERIES = {
    "answercallbackquery": "callback_query_id",
    "answerinlinequery": "inline_query_id",
    "answershippingquery": "shipping_query_id",
    "answerprecheckoutquery": "pre_checkout_query_id",
    "answerguestquery": "guest_query_id",
}
_ANSWERS: dict[str, tuple[tuple[str, ...], ...]] = {
    **{name.lower(): _IN_CHAT for name in _SENDS.split()},
    **{name.lower(): _FROM_CHAT for name in ("copyMessage", "forwardMessage")},
    **{name.lower(): _ON_MESSAGE for name in _EDITS.split()},
    **{method: ((name,),) for method, name in _QUERIES.items()},
}
# The server reads these as they are; other texts may hold JSON, or name a file.
_TEXTS = frozenset(
    {"text", "caption", "title", "description", "question", "explanation", "address", "url", "callback_data"}
    | {"first_name", "last_name", "phone_number", "vcard", "performer", "message_text", "query"}
)
# A word in the name of what has to do with money, wherever it is: an invoice in the place of a message, a price, Stars.
_MONEY_WORDS = """
    invoice payload provider price prices currency amount tip tips pay paid payment payments star stars gift gifts
    subscription refund
"""
_MONEY = frozenset(_MONEY_WORDS.split())
# Who is asked for the ways of delivery has to name what each costs.
_COSTS_OF_DELIVERY = {"answershippingquery": frozenset({"prices", "amount"})}
# Of the content of an update: its chat, and who did it.
_CHATS = ("chat.id", "message.chat.id", "from.id", "user.id", "user_chat_id", "voter_chat.id")
_MESSAGES = ("message_id", "message.message_id")
# A message that the person has seen and need not be theirs: it may be quoted and copied, not changed. Older ones a bot
# could show to a newcomer from whom a group hides them.
_REPLIED = ("reply_to_message.message_id",)
# Parameters that only the same value of the update may be given for, and where in its content that is. A topic may be
# closed to the person and not to the bot.
_NAMED = {
    "inline_message_id": ("inline_message_id",),
    "business_connection_id": ("business_connection_id", "message.business_connection_id"),
    "message_thread_id": ("message_thread_id", "message.message_thread_id"),
    "direct_messages_topic_id": ("direct_messages_topic.topic_id", "message.direct_messages_topic.topic_id"),
    "guest_query_id": ("guest_query_id",),
}


@dataclass(frozen=True)
class _Own:
    """The ids of one update, as text: `named` are those that only a parameter of that name may hold.

    `messages` may be changed, those of `seen` quoted.
    """

    chats: frozenset[str]
    messages: frozenset[str]
    seen: frozenset[str]
    named: dict[str, frozenset[str]]


def why_refused(call: MethodCall, payload: str) -> Optional[str]:
    """Why a printed call is not performed for the update `payload`, without its text; None: it is. Never raises."""
    if call.content_type != JSON:
        return f"{call.method}, because it is no JSON object"
    ways = _ANSWERS.get(call.method.lower())
    if ways is None:
        return f"{call.method} is no answer to an update"
    try:
        given = _parsed(call.body.decode("utf-8"))
        leaves = list(_leaves(given, ""))
    except ValueError:
        return f"{call.method} with a parameter that cannot be read, or is given twice"
    except RecursionError:
        return f"{call.method} that is too deep to be read"
    costs = _COSTS_OF_DELIVERY.get(call.method.lower(), frozenset())
    if any(_is_money(name) and name not in costs and value is not False for name, value in leaves):
        return f"{call.method} with an invoice, a price or Stars"
    fault = _fault(given, leaves, ways, _own_ids(payload))
    return None if fault is None else f"{call.method} {fault}"


def _fault(
    given: dict[str, Any], leaves: list[tuple[str, Any]], ways: tuple[tuple[str, ...], ...], own: _Own
) -> Optional[str]:
    if not any(all(name in given for name in way) for way in ways):
        return "to no chat, message or query"
    for name, value in leaves:
        if not _is_own(name, value, own, changes=ways is _ON_MESSAGE):
            what = "chat" if name.endswith("chat_id") else name.replace("_id", "").replace("_", " ")
            return f"to another {what} than the update's"
        if isinstance(value, str) and name not in _TEXTS and value.lstrip().lower().startswith("file:"):
            return "with a file of the Bot API server"
    return None


def _is_money(name: str) -> bool:
    return not _MONEY.isdisjoint(name.lower().split("_"))


def _is_own(name: str, value: Any, own: _Own, changes: bool) -> bool:
    """Whether this id, if the parameter is one that names a place or a person, is the update's."""
    if name.endswith(("chat_id", "user_id")):
        allowed = own.chats
    elif name in ("message_id", "reply_to_message_id"):
        allowed = own.messages if changes else own.seen
    elif name in own.named:
        allowed = own.named[name]
    else:
        return True
    return _id(value) in allowed


def _leaves(value: Any, name: str, is_top: bool = True) -> Iterator[tuple[str, Any]]:
    """Every value that is none of several, with the name it has, and every named one that should be an id or price.

    A parameter may also be given as text that holds its JSON.
    """
    if isinstance(value, str) and name not in _TEXTS and is_top and value.lstrip()[:1] in ("{", "["):
        value = _parsed(value)
    if isinstance(value, dict):
        if name.endswith("_id") or _is_money(name):
            yield name, value
        for inner_name, inner in value.items():
            yield from _leaves(inner, inner_name, is_top=name == "" and is_top)
    elif isinstance(value, list):
        if name.endswith("_id") or _is_money(name):
            yield name, value
        for inner in value:
            yield from _leaves(inner, name, is_top=False)
    else:
        yield name, value


def _parsed(text: str) -> Any:
    """The JSON in `text`, as loosely as a server may read it. Raises ValueError, also for a name that comes twice."""
    return json.loads(text, object_pairs_hook=_each_once, strict=False)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice, and servers differ in which one counts")
    return found


def _own_ids(payload: str) -> _Own:
    try:
        update = json.loads(payload)
    except (ValueError, RecursionError):
        update = None
    contents = update.items() if isinstance(update, dict) else ()
    kind, content = next(((name, value) for name, value in contents if isinstance(value, dict)), ("", {}))
    named = {name: _ids(content, "id") if name == f"{kind}_id" else frozenset() for name in _QUERIES.values()}
    named.update({name: _ids(content, *paths) for name, paths in _NAMED.items()})
    return _Own(_ids(content, *_CHATS), _ids(content, *_MESSAGES), _ids(content, *_MESSAGES, *_REPLIED), named)


def _ids(content: Any, *paths: str) -> frozenset[str]:
    """The ids at these places of it."""
    found = set()
    for path in paths:
        value = content
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        found.add(_id(value))
    return frozenset(found - {""})


def _id(value: Any) -> str:
    """The id as text; empty for what is none."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
