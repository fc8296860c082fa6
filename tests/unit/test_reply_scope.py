"""What a user's text can have performed by a bot that prints it: an answer in the same place, and nothing else."""

from __future__ import annotations

import json
import random

import pytest

from scalable.lib.telegram.reply_scope import why_refused
from scalable.lib.telegram.webhook_reply import read_call
from tests.support.places import REPOSITORY

GROUP, PERSON, ELSEWHERE = -1001234567890, 5550100, 987654321
MESSAGE = {
    "update_id": 1,
    "message": {
        "message_id": 44,
        "from": {"id": PERSON},
        "chat": {"id": GROUP},
        "message_thread_id": 9,
        "text": "…",
        "reply_to_message": {"message_id": 43, "chat": {"id": GROUP}, "from": {"id": ELSEWHERE}},
        "forward_origin": {"type": "user", "sender_user": {"id": ELSEWHERE}},
    },
}
PRESS = {
    "update_id": 2,
    "callback_query": {
        "id": "77",
        "from": {"id": PERSON},
        "message": {"message_id": 44, "chat": {"id": GROUP}, "from": {"id": ELSEWHERE}},
    },
}
PRESS_INLINE = {"update_id": 3, "callback_query": {"id": "78", "from": {"id": PERSON}, "inline_message_id": "AbC"}}
TWICE = f'{{"chat_id":{GROUP},"chat_id":{ELSEWHERE}}}'
INLINE = {"update_id": 5, "inline_query": {"id": "9", "from": {"id": PERSON}}}
GUEST = {"update_id": 6, "guest_message": {"guest_query_id": "g"}}
PRICE = {"currency": "XTR", "amount": 5}
INVOICE = {"title": "t", "description": "d", "payload": "premium:7", "currency": "XTR", "prices": [{"amount": 1}]}
BUSINESS = {
    "update_id": 4,
    "business_message": {
        "message_id": 44,
        "chat": {"id": PERSON},
        "from": {"id": PERSON},
        "business_connection_id": "b1",
    },
}


def refused(update: object, method: str, **parameters: object) -> str | None:
    """Why the call is refused for a bot that printed it when it was given that update."""
    call = read_call(json.dumps({"method": method, **parameters}).encode())
    assert call is not None
    return why_refused(call, json.dumps(update))


@pytest.mark.parametrize(
    ("update", "method", "parameters"),
    [
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": '{"chat_id": 1'}),
        (MESSAGE, "SENDmessage", {"chat_id": str(GROUP), "text": "[file:///etc/passwd]", "message_thread_id": 9}),
        (MESSAGE, "sendMessage", {"chat_id": PERSON, "text": "to who wrote"}),
        (MESSAGE, "sendPhoto", {"chat_id": GROUP, "photo": "https://example.com/a.png", "caption": "file:///a"}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "reply_parameters": {"message_id": 44}}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": f'{{"message_id":44,"chat_id":{GROUP}}}'}),
        (
            MESSAGE,
            "sendMessage",
            {"chat_id": GROUP, "reply_markup": json.dumps({"inline_keyboard": [[{"callback_data": '{"chat_id":1}'}]]})},
        ),
        (MESSAGE, "sendMediaGroup", {"chat_id": GROUP, "media": [{"type": "photo", "media": "AgAC"}]}),
        (MESSAGE, "copyMessage", {"chat_id": GROUP, "from_chat_id": GROUP, "message_id": 43}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "reply_to_message_id": 43}),
        (MESSAGE, "deleteMessage", {"chat_id": GROUP, "message_id": 44}),
        (MESSAGE, "sendChatAction", {"chat_id": GROUP, "action": "typing", "allow_paid_broadcast": False}),
        (PRESS, "answerCallbackQuery", {"callback_query_id": "77", "text": "ok"}),
        (PRESS, "answerCallbackQuery", {"callback_query_id": 77}),
        (PRESS, "editMessageText", {"chat_id": GROUP, "message_id": 44, "text": "done"}),
        (PRESS_INLINE, "editMessageText", {"inline_message_id": "AbC", "text": "done"}),
        (
            {"inline_query": {"id": "9", "from": {"id": 1}}},
            "answerInlineQuery",
            {"inline_query_id": "9", "results": "[]"},
        ),
        ({"shipping_query": {"id": "9"}}, "answerShippingQuery", {"shipping_query_id": "9", "ok": True}),
        (
            {"shipping_query": {"id": "9"}},
            "answerShippingQuery",
            {
                "shipping_query_id": "9",
                "shipping_options": [{"id": "a", "title": "Post", "prices": [{"label": "Post", "amount": 500}]}],
            },
        ),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": '{"price": 5}', "suggested_post_parameters": {}}),
        ({"pre_checkout_query": {"id": "9"}}, "answerPreCheckoutQuery", {"pre_checkout_query_id": "9", "ok": True}),
        ({"guest_message": {"guest_query_id": "g"}}, "answerGuestQuery", {"guest_query_id": "g", "result": {}}),
        ({"chat_join_request": {"user_chat_id": 8}}, "sendMessage", {"chat_id": 8, "text": "rules"}),
        (BUSINESS, "sendMessage", {"chat_id": PERSON, "business_connection_id": "b1", "text": "x"}),
    ],
)
def test_an_answer_to_the_update_is_performed(update: object, method: str, parameters: dict[str, object]):
    assert refused(update, method, **parameters) is None


@pytest.mark.parametrize(
    ("update", "method", "parameters"),
    [
        (MESSAGE, "sendMessage", {"chat_id": ELSEWHERE, "text": "x"}),
        (MESSAGE, "sendMessage", {"chat_id": "@channel", "text": "x"}),
        (MESSAGE, "sendMessage", {"text": "x"}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "message_thread_id": 10}),
        (PRESS, "sendMessage", {"chat_id": GROUP, "text": "x", "message_thread_id": 10}),
        (PRESS, "sendMessage", {"chat_id": GROUP, "text": "x", "direct_messages_topic_id": 10}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "reply_to_message_id": 12}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "reply_parameters": {"message_id": 12}}),
        (MESSAGE, "copyMessage", {"chat_id": PERSON, "from_chat_id": GROUP, "message_id": 12}),
        (MESSAGE, "sendMessage", {"chat_id": float(PERSON)}),
        (MESSAGE, "sendMessage", {"chat_id": f" {PERSON}"}),
        (MESSAGE, "sendMessage", {"chat_id": [PERSON]}),
        (MESSAGE, "sendMessage", {"chat_id": {"chat_id": PERSON}}),
        (MESSAGE, "sendMessage", {"chat_id": True}),
        (MESSAGE, "sendMessage", {"CHAT_ID": GROUP}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": {"message_id": 1, "chat_id": ELSEWHERE}}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": f'{{"chat\\u005fid":{ELSEWHERE}}}'}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": f' \n{{"chat_id":{ELSEWHERE},"a":"\n"}}'}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": f'{{"chat_id":{ELSEWHERE}'}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_parameters": TWICE}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "business_connection_id": "b1"}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "allow_paid_broadcast": True}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "text": "x", "allow_paid_broadcast": "1"}),
        (INLINE, "answerInlineQuery", {"inline_query_id": "9", "results": [{"input_message_content": INVOICE}]}),
        (INLINE, "answerInlineQuery", {"inline_query_id": "9", "results": json.dumps([{"x": [INVOICE]}])}),
        (GUEST, "answerGuestQuery", {"guest_query_id": "g", "result": {"input_message_content": INVOICE}}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "suggested_post_parameters": {"price": PRICE}}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "suggested_post_parameters": json.dumps({"price": PRICE})}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "suggested_post_parameters": {"price": {}}}),
        (MESSAGE, "sendPhoto", {"chat_id": GROUP, "photo": "a", "star_count": 5}),
        (MESSAGE, "sendMessage", {"chat_id": GROUP, "reply_markup": {"inline_keyboard": [[{"pay": True}]]}}),
        (MESSAGE, "sendMediaGroup", {"chat_id": GROUP, "media": [{"type": "photo", "PRICES": []}]}),
        (MESSAGE, "sendPoll", {"chat_id": GROUP, "provider_token": "", "max_tip_amount": 1}),
        ({"shipping_query": {"id": "9"}}, "answerShippingQuery", {"shipping_query_id": "9", "currency": "XTR"}),
        (MESSAGE, "sendDocument", {"chat_id": GROUP, "document": "file:///etc/passwd"}),
        (MESSAGE, "sendDocument", {"chat_id": GROUP, "document": " FILE:/etc/passwd"}),
        (MESSAGE, "sendMediaGroup", {"chat_id": GROUP, "media": [{"media": "file:///etc/passwd"}]}),
        (MESSAGE, "sendMediaGroup", {"chat_id": GROUP, "media": '[{"media":"fil\\u0065:///etc/passwd"}]'}),
        (MESSAGE, "forwardMessage", {"chat_id": GROUP, "from_chat_id": ELSEWHERE, "message_id": 1}),
        (MESSAGE, "copyMessage", {"chat_id": GROUP, "message_id": 1}),
        (MESSAGE, "deleteMessage", {"chat_id": GROUP, "message_id": 43}),
        (MESSAGE, "deleteMessage", {"chat_id": GROUP}),
        (MESSAGE, "editMessageText", {"inline_message_id": "AbC", "text": "x"}),
        (PRESS, "editMessageText", {"chat_id": GROUP, "message_id": 44, "inline_message_id": "AbC"}),
        (PRESS, "editMessageText", {"chat_id": GROUP, "message_id": 12, "text": "x"}),
        (PRESS, "answerCallbackQuery", {"callback_query_id": "78"}),
        (PRESS, "answerPreCheckoutQuery", {"pre_checkout_query_id": "77", "ok": True}),
        (BUSINESS, "sendMessage", {"chat_id": PERSON, "business_connection_id": "b2", "text": "x"}),
        *((MESSAGE, method, {"chat_id": GROUP, "user_id": PERSON}) for method in (
            "setWebhook", "deleteWebhook", "logOut", "close", "banChatMember", "promoteChatMember", "leaveChat",
            "approveChatJoinRequest", "pinChatMessage", "setMyCommands", "sendInvoice", "sendPaidMedia", "sendGift",
            "createInvoiceLink", "refundStarPayment", "transferGift", "transferBusinessAccountStars", "getUpdates",
            "exportChatInviteLink", "setChatPermissions", "setMyName", "deleteMessages", "somethingNew",
        )),
    ],
)  # fmt: skip
def test_whatever_reaches_further_is_refused(update: object, method: str, parameters: dict[str, object]):
    assert refused(update, method, **parameters) is not None


@pytest.mark.parametrize(
    "printed",
    [
        b"method=sendMessage&chat_id=5550100&text=hi",
        b'--XyZ\r\nContent-Disposition: form-data; name="method"\r\n\r\nsendMessage\r\n--XyZ--',
        b'{"method":"sendMessage","chat_id":5550100,"chat_id":987654321,"text":"hi"}',
        b'{"method":"sendMessage","method":"banChatMember","chat_id":5550100}',
    ],
)
def test_a_form_and_a_parameter_given_twice_are_refused(printed: bytes):
    call = read_call(printed)

    assert call is not None
    assert why_refused(call, json.dumps(MESSAGE)) is not None


@pytest.mark.parametrize("payload", ["", "null", "[]", "{}", '{"update_id":1}', '{"message":7}', "[" * 100_000])
def test_of_an_update_without_a_chat_nothing_is_performed(payload: str):
    call = read_call(b'{"method":"sendMessage","chat_id":5,"text":"x"}')

    assert call is not None
    assert why_refused(call, payload) == "sendMessage to another chat than the update's"


def test_what_is_refused_is_told_without_the_text():
    why = refused(MESSAGE, "sendMessage", chat_id=ELSEWHERE, text="private words")

    assert why == "sendMessage to another chat than the update's"
    assert refused(MESSAGE, "banChatMember", chat_id=GROUP) == "banChatMember is no answer to an update"


@pytest.mark.parametrize("depth", [50, 900, 5_000])
def test_a_deep_answer_is_refused_or_performed_and_never_raises(depth: int):
    body = '{"method":"sendMessage","chat_id":5550100,"a":' + "[" * depth + "]" * depth + "}"
    call = read_call(body.encode())

    assert call is None or why_refused(call, json.dumps(MESSAGE)) in (None, "sendMessage that is too deep to be read")


def test_every_sample_update_can_be_answered_where_it_came_from():
    """The ids are found in all types that have a chat or a person who did it."""
    nowhere = {"poll", "deleted_business_messages"}
    for file in sorted((REPOSITORY / "examples" / "updates").glob("*.json")):
        update = json.loads(file.read_text(encoding="utf-8"))
        [kind] = update.keys() - {"update_id"}
        content = update[kind]
        message = content.get("message", {})
        place = content.get("chat") or content.get("from") or content.get("user") or message.get("chat")
        if place is None:
            assert kind in nowhere, file.name
        else:
            assert refused(update, "sendMessage", chat_id=place["id"], text="x") is None, file.name
            assert refused(update, "sendMessage", chat_id=ELSEWHERE, text="x") is not None, file.name


def test_no_parameters_whatever_raise():
    chance = random.Random(20260101)
    seed = json.dumps({"method": "sendMessage", "chat_id": PERSON, "reply_parameters": '{"chat_id":1}', "media": [{}]})
    for _ in range(5000):
        body = bytearray(seed.encode())
        for _ in range(chance.randrange(5)):
            body[chance.randrange(len(body))] = chance.randrange(32, 127)
        call = read_call(bytes(body))
        if call is not None:
            why_refused(call, json.dumps(MESSAGE))
