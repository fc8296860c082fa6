"""read_update: what counts as an update, what is learnt from it, and that nothing else ever comes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalable.lib.errors import NotAnUpdate
from scalable.lib.telegram.update import Update, read_update
from tests.support.generators.fuzz_counts import fuzzed

HUGE_NUMBER = b'{"update_id":1,"message":{"date":' + b"9" * 5000 + b"}}"


@pytest.mark.parametrize(
    ("body", "update_id", "update_type"),
    [
        (b'{"update_id":1,"message":{"text":"hi"}}', 1, "message"),
        (b'{"message":{},"update_id":1}', 1, "message"),
        (b' \r\n\t{"update_id": 1, "callback_query": {}}\n', 1, "callback_query"),
        (b"{}", None, None),
        (b'{"update_id":7}', 7, None),
        (b'{"something_telegram_adds_tomorrow":{}}', None, "something_telegram_adds_tomorrow"),
        (b'{"update_id":1,"Message":{},"message":{}}', 1, "message"),
        (b'{"update_id":1,"message":{},"edited_message":{}}', 1, "message"),
        (b'{"update_id":1,"":{},"9x":{},"a b":{},"m\\n":{}}', 1, None),
        (b'{"update_id":1,"' + b"a" * 64 + b'":{}}', 1, "a" * 64),
        (b'{"update_id":1,"' + b"a" * 65 + b'":{}}', 1, None),
        ('{"update_id":1,"мessage":{}}'.encode(), 1, None),
        (b'{"update_id":1,"update_id":2,"message":{}}', 2, "message"),
        (b'{"update_id":1,"message":null}', 1, "message"),
    ],
)
def test_an_update_is_any_json_object_and_its_first_other_field_names_the_type(body, update_id, update_type):
    update = read_update(body)

    assert (update.update_id, update.update_type) == (update_id, update_type)


@pytest.mark.parametrize(
    ("text", "update_id"),
    [
        ("0", 0),
        ("-1", -1),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), None),
        ("true", None),
        ("1.0", None),
        ("1e3", None),
        ('"1"', None),
        ("null", None),
        ("[1]", None),
    ],
)
def test_only_a_whole_number_the_database_can_hold_is_an_update_id(text: str, update_id):
    assert read_update(f'{{"update_id":{text},"message":{{}}}}'.encode()).update_id == update_id


@pytest.mark.parametrize(
    "body",
    [
        b' {"update_id" : 1,\n\t"message":{"text":"\\u00e9\\ud83d\\ude42"} } \r\n',
        '{"message":{"text":"é🙂\u2028"},"update_id":1}'.encode(),
        b'{"update_id":1,"message":{"text":"\\ud800 alone, and \\u0000"}}',
        b'{"update_id":1,"message":{"n":1.10000,"m":1e400,"n":2}}',
    ],
)
def test_the_payload_is_kept_byte_for_byte(body: bytes):
    assert read_update(body).payload.encode("utf-8") == body


def test_the_payload_is_not_shown_in_the_repr():
    assert "private words" not in repr(read_update(b'{"update_id":1,"message":{"text":"private words"}}'))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the request body is empty"),
        (b" \r\n\t", "the request body is empty"),
        (b"[]", "not an object but a list"),
        (b'"text"', "not an object but a text"),
        (b"true", "not an object but a truth value"),
        (b"null", "not an object but null"),
        (b"1", "not an object but a number"),
        (b"1.5", "not an object but a number"),
        (b"{", "not JSON"),
        (b'{"update_id":1} {"update_id":2}', "not JSON"),
        (b"{'update_id':1}", "not JSON"),
        (b"update_id=1&message=hi", "not JSON"),
        (b'{"update_id":NaN}', "NaN is not JSON"),
        (b'{"update_id":-Infinity}', "-Infinity is not JSON"),
        (b'{"update_id":1,"message":"a\nb"}', "not JSON"),
        (b'{"update_id":1,"message":"a\x00b"}', "NUL byte"),
        (b'\xef\xbb\xbf{"update_id":1}', "not JSON"),
        (b'{"update_id":1,"message":"\xff"}', "not UTF-8 (byte 26)"),
        (b'{"update_id":1,"message":"\xed\xa0\x80"}', "not UTF-8"),
        ('{"update_id":1}'.encode("utf-16"), "not UTF-8 (byte 0)"),
        ('{"update_id":1}'.encode("utf-16-le"), "NUL byte"),
        (HUGE_NUMBER, "not JSON"),
    ],
)
def test_whatever_is_no_json_object_in_utf8_is_refused_with_the_reason(body: bytes, reason: str):
    with pytest.raises(NotAnUpdate) as caught:
        read_update(body)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"update_id":1,"message":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_nesting_without_end_is_refused_instead_of_ending_the_process(body: bytes):
    with pytest.raises(NotAnUpdate, match="nested too deeply"):
        read_update(body)


def test_the_reason_does_not_repeat_what_the_body_says():
    with pytest.raises(NotAnUpdate) as caught:
        read_update(b'{"update_id":1,"message":{"text":"private words"}')

    assert "private" not in str(caught.value)


@fuzzed(300)
@given(st.binary(max_size=200))
@example(b'{"update_id":1e999}')
@example(b"-")
def test_arbitrary_bytes_are_an_update_or_not_an_update_and_nothing_else(body: bytes):
    try:
        update = read_update(body)
    except NotAnUpdate:
        return
    assert isinstance(update, Update)
    assert isinstance(json.loads(body), dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@fuzzed(200)
@given(st.dictionaries(st.text() | st.sampled_from(["update_id", "message"]), json_values, max_size=4), st.booleans())
def test_every_json_object_is_an_update_and_is_kept_as_it_came(value: dict[str, object], escaped: bool):
    body = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "replace")

    update = read_update(body)

    assert update.payload.encode("utf-8") == body
    assert update.update_id is None or update.update_id == value["update_id"]
    assert update.update_type is None or update.update_type in value


@pytest.mark.parametrize(("urgent", "expires"), [(None, 30), (31, 30)])
def test_a_job_that_expires_must_be_urgent_first(urgent: float | None, expires: float) -> None:
    """Expiry would not find it: it would never run, never expire, and stop its lane for ever."""
    with pytest.raises(ValueError, match=f"urgent_seconds={urgent}, expires_seconds={expires}"):
        Update("{}", lane="chat:1", urgent_seconds=urgent, expires_seconds=expires)


@pytest.mark.parametrize(("urgent", "expires"), [(None, None), (30, None), (30, 30), (30, 60)])
def test_every_other_pair_of_deadlines_is_taken(urgent: float | None, expires: float | None) -> None:
    assert Update("{}", urgent_seconds=urgent, expires_seconds=expires).expires_seconds == expires
