"""Which names of fields a reader sees: those that Telegram gives, as the libraries that model its updates have them."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from aiogram.types import Update
from pydantic import BaseModel

from scalable.lib.causes import HIDDEN
from scalable.lib.dashboard.masking import mask_update
from scalable.lib.telegram.field_names import FIELD_NAMES
from tests.support.places import REPOSITORY


def names_in(kind: Any, seen: set[Any]) -> set[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind in seen:
            return set()
        seen.add(kind)
        fields = kind.model_fields.items()
        return {field.alias or name for name, field in fields}.union(*(names_in(f.annotation, seen) for _, f in fields))
    return set().union(*(names_in(each, seen) for each in typing.get_args(kind)))


def names_of(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set(value if isinstance(value, dict) else ()).union(*map(names_of, inner))


def test_every_name_of_the_installed_library_is_in_the_table() -> None:
    known = names_in(Update, set())

    assert len(known) > 400
    assert sorted(known - FIELD_NAMES) == []


@pytest.mark.parametrize("sample", sorted(path.name for path in (REPOSITORY / "examples" / "updates").glob("*.json")))
def test_of_a_real_update_every_name_is_shown(sample: str) -> None:
    update = json.loads((REPOSITORY / "examples" / "updates" / sample).read_text())

    assert names_of(mask_update(update)) == names_of(update)


@pytest.mark.parametrize(
    "name", ["budi", "from_budi", "message2", "secret_of_ayu", "Message", "_id", "", "id ", "texts"]
)
def test_every_other_name_is_hidden_with_what_it_holds(name: str) -> None:
    masked = mask_update({"message": {name: {"text": "a", name: 1}}, name: [{"chat": {name: "b"}}]})

    assert names_of(masked) == {"message", "chat", "text", HIDDEN}
