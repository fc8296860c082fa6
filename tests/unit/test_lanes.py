"""find_place: the lane of every type of update in every order, its deadlines, and that nothing makes it fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.telegram.lanes import ORDERS, find_place
from scalable.lib.telegram.update import read_update
from tests.support.generators.fuzz_counts import fuzzed

UPDATES = Path(__file__).resolve().parents[2] / "examples" / "updates"
GARDENERS, FORUM, NEWS, NEIGHBOURS = "-1009900000001", "-1009900000002", "-1009900000003", "-1009900000004"
ADA, BUDI, LAYLA, ZOE = "9900000001", "9900000002", "9900000003", "9900000004"
SHOP = f"business:Qx7example_business_connection_01:{ZOE}"

# One row per file in examples/updates: the lane in the orders `telegram` and `chat`, then urgent and expires seconds.
EXPECTED = {
    "message": (f"chat:{GARDENERS}", f"chat:{GARDENERS}", None, None),
    "message-start": (f"chat:{BUDI}", f"chat:{BUDI}", None, None),
    "message-help": (f"chat:{ADA}", f"chat:{ADA}", None, None),
    "message-button": (f"chat:{BUDI}", f"chat:{BUDI}", None, None),
    "message-echo": (f"chat:{LAYLA}", f"chat:{LAYLA}", None, None),
    "message-fail": (f"chat:{ZOE}", f"chat:{ZOE}", None, None),
    "message-slow": (f"chat:{ZOE}", f"chat:{ZOE}", None, None),
    "message-photo": (f"chat:{LAYLA}", f"chat:{LAYLA}", None, None),
    "message-topic": (f"chat:{FORUM}", f"chat:{FORUM}", None, None),
    "message-webapp": (f"chat:{BUDI}", f"chat:{BUDI}", None, None),
    "edited_message": (f"chat:{GARDENERS}", f"chat:{GARDENERS}", None, None),
    "channel_post": (f"chat:{NEWS}", f"chat:{NEWS}", None, None),
    "edited_channel_post": (f"chat:{NEWS}", f"chat:{NEWS}", None, None),
    "business_connection": (f"business_connection:{BUDI}", f"user:{BUDI}", None, None),
    "business_message": (SHOP, SHOP, None, None),
    "edited_business_message": (SHOP, SHOP, None, None),
    "deleted_business_messages": (SHOP, SHOP, None, None),
    "message_reaction": (f"reaction:{GARDENERS}", f"chat:{GARDENERS}", None, None),
    "message_reaction_count": (f"reaction_count:{NEWS}", f"chat:{NEWS}", None, None),
    "chat_boost": (f"boost:{NEWS}", f"chat:{NEWS}", None, None),
    "removed_chat_boost": (f"boost:{NEWS}", f"chat:{NEWS}", None, None),
    "my_chat_member": (f"my_chat_member:{GARDENERS}", f"chat:{GARDENERS}", None, None),
    "chat_member": (f"member:{LAYLA}", f"chat:{GARDENERS}", None, None),
    "chat_join_request": (f"member:{LAYLA}", f"chat:{GARDENERS}", None, None),
    "callback_query": (f"callback:{BUDI}", f"chat:{BUDI}", 150, None),
    "inline_query": (f"inline:{ADA}", f"user:{ADA}", 30, 30),
    "chosen_inline_result": (f"chosen:{ADA}", f"user:{ADA}", None, None),
    "shipping_query": (f"payment:{BUDI}", f"user:{BUDI}", 150, 150),
    "pre_checkout_query": (f"payment:{BUDI}", f"user:{BUDI}", 150, 150),
    "poll": ("poll:5990000000000000010", "poll:5990000000000000010", None, None),
    "poll_answer": ("poll:5990000000000000011", f"user:{LAYLA}", None, None),
    "purchased_paid_media": (f"paid_media:{ADA}", f"user:{ADA}", None, None),
    "guest_message": (f"guest:{NEIGHBOURS}", f"chat:{NEIGHBOURS}", None, None),
    "managed_bot": (f"managed_bot:{ADA}", f"user:{ADA}", None, None),
    "subscription": (f"subscription:{ADA}", f"user:{ADA}", None, None),
    "stopped_message_generation": (f"stop:{ADA}", f"chat:{ADA}", 150, None),
}
TYPES = sorted({name.partition("-")[0] for name in EXPECTED})
DEADLINES = {name.partition("-")[0]: row[2:] for name, row in EXPECTED.items()}
CHAT_TYPES = sorted(
    name.partition("-")[0] for name, row in EXPECTED.items() if row[1].startswith("chat:") and "-" not in name
)
ODD = [None, True, False, 1.0, 1e300, "", "42", "-100", [], [42], {}, {"id": 42}, 2**63, -(2**63) - 1]

either_order = pytest.mark.parametrize("order", ["telegram", "chat"])


def chat(number: Any, **rest: Any) -> dict[str, Any]:
    return {"chat": {"id": number}, **rest}


def lane(update_type: str, content: Any, order: str = "telegram") -> str | None:
    return find_place(update_type, content, order)[0]


def about_chat(update_type: str, number: int) -> dict[str, Any]:
    """An update of this type that happened in the chat `number`."""
    return {"message": chat(number)} if update_type == "callback_query" else chat(number)


# The table


def test_every_sample_update_has_a_row_here():
    assert sorted(EXPECTED) == sorted(path.stem for path in UPDATES.glob("*.json"))


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("order", ORDERS)
def test_every_sample_update_has_the_place_of_its_row(name: str, order: str):
    in_telegram_order, in_chat_order, urgent, expires = EXPECTED[name]

    update = read_update((UPDATES / f"{name}.json").read_bytes(), order)

    expected_lane = {"telegram": in_telegram_order, "chat": in_chat_order, "none": None}[order]
    assert (update.lane, update.urgent_seconds, update.expires_seconds) == (expected_lane, urgent, expires)


def test_telegrams_own_lanes_are_the_default():
    body = (UPDATES / "inline_query.json").read_bytes()

    assert read_update(body).lane == read_update(body, "telegram").lane is not None


# Telegram's own lanes


def test_the_vote_and_the_poll_it_changes_are_one_lane():
    assert lane("poll", {"id": "7"}) == lane("poll_answer", {"poll_id": "7", "user": {"id": 1}}) == "poll:7"


def test_a_request_to_join_and_what_becomes_of_it_are_one_lane_whoever_decides():
    accepted = chat(-1, old_chat_member={"user": {"id": 5}}, **{"from": {"id": 6}})

    assert lane("chat_join_request", {"from": {"id": 5}}) == lane("chat_member", accepted) == "member:5"


def test_a_button_press_does_not_wait_for_the_messages_of_the_chat():
    press = {"from": {"id": 5}, "message": chat(5)}

    assert lane("callback_query", press) != lane("message", chat(5, **{"from": {"id": 5}}))


def test_a_press_below_an_inline_message_is_in_the_lane_of_its_user():
    assert lane("callback_query", {"from": {"id": 5}, "inline_message_id": "x"}) == "callback:5"


def test_what_a_user_does_in_different_ways_does_not_wait_for_each_other():
    user = {"from": {"id": 5}, "user": {"id": 5}}
    kinds = [
        "callback_query",
        "inline_query",
        "chosen_inline_result",
        "shipping_query",
        "managed_bot",
        "subscription",
        "purchased_paid_media",
        "business_connection",
        "chat_join_request",
    ]

    assert len({lane(kind, user) for kind in kinds}) == len(kinds)


def test_the_same_customer_of_two_businesses_is_two_lanes():
    first, second = (chat(5, business_connection_id=name) for name in ("one", "two"))

    assert lane("business_message", first) != lane("business_message", second)


# Order chat


def test_in_order_chat_a_press_waits_for_the_messages_of_its_private_chat():
    press = {"from": {"id": 5}, "message": chat(5)}

    assert lane("callback_query", press, "chat") == lane("message", chat(5), "chat") == "chat:5"


def test_in_order_chat_a_press_below_a_business_message_waits_for_that_chat():
    message = chat(5, business_connection_id="shop")
    press = {"from": {"id": 5}, "message": message}

    assert lane("callback_query", press, "chat") == lane("business_message", message, "chat") == "business:shop:5"


def test_in_order_chat_a_vote_in_the_name_of_a_chat_is_of_that_chat():
    vote = {"poll_id": "7", "voter_chat": {"id": -100}, "user": {"id": 136817688}}

    assert lane("poll_answer", vote, "chat") == "chat:-100"


def test_in_order_chat_a_reaction_in_the_name_of_a_chat_is_of_the_chat_it_happened_in():
    assert lane("message_reaction", chat(-100, actor_chat={"id": -200}), "chat") == "chat:-100"


@pytest.mark.parametrize("update_type", CHAT_TYPES)
@given(number=st.integers(-(2**63), 2**63 - 1))
@fuzzed(20)
def test_in_order_chat_everything_of_a_chat_is_one_lane(update_type: str, number: int):
    assert lane(update_type, about_chat(update_type, number), "chat") == lane("message", chat(number), "chat")


@fuzzed(100)
@given(st.sampled_from(CHAT_TYPES), st.sampled_from(CHAT_TYPES), *[st.integers(-(2**63), 2**63 - 1)] * 2)
def test_in_order_chat_different_chats_never_share_a_lane(one: str, other: str, first: int, second: int):
    lanes = {lane(one, about_chat(one, first), "chat"), lane(other, about_chat(other, second), "chat")}

    assert len(lanes) == len({first, second})


# Ids


@pytest.mark.parametrize("odd", ODD, ids=repr)
@either_order
def test_an_odd_id_gives_no_lane(odd: Any, order: str):
    holder = {"id": odd}
    content = {
        "chat": holder,
        "from": holder,
        "user": holder,
        "voter_chat": holder,
        "message": {"chat": holder},
        "old_chat_member": {"user": holder},
        "id": [odd],
        "poll_id": [odd],
        "business_connection_id": "shop",
    }

    assert {kind: lane(kind, content, order) for kind in TYPES} == dict.fromkeys(TYPES)


@pytest.mark.parametrize("content", [*ODD, {"chat": [1]}, {"chat": "x", "from": 1, "message": {"chat": 1}}], ids=repr)
@either_order
def test_odd_content_gives_no_lane_and_the_deadlines_of_the_type(content: Any, order: str):
    places = {kind: find_place(kind, content, order) for kind in TYPES}

    assert places == {kind: (None, *DEADLINES[kind]) for kind in TYPES}


def test_a_business_chat_without_its_connection_has_no_lane():
    assert lane("business_message", chat(5)) is None
    assert lane("business_message", chat(5, business_connection_id="")) is None
    assert lane("business_message", {"business_connection_id": "shop"}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5990000000000000010", "poll:5990000000000000010"),
        ("-_aZ09", "poll:-_aZ09"),
        ("x" * 48, "poll:" + "x" * 48),
    ],
)
def test_a_short_plain_text_id_is_seen_in_the_lane(text: str, expected: str):
    assert lane("poll", {"id": text}) == expected


@pytest.mark.parametrize("text", ["x" * 49, "a b", "a:b", "a\n", "é", "٣", "\x00", "\ud800", "🌻", "' OR 1=1 --", " "])
def test_any_other_text_id_is_a_digest_in_the_lane(text: str):
    first, again = (lane("poll", {"id": text}) for _ in range(2))

    assert first is not None
    assert first == again
    assert first.startswith("poll:~")
    assert len(first) == len("poll:~") + 32


text_ids = st.text(min_size=1) | st.text("ab:~_-0", min_size=1, max_size=6) | st.text("a", min_size=40, max_size=60)


@fuzzed(300)
@given(text_ids, text_ids, *[st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1, -1, 11, 0])] * 2)
@example("a", "a:1", 11, 1)
@example("A", "a", 1, 1)
@example("a", "a ", 1, 1)
def test_two_business_chats_share_a_lane_only_if_both_their_ids_are_equal(
    one_connection: str, other_connection: str, one_chat: int, other_chat: int
):
    one = lane("business_message", chat(one_chat, business_connection_id=one_connection))
    other = lane("business_message", chat(other_chat, business_connection_id=other_connection))

    assert (one == other) == ((one_connection, one_chat) == (other_connection, other_chat))


def test_a_plain_id_cannot_be_mistaken_for_the_digest_of_another():
    digest = (lane("poll", {"id": "a b"}) or "").partition(":")[2]

    assert lane("poll", {"id": digest}) != lane("poll", {"id": "a b"})
    assert lane("poll", {"id": digest[1:]}) != lane("poll", {"id": "a b"})


# Whatever comes


@pytest.mark.parametrize("update_type", [None, "", "something_telegram_adds_tomorrow"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_unknown_type_waits_for_nobody_and_has_no_deadline(update_type: str | None, order: str):
    place = find_place(update_type, chat(5, id="7", **{"from": {"id": 5}}), order)

    assert place == (None, None, None)


def test_the_lane_is_that_of_the_field_that_names_the_type():
    body = json.dumps({"update_id": 1, "inline_query": {"from": {"id": 5}}, "message": chat(6)}).encode()

    assert (read_update(body).update_type, read_update(body).lane) == ("inline_query", "inline:5")


names = st.sampled_from([
    "id", "chat", "from", "user", "message", "poll_id", "business_connection_id", "voter_chat", "old_chat_member",
])  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner, max_size=6),
    max_leaves=20,
)


@fuzzed(500)
@given(st.dictionaries(st.sampled_from(TYPES) | st.text(), json_values, max_size=3), st.sampled_from(ORDERS))
def test_every_json_object_has_a_place(value: dict[str, Any], order: str):
    update = read_update(json.dumps(value).encode("ascii"), order)

    assert update.lane is None or (update.lane.isascii() and update.lane.isprintable() and 0 < len(update.lane) <= 96)
    assert (update.urgent_seconds, update.expires_seconds) == DEADLINES.get(update.update_type or "", (None, None))
    assert order != "none" or update.lane is None


def test_the_longest_lane_there_can_be_fits():
    content = chat(-(2**63), business_connection_id="x" * 48)

    assert len(lane("business_message", content) or "") == 78
