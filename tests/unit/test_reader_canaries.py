"""A reader and a stranger look at everything there is to look at, in an installation of which every text is a canary.

Every leaf of every sample update is replaced by a text or a number that occurs nowhere else, and so is all that the
bot, Telegram, the host and the owner's browser said. Then each page, API answer, metric, health answer and refusal is
asked for, and no canary may be in it. The owner is shown the same canaries, so that they are certainly there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from wsgiref.validate import validator

import pytest

from scalable.lib.dashboard.app import create_dashboard_app
from scalable.lib.dashboard.masking import mask_detail, mask_job
from scalable.lib.dashboard.request import DashboardSettings
from scalable.lib.queue.job import STATUSES, JobSummary
from scalable.lib.queue.notes import ALERT_CHAT, BREAKER, HELD, PAUSED, WEBHOOK, WEBHOOK_BEFORE
from scalable.lib.queue.table import QueueTable
from scalable.lib.queue.views.browse import JobDetail
from scalable.lib.queue.views.hold import Hold
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.telegram.lanes import KNOWN_TYPES
from scalable.lib.telegram.update import read_update
from tests.support.generators.wsgi_client import OWNER, READER, SECRET, Client
from tests.support.places import REPOSITORY

SAMPLES = sorted((REPOSITORY / "examples" / "updates").glob("*.json"))
# Named here once more, and not taken from the code: what a reader may see of an update.
HARMLESS = {"update_id", "message_id", "message_thread_id", "date", "edit_date"} | {
    "offset", "length", "width", "height", "duration", "file_size",
}  # fmt: skip
# Those who do not come from Telegram may send any JSON where no secret is set.
HOSTILE: tuple[dict[str, Any], ...] = (
    {"message": {"chat": {"id": 0}, "type": "", "status": "", "language_code": "", "currency": "", "source": ""}},
    {"message": {"type": ["", {"status": ""}], "date": "", "width": [0, 0.5], "update_id": "", "message_ids": [0, 0]}},
    {"message": {"user_ids": [0, [0]], "option_ids": [0], "id": [0], "ids": [0], "nested_id": {"a": 0}}},
    {"message": {"mime_type": "", "emoji": "", "parse_mode": "", "total_amount": 0, "phone_number": 0, "x": [[[0.5]]]}},
    {"something_new": {"chat": {"id": 0}, "from": {"id": 0, "first_name": ""}, "text": ""}},
    {"message": ""},
    {"message": [0, "", 0.5]},
)


class Canaries:
    """Makes texts and numbers of which none is a part of another one or of anything else, and finds them."""

    def __init__(self) -> None:
        self.people: set[str] = set()
        self.owners: set[str] = set()

    def text(self) -> str:
        """Of a person."""
        return self._kept(self.people, f"Canary{len(self.people):05d}Ayu")

    def owners_text(self) -> str:
        """Of the owner or the host."""
        return self._kept(self.owners, f"Secret{len(self.owners):05d}Owl")

    def number(self) -> int:
        """An id of a person; its last two digits may be shown."""
        return int(self._kept(self.people, f"8{len(self.people):05d}71717{len(self.people) % 90 + 10}"))

    def instead_of(self, value: Any, name: str = "") -> Any:
        """`value` with every leaf replaced by a canary."""
        if isinstance(value, dict):
            return {key: self.instead_of(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.instead_of(inner, name) for inner in value]
        if isinstance(value, str):
            return self.text()
        if isinstance(value, float):
            return float(f"{self.number()}.5")
        return self.number() if isinstance(value, int) and not isinstance(value, bool) else value

    def found_in(self, shown: str) -> set[str]:
        """The canaries in it."""
        words = set(re.findall(r"Canary\d+Ayu|Secret\d+Owl|8\d{5}71717\d\d", shown))
        return words & (self.people | self.owners)

    def _kept(self, all_of_them: set[str], canary: str) -> str:
        all_of_them.add(canary)
        return canary


def harmless_values(update: Any, name: str = "") -> Iterator[str]:
    """What a reader may see of it."""
    if isinstance(update, dict):
        for key, inner in update.items():
            yield from harmless_values(inner, key)
    elif isinstance(update, list):
        for inner in update:
            yield from harmless_values(inner, name)
    elif name in HARMLESS and isinstance(update, int):
        yield str(update)


class Aviary(Client):
    """The dashboard of an installation full of canaries."""

    def __init__(self, folder: Path, settings: DashboardSettings) -> None:
        super().__init__(folder)
        app = create_dashboard_app(lambda: self.queue, lambda: SECRET, folder / ".ht-logins", settings)
        self._checked = validator(app)
        self.canaries = Canaries()
        self.harmless: set[str] = set()
        self._fill_jobs()
        self._fill_notes()
        self.jobs = self.queue.newest(500)

    def _fill_jobs(self) -> None:
        samples = [json.loads(path.read_text(encoding="utf-8")) for path in SAMPLES]
        for number, sample in enumerate([*samples, *map(dict, HOSTILE)], 1):
            sample.pop("update_id", None)
            update = {**self.canaries.instead_of(sample), "update_id": number}
            self.harmless |= set(harmless_values(update))
            self.queue.enqueue(read_update(json.dumps(update).encode()))
        [first] = self._claimed(1)
        self.queue.retry(first.lease, self._said("exit code 1\n"), 0.0)
        for job, start in zip(self._claimed(10), (*self._starts(), *self._starts())):
            self.queue.fail(job.lease, self._said(start))
        for job, start in zip(self._claimed(5), self._starts()):
            self.queue.complete(job.lease, None if job.id % 2 else self._said(start))
            if job.id % 2:
                self.queue.keep_warnings([(job.lease, self._said(start))])
        for job in self._claimed(2):
            self.queue.retry(job.lease, self._said(""), 3600.0)
        self._claimed(2)
        text = json.dumps({"update_id": 900, "message": {"text": self.canaries.text()}})
        (late,) = [self.queue.enqueue(read_update(text.encode())).job_id]
        self._sql("UPDATE bot_jobs SET status = 'expired', error_message = :said WHERE id = :id", late)
        self._sql("UPDATE bot_jobs SET payload = :said WHERE id = (SELECT MIN(id) FROM bot_jobs)")
        self._sql("UPDATE bot_jobs SET update_type = :said, lane = :said WHERE id = 2")

    @staticmethod
    def _starts() -> tuple[str, ...]:
        """How what is kept with a job may begin: with words of ours, of PHP or Python, or at once with the bot's."""
        return ("exit code 1\n", "PHP fatal error: Uncaught ", "ValueError: ", "", "reply not sent: ")

    def _said(self, start: str) -> str:
        return f"{start}{self.canaries.text()}: {self.canaries.text()}\n{self.canaries.text()}"

    def _claimed(self, count: int) -> list[Any]:
        return [job for _ in range(count) for job in self.queue.claim("worker", 600)]

    def _sql(self, statement: str, job_id: int = 0) -> None:
        values = {"said": self.canaries.text(), "id": job_id}
        given = {name: value for name, value in values.items() if f":{name}" in statement}
        self.queue.database.run(lambda session: session.rows(statement, **given))

    def _fill_notes(self) -> None:
        secret = self.canaries.owners_text
        now = int(self.queue.minutes.now().timestamp())
        seen = WebhookInfo(
            f"https://{secret()}@bot.example.com/{secret()}/{secret()}.php?{secret()}#{secret()}",
            last_error_at=now,
            last_error=secret(),
            seen_at=now,
            trouble=secret(),
            allowed_updates=(secret(),),
            was_here=True,
        )
        notes = self.queue.notes
        notes.write(WEBHOOK, seen.to_text())
        notes.write(WEBHOOK_BEFORE, f"https://bot.example.com/{secret()}")
        notes.write(PAUSED, secret())
        notes.write(HELD, Hold(secret(), secret(), secret()).to_text())
        notes.write(ALERT_CHAT, json.dumps([secret(), secret()]))
        told = {"since": now, "cause": self.canaries.text(), "step": 1, "prober": secret(), "probed": []}
        notes.write(BREAKER, json.dumps(told))

    def places(self) -> Iterator[tuple[str, str]]:
        """Path and query of all there is, and of some that there is not."""
        for query in ("", "part=live", "part=charts", "span=day", "format=json", "format=prometheus", "format=health"):
            yield "", query
            yield "", f"{query}&did=retry_all&n=1"
        lists = [f"status={status}" for status in ("", *STATUSES)] + [f"type={kind}" for kind in KNOWN_TYPES]
        hidden = sorted(self.canaries.people)
        lists += [f"{field}={quote(canary)}" for canary in hidden[::7] for field in ("q", "lane", "type")]
        lists += [f"q={job.id}" for job in self.jobs] + ["before=5", "q=x&before=5"]
        for query in lists:
            yield "/jobs", query
            yield "/jobs", f"{query}&format=json"
        for job in self.jobs:
            yield from ((f"/job/{job.id}{end}", query) for end in ("", "/payload") for query in ("", "part=live"))
        yield from (("/doctor", ""), ("/nothing", ""), ("/job/99999", ""), ("", "format=x"), ("", "lang=id"))

    def asks_itself(self, query: str) -> set[str]:
        """Canaries that the visitor wrote into the address."""
        return self.canaries.found_in(query)

    def seen_by(self, cookie: str) -> dict[str, set[str]]:
        """The canaries in each answer to a visitor with that cookie, in both languages; and what they asked for."""
        found: dict[str, set[str]] = {}
        for path, query in self.places():
            for language in ("en", "id") if path in ("", "/job/1", "/job/2") else ("en",):
                kept = f"scalable_session={cookie}; scalable_language={language}"
                status, headers, body = self.ask(path, query, HTTP_COOKIE=kept)
                assert status < 500 or "format=health" in query, (path, query)
                shown = body.decode() + str(headers)
                canaries = self.canaries.found_in(shown) - self.harmless - self.asks_itself(query)
                if canaries:
                    found[f"{path}?{query} {language}"] = canaries
        for action in (
            "retry:1",
            "delete:1",
            "pause",
            "retry-matching:failed",
            "webhook-set",
            "webhook-back",
            "logout",
        ):
            kept = f"scalable_session={cookie}"
            _, headers, body = self.ask(method="POST", body=f"action={action}".encode(), HTTP_COOKIE=kept)
            canaries = self.canaries.found_in(body.decode() + str(headers))
            if canaries:
                found[f"POST {action}"] = canaries
        return found


def no_api(_: float = 0.0) -> Any:
    raise AssertionError("Telegram is not asked")


SETTINGS = DashboardSettings("owner", "reader", limit=200, make_api=no_api)


def test_a_reader_sees_no_canary_anywhere(tmp_path: Path) -> None:
    aviary = Aviary(tmp_path, SETTINGS)

    assert aviary.seen_by(READER) == {}


def test_the_owner_sees_them_so_they_are_there(tmp_path: Path) -> None:
    aviary = Aviary(tmp_path, SETTINGS)

    seen = set().union(*aviary.seen_by(OWNER).values())

    people = aviary.canaries.people - aviary.harmless
    assert len(people) > 500
    assert len(people - seen) < 0.05 * len(people), sorted(people - seen)
    assert len(seen & aviary.canaries.owners) >= 6


def test_a_stranger_sees_none_where_there_is_no_password_and_where_there_is_one(tmp_path: Path) -> None:
    for name, settings in (("open", replace(SETTINGS, token="", read_token="")), ("shut", SETTINGS)):
        folder = tmp_path / name
        folder.mkdir()
        aviary = Aviary(folder, settings)
        _, _, page = aviary.ask()

        assert aviary.seen_by("") == {}
        assert (b"counts" in page) == (name == "open")


def test_masked_for_everyone_the_owner_sees_nothing_of_people_and_all_of_their_own(tmp_path: Path) -> None:
    aviary = Aviary(tmp_path, replace(SETTINGS, mask="everyone"))

    seen = set().union(*aviary.seen_by(OWNER).values())

    assert seen & aviary.canaries.people == set()
    assert len(seen & aviary.canaries.owners) >= 6


def test_masked_for_nobody_a_reader_sees_people_and_nothing_of_the_owner(tmp_path: Path) -> None:
    aviary = Aviary(tmp_path, replace(SETTINGS, mask="nobody"))

    seen = set().union(*aviary.seen_by(READER).values())

    assert seen & aviary.canaries.owners == set()
    assert len(seen & aviary.canaries.people) > 500


class TestSearch:
    """A search says nothing of what it may not show, neither in words and numbers nor by how long it takes."""

    def statements(self, client: Aviary, query: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], bytes]:
        asked: list[str] = []
        rows = QueueTable.rows

        def noted(table: QueueTable, statement: str, **values: Any) -> list[tuple[Any, ...]]:
            asked.append(statement)
            return rows(table, statement, **values)

        with monkeypatch.context() as patch:
            patch.setattr(QueueTable, "rows", noted)
            _, _, body = client.ask("/jobs", query, HTTP_COOKIE=f"scalable_session={READER}")
        return asked, re.sub(rb'name="csrf" value="[0-9a-f]+"', b"", body)

    @pytest.mark.parametrize("extra", ["", "&status=failed", "&type=message", "&format=json"])
    def test_a_hidden_number_is_not_looked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
    ) -> None:
        aviary = Aviary(tmp_path, SETTINGS)
        numbers = sorted(canary for canary in aviary.canaries.people - aviary.harmless if canary.isdigit())

        there, body = self.statements(aviary, f"q={numbers[3]}{extra}", monkeypatch)
        absent, other = self.statements(aviary, f"q={'9' * 13}{extra}", monkeypatch)

        assert there == absent
        assert len([statement for statement in there if "payload" in statement]) == 0
        assert body.replace(numbers[3].encode(), b"") == other.replace(b"9" * 13, b"")

    @pytest.mark.parametrize("field", ["q", "lane", "type"])
    def test_a_hidden_text_is_not_looked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
        aviary = Aviary(tmp_path, SETTINGS)
        job = next(job for job in aviary.jobs if job.id == 2)
        hidden = {"q": (job.error_message or "x").split("\n")[-1], "lane": str(job.lane), "type": str(job.update_type)}

        there, body = self.statements(aviary, f"{field}={quote(hidden[field])}&format=json", monkeypatch)
        absent, other = self.statements(aviary, f"{field}=Nobody&format=json", monkeypatch)

        assert there == absent
        assert body == other


@dataclass(frozen=True)
class SummaryOfTomorrow(JobSummary):
    output: str = ""
    chat: int = 0


@dataclass(frozen=True)
class DetailOfTomorrow(JobDetail):
    output: str = ""
    lines: tuple[str, ...] = ()
    told: object = None


def test_a_field_that_is_added_later_is_hidden_until_it_is_listed(tmp_path: Path) -> None:
    aviary = Aviary(tmp_path, SETTINGS)
    detail = aviary.queue.jobs.detail(1)
    summary = SummaryOfTomorrow(**vars(detail.summary), output="Ayu", chat=4711)
    values = {**vars(detail), "summary": summary}

    masked = mask_detail(DetailOfTomorrow(**values, output="Ayu", lines=("Ayu",), told={"Ayu": 1}))

    assert (mask_job(summary).output, mask_job(summary).chat) == ("", None)  # type: ignore[attr-defined]
    assert (masked.output, masked.lines, masked.told) == ("", (), {})  # type: ignore[attr-defined]
    assert "Ayu" not in str(masked) + str(vars(masked))
    assert masked.payload == ""
