"""Whom an update is from, for the breaker: every form of the Bot API, and what is no update at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalable.lib.queue.origins import origin_of


def sender_of(content: Any, lane: str = "chat:1", kind: str = "message") -> str:
    return origin_of(1, lane, json.dumps({"update_id": 1, kind: content})).sender


PERSON = {"id": 777, "is_bot": False, "first_name": "A"}
SAME = [
    ("message", {"from": PERSON, "chat": {"id": -1}}),
    ("callback_query", {"from": PERSON, "message": {"from": {"id": 5}, "chat": {"id": 1}}}),
    ("message_reaction", {"user": PERSON, "chat": {"id": -3}}),
    ("chat_boost", {"chat": {"id": -3}, "boost": {"source": {"user": PERSON}}}),
    ("poll_answer", {"user": PERSON, "poll_id": "1"}),
]


@pytest.mark.parametrize(("kind", "content"), SAME)
def test_one_person_is_one_sender_in_every_type_of_update_and_lane(kind: str, content: Any):
    assert sender_of(content, f"lane of {kind}", kind) == sender_of({"from": PERSON})


def test_two_persons_are_two_and_in_two_lanes_their_lanes_differ():
    one, two = (origin_of(1, f"chat:{n}", json.dumps({"message": {"from": {"id": n}}})) for n in (1, 2))

    assert len({*one.marks, *two.marks}) == 4


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "null", "7", "[" * 100_000, '{"message": 1}', '{"message": {"from": 7}}']
)
def test_without_a_sender_it_is_of_its_lane_and_without_a_lane_of_itself(payload: str):
    assert origin_of(1, "chat:1", payload) == origin_of(2, "chat:1", payload)
    assert origin_of(1, "chat:1", payload).sender == origin_of(1, "chat:1", payload).lane
    assert origin_of(1, None, payload) != origin_of(2, None, payload)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_it_never_fails(value: Any):
    assert origin_of(1, "chat:1", json.dumps(value)).marks
