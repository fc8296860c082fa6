"""What is shown: two languages with the same texts, harmless characters, masked people, the points of charts."""

from __future__ import annotations

import hashlib
import json
import re
import string
from datetime import datetime, timezone
from pathlib import Path

import pytest

from scalable.lib.dashboard.charts import is_empty, read_points
from scalable.lib.dashboard.language import NAMES, Language, choose_language, read_texts
from scalable.lib.dashboard.masking import mask_job, mask_lane, mask_update
from scalable.lib.dashboard.pages import pretty_payload, script_path
from scalable.lib.dashboard.readable import error_in_a_line, kind_of_error, visible
from scalable.lib.queue.dialects.tables import BUCKETS
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.views.minutes import Minute
from tests.support.places import REPOSITORY

WEB = REPOSITORY / "scalable" / "lib" / "dashboard"
ENGLISH, INDONESIAN = read_texts("en"), read_texts("id")
EXAMPLES = sorted((REPOSITORY / "examples" / "updates").glob("*.json"))


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


class TestTexts:
    def test_every_language_has_every_text(self) -> None:
        assert set(NAMES) == {path.stem for path in (WEB / "texts").iterdir()} == {"en", "id"}
        assert list(ENGLISH) == list(INDONESIAN)

    def test_the_files_are_laid_out_alike_a_key_a_line(self) -> None:
        lines = {name: (WEB / "texts" / f"{name}.json").read_text("utf-8").splitlines() for name in NAMES}
        keys = {name: [line.partition(":")[0] for line in lines[name]] for name in NAMES}

        assert keys["en"] == keys["id"]
        assert [json.loads(key) for key in keys["en"] if key not in ("", "{", "}")] == list(ENGLISH)

    def test_every_language_has_the_same_values_in_it(self) -> None:
        for key, text in ENGLISH.items():
            assert fields(INDONESIAN[key]) == fields(text), key
            for form in text.split("|"):
                assert fields(form) <= fields(text), key

    def test_every_text_a_page_asks_for_is_there_and_none_is_left_over(self) -> None:
        sources = [
            path.read_text()
            for folder in ("templates", ".")
            for path in (WEB / folder).iterdir()
            if path.suffix in (".tpl", ".py")
        ]
        sources += [(WEB.parent / "queue" / name).read_text() for name in ("views/verdict.py", "history.py")]
        named = {word for source in sources for word in re.findall(r"""['"]([a-z0-9_]+)['"]""", source)}
        made = {
            f"{start}{word}"
            for word in named
            for start in (
                "did_",
                "reason_",
                "state_",
                "outcome_",
                "cannot_",
                "sure_",
                "chart_",
                "retry_matching_",
                "plain_",
            )
        }
        asked = {word for source in sources for word in re.findall(r"""(?<![\w.])t\('([a-z0-9_]+)'""", source)}

        assert asked - ENGLISH.keys() == {"retry_matching_", "outcome_"}
        assert ENGLISH.keys() - (named | made) == set()

    @pytest.mark.parametrize(
        ("kept", "accepted", "expected"),
        [
            ("", "", "en"),
            ("", "id", "id"),
            ("", "id-ID,id;q=0.9,en-US;q=0.8", "id"),
            ("", "in-ID", "id"),
            ("", "fr,de;q=0.8", "en"),
            ("", "en;q=0.2, id;q=0.3", "id"),
            ("", "id;q=0, en;q=0.1", "en"),
            ("id", "en", "id"),
            ("xx", "id", "id"),
            ("", "*;q=0.5", "en"),
            ("", "id;q=2,;;,\x00", "en"),
            ("", "id;q=" + "9" * 10_000, "en"),
        ],
    )
    def test_the_language_is_the_kept_one_or_what_the_browser_likes_best(
        self, kept: str, accepted: str, expected: str
    ) -> None:
        assert choose_language(kept, accepted) == expected

    def test_numbers_and_durations_are_written_as_the_language_does(self) -> None:
        english, indonesian = Language("en"), Language("id")

        assert (english.number(1_234_567), indonesian.number(1_234_567)) == ("1,234,567", "1.234.567")
        assert [english.seconds(each) for each in (None, 0.0004, 0.12, 3.44, 59, 120, 7_200, 400_000)] == [
            "–",
            "0 ms",
            "120 ms",
            "3.4 s",
            "59 s",
            "2 min",
            "2 h",
            "5 d",
        ]
        assert indonesian.seconds(3.44) == "3,4 dtk"
        assert english.text("did_retry_all", n=1) == "1 job will run again."
        assert english.text("did_retry_all", n=5000) == "5,000 jobs will run again."


class TestReadable:
    def test_what_cannot_be_seen_is_named(self) -> None:
        assert visible("a\u202eb\x1b[31m\u200b\ufeff\x85\ud800") == ("a\\u202eb\\u001b[31m\\u200b\\ufeff\\u0085\\ud800")

    def test_what_can_be_seen_stays_whatever_script_it_is_in(self) -> None:
        text = "Ana 😀 👩‍👩‍👧 é ไทย עברית العربية हिन्दी <b>&amp;\n\ttab"
        assert visible(text) == text

    def test_an_error_in_a_line_says_what_happened_and_the_reason(self) -> None:
        trace = (
            "exit code 255\nPHP Fatal error:  Uncaught Exception: no such chat in bot.php:41\nStack trace:\n"
            "#0 bot.php(41): run()\n#1 {main}\n  thrown in bot.php on line 41"
        )

        assert error_in_a_line(trace, 200) == (
            "exit code 255 – PHP Fatal error:  Uncaught Exception: no such chat in bot.php:41"
        )
        assert error_in_a_line("exit code 1\nTraceback:\n  File x\nValueError: 17", 200) == (
            "exit code 1 – ValueError: 17"
        )
        assert error_in_a_line("exit code 1", 200) == "exit code 1"
        assert error_in_a_line(None, 200) == ""
        assert len(error_in_a_line("x" * 1_000_000, 120)) == 120

    def test_the_kind_of_an_error_holds_nothing_the_bot_said(self) -> None:
        assert kind_of_error("exit code 1\nno such chat 4711") == "exit code 1"
        assert kind_of_error("PHP Fatal error:  Uncaught Exception: Ana 4711") == "PHP Fatal error"
        assert kind_of_error(None) is None


class TestMasking:
    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
    def test_no_text_name_or_id_of_a_person_is_left_in_any_update(self, path: Path) -> None:
        update = json.loads(path.read_text())
        numbers = {"update_id", "message_id", "message_thread_id", "date", "file_size", "offset", "length", "width"}
        plain = {"type", "language_code", "currency", "status", "emoji", "source", "mime_type"}

        for (name, value), (_, masked) in zip(leaves(update), leaves(mask_update(update))):
            if isinstance(value, str) and name not in plain:
                assert masked == ("…" if value else ""), name
            elif name in numbers:
                assert masked == value, name
            elif name == "id" or name.endswith("_id"):
                assert str(masked).lstrip("-").startswith("…"), name

    def test_the_form_of_the_update_stays(self) -> None:
        update = {
            "update_id": 7,
            "message": {
                "message_id": 3,
                "date": 1,
                "chat": {"id": -100123, "type": "group"},
                "text": "hello",
                "entities": [{"offset": 0, "length": 5}],
            },
        }

        assert mask_update(update) == {
            "update_id": 7,
            "message": {
                "message_id": 3,
                "date": 1,
                "chat": {"id": "-…23", "type": "group"},
                "text": "…",
                "entities": [{"offset": 0, "length": 5}],
            },
        }

    def test_an_unknown_field_is_masked(self) -> None:
        assert mask_update({"message": {"invented": "x", "user_id": 12345, "is_bot": True, "via_bot": None}}) == {
            "message": {"…": "…", "user_id": "…45", "is_bot": True, "via_bot": None}
        }

    @pytest.mark.parametrize(
        ("lane", "masked"),
        [
            ("chat:-1001234567", "chat:-…67"),
            ("callback:5550100", "callback:…00"),
            ("poll:abc_DEF", "poll:…"),
            (None, None),
            ("business:conn-1:5550100", "business:…00"),
            ("poll:~0123", "poll:…23"),
            ("chat:12", "chat:…"),
            ("chat:-5", "chat:…"),
            ("poll:4711x", "poll:…"),
            ("of Ana: 4711", "…"),
            ("Ana", "…"),
            ("", "…"),
            ("chat:\n4711", "chat:…11"),
        ],
    )
    def test_a_lane_keeps_its_kind(self, lane: str, masked: str) -> None:
        assert mask_lane(lane) == masked
        assert mask_lane(masked) == masked, "shown once more it stays the same"

    @pytest.mark.parametrize(
        ("name", "value", "masked"),
        [
            ("user_ids", [5550100, -5550199, 7], ["…00", "-…99", "…"]),
            ("message_ids", [5550100], ["…00"]),
            ("option_ids", [0, 2], ["…", "…"]),
            ("id", 12, "…"),
            ("total_amount", 1999, "…"),
            ("thumbnail", 5550100, "…"),
            ("latitude", -6.2, "-…"),
            ("date", 1790000000, 1790000000),
            ("date", "tomorrow", "…"),
            ("date", 1.5, "…"),
            ("type", "private", "private"),
            ("type", "Ana", "…"),
            ("status", "kicked", "kicked"),
            ("status", "kicked Ana", "…"),
            ("language_code", "pt-br", "pt-br"),
            ("language_code", "ana-lestari", "…"),
            ("mime_type", "x/ana", "…"),
            ("emoji", "😀", "…"),
            ("is_bot", True, True),
        ],
    )
    def test_a_field_shows_what_is_listed_for_it(self, name: str, value: object, masked: object) -> None:
        assert mask_update({name: value}) == {name: masked}

    def test_a_name_that_telegram_would_not_give_is_hidden(self) -> None:
        assert mask_update({"Ana Lestari": {"a-na": 1}, "x" * 65: 1}) == {"…": "…"}
        assert mask_update({"Ana": {"a-na": {"b": 1}}}) == {"…": {"…": {"…": "…"}}}

    def test_a_job_keeps_what_happened_and_not_what_was_said(self) -> None:
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        job = JobSummary(1, "failed", 7, "message", "chat:4711", 1, now, None, None, None, now, "exit code 1\nAna 4711")

        masked = mask_job(job)

        assert (masked.lane, masked.error_message) == ("chat:…11", "exit code 1")

    def test_a_payload_that_is_no_json_is_not_shown_masked(self) -> None:
        assert pretty_payload("Ana <b>", masked=True) == ("", 0, False)
        assert pretty_payload("Ana\x1b", masked=False) == ("Ana\\u001b", 4, False)
        assert pretty_payload('{"a": "\\ud800é"}', masked=False)[0] == '{\n  "a": "\\ud800é"\n}'
        assert pretty_payload("[" * 100_000, masked=False)[2] is False

    @pytest.mark.parametrize("depth", [400, 900, 990, 5_000])
    def test_a_payload_that_is_very_deep_shows_nothing_of_a_person_masked(self, depth: int) -> None:
        assert "Ana" not in pretty_payload("[" * depth + '"Ana"' + "]" * depth, masked=True)[0]


def leaves(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, key)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner, name)]
    return [(name, value)]


class FakeMinutes:
    """Minutes of a moment that does not move."""

    def __init__(self, *minutes: Minute) -> None:
        self._minutes = minutes

    def now(self) -> datetime:
        return datetime(2026, 1, 1, 12, 0, 30, tzinfo=timezone.utc)

    def slots(self, *_: float) -> list[Minute]:
        return list(self._minutes)


def test_a_chart_has_a_point_for_every_part_of_its_time_and_none_for_the_part_that_is_not_over() -> None:
    waits = (0,) * 7 + (10,) + (0,) * (BUCKETS - 8)
    minute = Minute(datetime(2026, 1, 1, 11, 45, tzinfo=timezone.utc), 30, 15, 15, 3, 0, waits, (0,) * BUCKETS)

    points = read_points(FakeMinutes(minute), "day")  # type: ignore[arg-type]

    assert len(points) == 96
    assert points[-1].at == datetime(2026, 1, 1, 11, 45, tzinfo=timezone.utc)
    assert (points[-1].came, points[-1].done, points[-1].failed, points[-1].retried) == (2, 1, 1, 0.2)
    assert points[-1].wait_median == pytest.approx(0.096)
    assert points[-1].run_median is None
    assert (points[0].came, points[0].done) == (None, 0)
    assert not is_empty(points)
    assert is_empty(read_points(FakeMinutes(), "hour"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ("/scalable/dashboard.py", "/scalable/dashboard.py"),
        ("", ""),
        ("/", ""),
        ("//evil.example/x", "/evil.example/x"),
        ("/my bots/é/d.py", "/my%20bots/%C3%A9/d.py"),
        ('/"><b>', "/%22%3E%3Cb%3E"),
    ],
)
def test_links_begin_at_the_script_whatever_its_folder_is_called(script: str, path: str) -> None:
    assert script_path(script) == path


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("uplot.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uplot.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    ],
)
def test_the_chart_library_is_the_one_its_authors_published(name: str, digest: str) -> None:
    assert hashlib.sha256((WEB / "static" / name).read_bytes()).hexdigest() == digest
