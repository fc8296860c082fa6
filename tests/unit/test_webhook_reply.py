"""Which answers of a bot are method calls: what Telegram would perform, and nothing a program merely prints."""

from __future__ import annotations

import json
import random

import pytest

from scalable.lib.telegram.webhook_reply import FORM, JSON, MULTIPART, MethodCall, read_reply
from tests.support.fakes.bot_api import decode

CALL = b'{"method":"sendMessage","chat_id":1,"text":"hi"}'
PARTS = (
    b'--XyZ\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n1\r\n'
    b'--XyZ\r\nContent-Disposition: form-data; name="method"\r\n\r\nsendDocument\r\n'
    b'--XyZ\r\nContent-Disposition: form-data; name="document"; filename="method"\r\n\r\n\x00\xff\r\nno\r\n--XyZ--'
)
WARNING = b"\nWarning: Undefined variable $x in /home/me/bot.php on line 3\n"


@pytest.mark.parametrize(
    "body",
    [
        CALL,
        b'{"method": "sendMessage",\n'
        b' "text": "\xf0\x9f\x91\x8b <b> & \\ud83d\\udc4b", "reply_markup": {"keyboard": [[]]}}',
        b'{"chat_id":1,"text":"the method comes last","method":"sendMessage"}',
        b'{"method":"sendMessage","reply_markup":{"method":"other"},"chat_id":12345678901234567890}',
        b'{"method":"sendMessage","text":"lone \\ud800 surrogate"}',
    ],
)
def test_an_object_with_a_method_is_posted_as_it_is(body: bytes):
    assert read_reply(body) == MethodCall("sendMessage", JSON, body)
    assert read_reply(body, "application/json") == MethodCall("sendMessage", JSON, body)
    assert read_reply(body, "Application/JSON; charset=utf-8") == MethodCall("sendMessage", JSON, body)


@pytest.mark.parametrize("around", [b"%s\n", b"\r\n\t %s \r\n", b"\xef\xbb\xbf%s", b"\n\xef\xbb\xbf\n%s"])
def test_space_and_a_byte_order_mark_around_it_are_not_posted(around: bytes):
    assert read_reply(around % CALL) == MethodCall("sendMessage", JSON, CALL)


@pytest.mark.parametrize(
    "printed",
    [
        WARNING + CALL,
        CALL + WARNING,
        WARNING * 3 + CALL + WARNING * 2,
        WARNING.strip() + b"\r\n" + CALL + b"\n",
        b"\nWarning: PHP Startup: Unable to load dynamic library 'x.so' (tried: x.so (y)) in Unknown on line 0\n"
        + CALL,
        b"\nNotice: a in /b.php on line 3\n\nDeprecated: c in /d.php on line 12\n" + CALL,
        WARNING * 5000 + CALL + WARNING * 5000,
    ],
)
def test_what_phps_command_line_adds_of_its_own_does_not_count(printed: bytes):
    """A site hides it; where one does not, the answer was no JSON for Telegram either."""
    assert read_reply(printed) == MethodCall("sendMessage", JSON, CALL)
    assert read_reply(printed, "application/json") is None


def test_the_method_keeps_its_case_because_the_server_does_not_care():
    call = read_reply(b'{"method":"SENDmessage","chat_id":1}')

    assert call is not None
    assert call.method == "SENDmessage"


def test_of_two_methods_the_first_one_counts_as_for_telegram():
    both = b'{"method":"sendMessage","method":"deleteMessage"}'

    assert read_reply(both) == MethodCall("sendMessage", JSON, both)


@pytest.mark.parametrize(
    "body",
    [
        b"method=sendMessage&chat_id=1&text=hi",
        b"chat_id=-100123&text=%D0%BF%D1%80%D0%B8%D0%B2%D1%96%D1%82+%3Cb%3E&method=sendMessage&parse_mode=HTML",
        "method=sendMessage&chat_id=@channel&text=привіт".encode(),
        b"method=sendMessage&chat_id=1&text=",
        b"method=sendMessage&options%5Ba%5D=1&x[]=2&text=a=b",
    ],
)
def test_a_form_with_a_method_is_posted_as_it_is(body: bytes):
    expected = read_reply(body)

    assert expected is not None
    assert (expected.method, expected.content_type, expected.body) == ("sendMessage", FORM, body)
    assert read_reply(body + b"\n") == expected
    assert read_reply(body, "application/x-www-form-urlencoded; charset=utf-8") == expected


def test_a_form_may_be_looser_where_the_bot_says_that_it_is_one():
    body = b'method=sendMessage&text=two words {"a": "b"} <i>&chat_id=1'

    assert read_reply(body) is None
    assert read_reply(body, FORM) == MethodCall("sendMessage", FORM, body)
    assert read_reply(b"method=sendMessage", FORM) == MethodCall("sendMessage", FORM, b"method=sendMessage")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "multipart/form-data; boundary=XyZ",
        'Multipart/Form-Data; charset=utf-8; BOUNDARY="XyZ"; x=y',
    ],
)
def test_a_multipart_body_with_a_method_is_posted_as_it_is(content_type: str | None):
    call = read_reply(PARTS, content_type)

    assert call == MethodCall("sendDocument", f'{MULTIPART}; boundary="XyZ"', PARTS)
    assert decode(call.body, call.content_type) == {
        "chat_id": "1",
        "method": "sendDocument",
        "document": b"\x00\xff\r\nno",
    }


@pytest.mark.parametrize(
    "body",
    [
        b'--XyZ\r\nContent-Disposition: form-data; name="x"; filename="method"\r\n\r\nsendMessage\r\n--XyZ--',
        b'--XyZ\r\nContent-Disposition: form-data; name="methods"\r\n\r\nsendMessage\r\n--XyZ--',
        b'--XyZ\r\nContent-Disposition: form-data; name="method"\r\n\r\nsend Message\r\n--XyZ--',
        b"--XyZ--",
    ],
)
def test_parts_without_a_method_are_no_call(body: bytes):
    assert read_reply(body) is None
    assert read_reply(body, "multipart/form-data; boundary=XyZ") is None
    assert read_reply(PARTS, "multipart/form-data") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"ok",
        b"OK\n",
        b"true",
        b"null",
        b"1",
        b'"sendMessage"',
        b"[]",
        b"{}",
        b"{",
        b"}",
        b'{"ok":true,"result":{"message_id":5}}',
        b'{"method":3}',
        b'{"method":null}',
        b'{"method":["sendMessage"]}',
        b'{"method":{"a":1}}',
        b'{"method":""}',
        b'{"method":"send message"}',
        b'{"method":"../getMe"}',
        b'{"method":"sendMessage?a=b"}',
        b'{"method":"send_message"}',
        b'{"method":"sendMessage\\n"}',
        '{"method":"надіслати"}'.encode(),
        b'{"method":"' + b"a" * 65 + b'"}',
        b'{"Method":"sendMessage"}',
        b'{"a":{"method":"sendMessage"}}',
        b"[" + CALL + b"]",
        b'[["method","sendMessage"]]',
        CALL + b"\n" + CALL,
        CALL + b"\nok",
        CALL + b",",
        CALL[:-1],
        b"log line\n" + CALL,
        b"<!DOCTYPE html><p>" + CALL,
        WARNING,
        WARNING + CALL + b"\n" + CALL,
        WARNING + b"log line\n" + CALL,
        b"Warning: a line of the bot's own\n" + CALL,
        b"A " + WARNING.strip() + CALL,
        b"\nWarning: x in /b.php on line 3 " + CALL,
        CALL[:-1] + WARNING + b"}",
        b"\nFatal error: Uncaught Exception in /b.php on line 3\n" + CALL,
        b"<?xml version='1.0'?><method>sendMessage</method>",
        b'{"method":"sendMessage","x":NaN}',
        b"{'method':'sendMessage'}",
        b'{"method":"sendMessage","text":"\xff"}',
        '{"method":"sendMessage"}'.encode("utf-16"),
        b'{"method":"sendMessage","a":' + b"[" * 100_000,
        b'{"method":"sendMessage","a":' + b"9" * 5000 + b"\x00}",
        b"method=sendMessage",
        b"method=sendMessage&",
        b"&method=sendMessage&chat_id=1",
        b"chat_id=1&text=hi",
        b"method=sendMessage chat_id=1&text=hi",
        b"method=sendMessage&text=two words",
        b"method=&chat_id=1",
        b"method=send+Message&chat_id=1",
        b"method=%73endMessage&chat_id=1",
        b"xmethod=sendMessage&chat_id=1",
        b"<a href='?method=sendMessage&chat_id=1'>",
        b"handled method=sendMessage&chat_id=1",
        b"method=GET&path=/x",
        b"2026-01-01 INFO method=sendMessage&id=5",
        b"https://example.org/?method=sendMessage&chat_id=1",
        b"\x00\x01\x02",
        b"%PDF-1.4",
        b"a=1&" * 60_000 + b"!",
    ],
)
def test_what_a_program_prints_otherwise_is_no_call(body: bytes):
    assert read_reply(body) is None
    assert read_reply(body, "application/json") is None


@pytest.mark.parametrize(
    "method",
    [
        "setWebhook",
        "deleteWebhook",
        "DELETEwebhook",
        "close",
        "logOut",
        "getMe",
        "getUpdates",
        "getChat",
        "GETME",
    ],
)
def test_methods_that_telegram_does_not_perform_from_an_answer_are_no_call(method: str):
    assert read_reply(json.dumps({"method": method, "chat_id": 1}).encode()) is None
    assert read_reply(f"method={method}&chat_id=1".encode()) is None


@pytest.mark.parametrize("content_type", ["text/html; charset=UTF-8", "text/plain", "", "application/octet-stream"])
def test_a_type_that_telegram_does_not_read_is_no_call(content_type: str):
    """PHP says text/html by itself; a bot that did not say otherwise was never heard by Telegram either."""
    for body in (CALL, b"method=sendMessage&chat_id=1&text=hi", PARTS):
        assert read_reply(body, content_type) is None


def test_the_parameters_are_not_in_the_repr():
    assert "hi" not in repr(read_reply(CALL))


def test_no_bytes_whatever_raise():
    chance = random.Random(20260101)
    seeds = (CALL, PARTS, b"method=sendMessage&chat_id=1&text=hi", WARNING)
    types = (None, "application/json", FORM, "multipart/form-data; boundary=XyZ", "multipart/form-data; boundary=(")
    for _ in range(5000):
        body = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        read_reply(bytes(body[: chance.randrange(1, len(body) + 1)]), chance.choice(types))
