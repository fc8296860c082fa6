"""What Telegram sends: a mix of types in few busy and many quiet chats, made from one seed.

Types and shares are those of a bot in some groups with a shop; the updates themselves are the recorded samples of
examples/updates. Which lane Telegram keeps each in is stated here once more on purpose: the product is judged by it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.places import REPOSITORY

SAMPLES = REPOSITORY / "examples" / "updates"
BUSY, QUIET = 20, 5_000
FIRST_UPDATE = 700_000_000


@dataclass(frozen=True)
class Kind:
    """A type of update: its share in a hundred, where the id of its lane is, and how that lane is called."""

    name: str
    share: int
    id_path: tuple[str, ...]
    lane: str
    may_expire: bool = False
    is_text: bool = False


CHAT, SENDER = ("chat", "id"), ("from", "id")
MIX = (
    Kind("message", 60, CHAT, "chat"),
    Kind("edited_message", 6, CHAT, "chat"),
    Kind("callback_query", 16, SENDER, "callback"),
    Kind("inline_query", 7, SENDER, "inline", may_expire=True),
    Kind("chosen_inline_result", 1, SENDER, "chosen"),
    Kind("poll", 2, ("id",), "poll", is_text=True),
    Kind("poll_answer", 3, ("poll_id",), "poll", is_text=True),
    Kind("channel_post", 2, CHAT, "chat"),
    Kind("message_reaction", 2, CHAT, "reaction"),
    Kind("my_chat_member", 1, CHAT, "my_chat_member"),
)


@dataclass(frozen=True)
class Arrival:
    """One update: `body` is what is posted."""

    update: int
    lane: str
    body: bytes
    may_expire: bool
    always_fails: bool


def arrivals(count: int, chance: random.Random, fails_one_in: int) -> Iterator[Arrival]:
    """So many updates, in Telegram's order."""
    samples = {kind.name: json.loads((SAMPLES / f"{kind.name}.json").read_text()) for kind in MIX}
    shares = [kind.share for kind in MIX]
    for number in range(count):
        kind = chance.choices(MIX, shares)[0]
        whose = chance.randrange(BUSY) if chance.random() < 0.5 else BUSY + chance.randrange(QUIET)
        lane = f"{kind.lane}:{whose}"
        fails = chance.randrange(fails_one_in) == 0 and not kind.may_expire
        update = samples[kind.name]
        update["update_id"] = FIRST_UPDATE + number
        content: dict[str, Any] = update[kind.name]
        content["stress"] = {"lane": lane, "fails": fails}
        _put(content, kind.id_path, str(whose) if kind.is_text else whose + 1)
        body = json.dumps(update, ensure_ascii=False).encode()
        yield Arrival(FIRST_UPDATE + number, lane, body, kind.may_expire, fails)


def _put(content: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        content = content[name]
    content[path[-1]] = value
