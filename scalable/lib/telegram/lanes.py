"""Which lane an update runs in and how long it may wait: one table. Does not use HTTP, JSON or the queue.

Updates of one lane run one after the other. Order `telegram` has the lanes in which Telegram's own server delivers:
it does not send the next update of a lane before the last one was answered, and each row is a lane of its own kind.
Source: tdlib/telegram-bot-api, `webhook_queue_id` and the timeout of every add_update in Client.cpp, and how
WebhookActor.cpp sends one update of a queue at a time.

Plain classes: a CGI process may read this for each update, and importing `dataclasses` would be most of its work.
"""

from __future__ import annotations

import re

# As BOT_QUEUE_ORDER names them: Telegram's own lanes; one lane for everything of a chat; no lanes.
ORDERS = ("telegram", "chat", "none")
_SAFE_TEXT = r"[A-Za-z0-9_-]{1,48}"
_BIGINT = range(-(2**63), 2**63)


class _Lane:
    """A kind of lane and the paths to the ids that tell its lanes apart: a number, a text, or both."""

    __slots__ = ("kind", "number", "text")

    def __init__(self, kind: str, number: str = "", text: str = "") -> None:
        self.kind = kind
        self.number = number
        self.text = text


class _Row:
    __slots__ = ("expires_seconds", "lane", "urgent_seconds")

    def __init__(self, lane: _Lane, urgent_seconds: float | None = None, expires_seconds: float | None = None) -> None:
        self.lane = lane
        self.urgent_seconds = urgent_seconds
        self.expires_seconds = expires_seconds


_CHAT = _Lane("chat", "chat.id")
_BUSINESS = _Lane("business", "chat.id", text="business_connection_id")

# Telegram itself gives up after 24 hours, on a chosen result after 600 s, on an inline query after 30 s and on the four
# others with seconds after 150 s. Here updates expire only when their answer cannot be delivered any more.
_ROWS = {
    "message": _Row(_CHAT),
    "edited_message": _Row(_CHAT),
    "channel_post": _Row(_CHAT),
    "edited_channel_post": _Row(_CHAT),
    "business_connection": _Row(_Lane("business_connection", "user.id")),
    # Telegram's lane is the customer alone; here the same customer may talk to two businesses at once.
    "business_message": _Row(_BUSINESS),
    "edited_business_message": _Row(_BUSINESS),
    "deleted_business_messages": _Row(_BUSINESS),
    "message_reaction": _Row(_Lane("reaction", "chat.id")),
    "message_reaction_count": _Row(_Lane("reaction_count", "chat.id")),
    "chat_boost": _Row(_Lane("boost", "chat.id")),
    "removed_chat_boost": _Row(_Lane("boost", "chat.id")),
    "my_chat_member": _Row(_Lane("my_chat_member", "chat.id")),
    # Of the member it is about, who need not be the one who did it (`from`).
    "chat_member": _Row(_Lane("member", "old_chat_member.user.id")),
    "chat_join_request": _Row(_Lane("member", "from.id")),
    # Never expires: the press may place an order.
    "callback_query": _Row(_Lane("callback", "from.id"), urgent_seconds=150),
    "inline_query": _Row(_Lane("inline", "from.id"), urgent_seconds=30, expires_seconds=30),
    "chosen_inline_result": _Row(_Lane("chosen", "from.id")),
    "shipping_query": _Row(_Lane("payment", "from.id"), urgent_seconds=150, expires_seconds=150),
    "pre_checkout_query": _Row(_Lane("payment", "from.id"), urgent_seconds=150, expires_seconds=150),
    "poll": _Row(_Lane("poll", text="id")),
    "poll_answer": _Row(_Lane("poll", text="poll_id")),
    "purchased_paid_media": _Row(_Lane("paid_media", "from.id")),
    "guest_message": _Row(_Lane("guest", "chat.id")),
    "managed_bot": _Row(_Lane("managed_bot", "user.id")),
    "subscription": _Row(_Lane("subscription", "user.id")),
    # Not behind the jobs of the chat that it is to stop. A late one does no harm.
    "stopped_message_generation": _Row(_Lane("stop", "chat.id"), urgent_seconds=150),
}

# Every type of update that has a lane of its own kind.
KNOWN_TYPES = tuple(_ROWS)

# Order `chat`: the first of these whose ids are there. A button press has its chat in the message it belongs to; a
# business chat is not the private chat of the same person with the bot.
_CHAT_ORDER = (
    _BUSINESS,
    _Lane("business", "message.chat.id", text="message.business_connection_id"),
    _CHAT,
    _Lane("chat", "message.chat.id"),
    _Lane("chat", "voter_chat.id"),
    _Lane("user", "from.id"),
    _Lane("user", "user.id"),
)


def find_place(
    update_type: str | None, content: object, order: str = "telegram"
) -> tuple[str | None, float | None, float | None]:
    """(lane, urgent_seconds, expires_seconds) of an update whose field `update_type` holds `content`.

    `order` is one of ORDERS. The lane is ASCII, at most 96 characters: its kind and the ids that make it, such as
    `chat:-1001234567890`; without one the update waits for no other. None for seconds: it is not urgent, never expires.
    Never fails: an unknown type has neither lane nor deadline, and without the ids of its lane an update has no lane.
    """
    row = _ROWS.get(update_type or "")
    if row is None:
        return None, None, None
    lane = None
    if order == "chat":
        lane = next((name for name in (_name(kind, content) for kind in _CHAT_ORDER) if name is not None), None)
    if lane is None and order != "none":
        lane = _name(row.lane, content)
    return lane, row.urgent_seconds, row.expires_seconds


def _name(lane: _Lane, content: object) -> str | None:
    """The lane of this kind that `content` belongs to; None when one of the ids is missing or has an odd type."""
    parts: list[str | None] = [lane.kind]
    if lane.text:
        parts.append(_text_id(_field(content, lane.text)))
    if lane.number:
        number = _field(content, lane.number)
        is_id = isinstance(number, int) and not isinstance(number, bool) and number in _BIGINT
        parts.append(str(number) if is_id else None)
    return None if None in parts else ":".join(parts)  # type: ignore[arg-type]


def _field(value: object, path: str) -> object:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text_id(value: object) -> str | None:
    """The id itself when it is short and plain, else a digest of it. No plain id holds `~` or `:`."""
    if not isinstance(value, str) or not value:
        return None
    if re.fullmatch(_SAFE_TEXT, value, re.ASCII):  # compiled only for an update that has such an id
        return value
    import hashlib  # here, because next to no id needs it

    return "~" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:32]
