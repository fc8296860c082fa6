"""The four words, from facts alone: F15 and F33 with their kinds, and every boundary."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from scalable.lib.queue.dialects.tables import BUCKETS
from scalable.lib.queue.job import JobSummary
from scalable.lib.queue.notes import BREAKER, HELD, PAUSED, POLLED, TOTALS, WEBHOOK, Note
from scalable.lib.queue.views.browse import Waiting
from scalable.lib.queue.views.hold import Hold
from scalable.lib.queue.views.minutes import Minute
from scalable.lib.queue.views.verdict import (
    Reason,
    State,
    Verdict,
    in_words,
    judge,
    of_reasons,
    without_database,
    without_tables,
)
from scalable.lib.queue.views.verdict_seen import for_strangers, verdict_seen, without_people
from scalable.lib.queue.views.vitals import Vitals
from scalable.lib.queue.views.webhook_info import WebhookInfo
from scalable.lib.queue.worker_registry import RegisteredWorker

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=timezone.utc)
SECONDS = int(NOW.timestamp())
OURS, THEIRS = "https://example.com/scalable/webhook_queue.py", "https://example.com/bot.php?s=hush"
WORKER = RegisteredWorker("host:1-a/1.1", "host", 1, NOW, NOW, 1, 1, 0, 0, None, ())
NONE = (0,) * BUCKETS


def minute(ago: int, done: int = 0, failed: int = 0, retried: int = 0, enqueued: int | None = 0) -> Minute:
    at = NOW.replace(second=0) - timedelta(minutes=ago)
    return Minute(at, enqueued, done, failed, retried, 0, NONE, NONE)


def warned(ago: int, done: int, warned: int) -> Minute:
    return replace(minute(ago, done=done), warned=warned)


def hour(done: int, failed: int) -> Minute:
    return Minute(NOW, done + failed, done, failed, 0, 0, NONE, NONE)


def asked(seen: WebhookInfo, seconds_ago: float = 10.0) -> dict[str, Note]:
    return {WEBHOOK: Note(seen.to_text(), NOW - timedelta(seconds=seconds_ago), seconds_ago)}


def webhook(url: str, **more: object) -> dict[str, Note]:
    """Asked ten seconds ago."""
    facts = {"seen_at": SECONDS - 10, "url_since": SECONDS - 10, "was_here": "webhook_queue" in url, **more}
    return asked(WebhookInfo(url, **facts))  # type: ignore[arg-type]


def facts(**more: object) -> Vitals:
    """An installation that works: a worker, an update an hour ago, the webhook here."""
    usual = Vitals(Waiting(), (WORKER,), webhook(OURS), None, newest_age_seconds=3_000.0)
    return replace(usual, **more)  # type: ignore[arg-type]


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons]


def told(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons if reason.is_told]


def test_a_worker_a_webhook_and_an_update_earn_the_word() -> None:
    assert judge(facts()) == Verdict(State.WORKING)
    assert in_words(judge(facts())) == ["working"]


class TestF15:
    """What was called `everything works` and is not."""

    @pytest.mark.parametrize("failed", [1, 2])
    def test_all_updates_fail_and_they_are_fewer_than_three(self, failed: int) -> None:
        verdict = judge(facts(last_hour=hour(0, failed)))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["failed"])

    def test_46_are_pending_and_10_failed(self) -> None:
        verdict = judge(facts(last_hour=hour(244, 10), retrying=46))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["retrying"])
        assert verdict.reasons[0].text == "46 updates failed and wait for their next attempt"

    def test_a_lane_is_stuck_for_21_minutes(self) -> None:
        blocker = JobSummary(83, "pending", 7, "message", "chat:7", 4, NOW, NOW, NOW, None, NOW, "exit code 1")
        verdict = judge(facts(waiting=Waiting(None, None, 90, 21 * 60.0), blocker=blocker))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["lane"])
        assert "job 90, has waited 21 min behind failing job 83" in verdict.reasons[0].text
        assert verdict.reasons[0].values["job"] == 83

    @pytest.mark.parametrize("url", ["", THEIRS])
    def test_the_webhook_is_not_here_and_was_never(self, url: str) -> None:
        """Updates came before that, by hand."""
        verdict = judge(facts(notes=webhook(url)))

        assert (verdict.state, codes(verdict)) == (State.SETTING_UP, ["webhook_elsewhere" if url else "no_webhook"])
        assert "hush" not in str(verdict)

    def test_of_the_kind_every_attempt_fails_before_any_update_has_used_all_of_them(self) -> None:
        """A syntax error, just uploaded, after an hour of good work."""
        recent = (minute(20, done=900), minute(1, retried=6), minute(0, retried=5))
        verdict = judge(facts(last_hour=hour(5_000, 0), recent=recent, retrying=6))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["failing"])
        assert verdict.reasons[0].values == {"failed": 11, "runs": 11}

    def test_of_the_kind_arrivals_are_not_counted(self) -> None:
        recent = tuple(minute(ago, done=1, enqueued=1 if ago > 25 else None) for ago in range(29, -1, -1))
        verdict = judge(facts(recent=recent))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["uncounted"])

    def test_of_the_kind_telegram_refuses_the_token(self) -> None:
        seen = WebhookInfo(OURS, seen_at=SECONDS - 100).in_trouble("Unauthorized", is_refused=True)
        verdict = judge(facts(notes=asked(seen)))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["bot_token"])

    def test_of_the_kind_a_queue_that_its_owner_paused_does_not_work_and_blames_no_worker(self) -> None:
        notes = {**webhook(OURS), PAUSED: Note("by hand", NOW, 900.0)}
        verdict = judge(facts(notes=notes, waiting=Waiting(1, 900.0, 2, 900.0)))

        assert (verdict.state, codes(verdict)) == (State.DEGRADED, ["paused"])

    def test_of_the_kind_an_outage_of_the_bots_side_is_one_message_and_strangers_do_not_see_its_cause(self) -> None:
        outage = Note(
            json.dumps({"since": SECONDS - 900, "cause": "no Ann", "step": 4, "prober": "", "probed": []}), NOW, 60
        )
        verdict = judge(
            facts(
                notes={**webhook(OURS), BREAKER: outage},
                waiting=Waiting(1, 900.0, 2, 900.0),
                recent=(minute(1, retried=9),),
            )
        )

        assert (verdict.state, codes(verdict)) == (State.DOWN, ["bot_down"])
        assert verdict.reasons[0].text.endswith(" UTC: no Ann")
        assert "Ann" not in str(for_strangers(verdict))

    def test_without_people_the_kind_of_the_cause_is_left(self) -> None:
        told = {"since": SECONDS - 900, "cause": "exit code 1: Ann", "step": 4, "prober": "", "probed": []}
        verdict = judge(facts(notes={**webhook(OURS), BREAKER: Note(json.dumps(told), NOW, 60)}))

        assert without_people(verdict).reasons[0].text.endswith(" UTC: exit code 1")
        assert verdict_seen(verdict, is_owner=True, is_masked=False) == verdict

    def test_strangers_read_no_word_from_outside_in_any_reason(self) -> None:
        """Every rule that is told something: by the bot, by Telegram, by the host."""
        outage = json.dumps({"since": SECONDS - 900, "cause": "Hush", "step": 4, "prober": "Hush", "probed": []})
        seen = WebhookInfo("https://hush.example.com/Hush", 0, SECONDS, "Hush", seen_at=SECONDS, url_since=SECONDS)
        hold = Hold("Hush", "Hush", "Hush").to_text()
        scenes = (
            {**asked(replace(seen, was_here=True)), BREAKER: Note(outage, NOW, 60)},
            {**asked(replace(seen, url=f"{OURS}?Hush")), PAUSED: Note("Hush", NOW, 60)},
            {**asked(seen.in_trouble("Hush", is_refused=True)), HELD: Note(hold, NOW, 60.0)},
            asked(seen.in_trouble("Hush")),
        )
        found = set()
        for notes in scenes:
            verdict = judge(facts(notes=notes))
            plain = verdict_seen(verdict, is_owner=False, is_masked=False)
            found |= {reason.code for reason in (*verdict.reasons, *verdict.remarks)}

            assert "hush" in str(verdict).lower()
            assert "hush" not in str(plain).lower()
            assert (plain.state, codes(plain)) == (verdict.state, codes(verdict))
        assert found >= {"bot_down", "webhook_elsewhere", "webhook", "paused", "bot_token", "held", "webhook_unknown"}

    def test_a_reason_of_tomorrow_with_a_value_nobody_listed_is_its_code_alone(self) -> None:
        verdict = of_reasons([Reason("new", "Ann is here", {"who": "Ann", "seconds": 3})])

        assert for_strangers(verdict).reasons[0].text == "new"
        assert for_strangers(verdict).reasons[0].values == {"who": "", "seconds": 3}

    @pytest.mark.parametrize(("has_begun", "state"), [(True, State.DOWN), (False, State.SETTING_UP)])
    def test_of_the_kind_updates_that_are_held_blame_no_worker(self, has_begun: bool, state: State) -> None:
        hold = Hold("the bot polls: name another file", "here", "2026-01-01 11:00 UTC")
        verdict = judge(
            facts(
                notes={**webhook(OURS), HELD: Note(hold.to_text(), NOW, 60.0)},
                workers=(),
                waiting=Waiting(1, 900.0, 2, 900.0),
                newest_age_seconds=900.0 if has_begun else None,
            )
        )

        assert (verdict.state, codes(verdict)[0]) == (state, "held")
        assert {"no_worker", "waiting", "lane"}.isdisjoint(codes(verdict))


class TestF33:
    """The webhook was here once."""

    @pytest.mark.parametrize(("url", "code"), [("", "no_webhook"), (THEIRS, "webhook_elsewhere")])
    def test_a_webhook_that_is_gone_or_points_elsewhere_is_down_and_told(self, url: str, code: str) -> None:
        verdict = judge(facts(notes=webhook(url, was_here=True)))

        assert (verdict.state, codes(verdict), told(verdict)) == (State.DOWN, [code], [code])

    def test_a_fresh_error_of_telegram_is_degraded_and_told(self) -> None:
        notes = webhook(OURS, last_error_at=SECONDS - 40, last_error="Connection refused")
        verdict = judge(facts(notes=notes))

        assert (verdict.state, told(verdict)) == (State.DEGRADED, ["webhook"])

    def test_of_the_kind_an_old_error_is_none(self) -> None:
        notes = webhook(OURS, last_error_at=SECONDS - 400, last_error="Connection refused")

        assert judge(facts(notes=notes)).state is State.WORKING

    def test_of_the_kind_updates_that_come_all_the_same_come_another_way(self) -> None:
        """They are fetched without a webhook, or an address of another name leads here."""
        for url in ("", "https://example.com/telegram"):
            assert judge(facts(notes=webhook(url, is_fed=True))).state is State.WORKING

    @pytest.mark.parametrize(("age", "state"), [(180.0, State.WORKING), (180.1, State.SETTING_UP)])
    def test_of_the_kind_somebody_fetches_updates_without_a_webhook(self, age: float, state: State) -> None:
        notes = {**webhook(""), POLLED: Note("", NOW, age)}

        assert judge(facts(notes=notes)).state is state

    def test_of_the_kind_what_telegram_said_half_an_hour_ago_is_not_known_any_more(self) -> None:
        seen = WebhookInfo("", seen_at=SECONDS - 1_900, was_here=True)

        assert judge(facts(notes=asked(seen, 1_801))).state is State.WORKING
        assert judge(facts(notes=asked(seen, 1_800))).state is State.DOWN
        gone = judge(facts(notes=asked(seen.in_trouble("no route to host"), 10)))
        assert (gone.state, [remark.code for remark in gone.remarks]) == (State.WORKING, ["webhook_unknown"])

    def test_a_telegram_that_cannot_be_reached_is_a_remark_and_no_alarm(self) -> None:
        verdict = judge(facts(notes=asked(WebhookInfo(OURS, seen_at=SECONDS - 700).in_trouble("no route to host"))))

        assert (verdict.state, verdict.reasons) == (State.WORKING, ())
        [line] = in_words(verdict)[1:]
        assert line == "note: where the webhook points is not known since 2026-01-01 11:48 UTC: no route to host"

    def test_never_here_and_nothing_came_is_no_alarm_but_an_update_without_a_webhook_is_one(self) -> None:
        assert told(judge(facts(notes=webhook(THEIRS), newest_age_seconds=None))) == []
        assert told(judge(facts(notes=webhook(THEIRS)))) == ["webhook_elsewhere"]


class TestSettingUp:
    def test_no_update_has_come_yet(self) -> None:
        verdict = judge(facts(newest_age_seconds=None))

        assert (verdict.state, codes(verdict), told(verdict)) == (State.SETTING_UP, ["no_update"], [])
        assert in_words(verdict) == ["setting up", "to do: no update has come yet: write a message to the bot"]

    def test_before_the_first_update_a_missing_worker_keeps_nobody_waiting(self) -> None:
        verdict = judge(facts(workers=(), notes={}, newest_age_seconds=None))

        assert (verdict.state, codes(verdict)) == (State.SETTING_UP, ["no_worker", "no_update"])

    def test_after_it_the_queue_is_down(self) -> None:
        verdict = judge(facts(workers=()))

        assert (verdict.state, codes(verdict)) == (State.DOWN, ["no_worker"])

    @pytest.mark.parametrize("ever", [True, False])
    def test_a_quiet_bot_whose_jobs_were_all_pruned_works(self, ever: bool) -> None:
        notes = {**webhook(OURS), TOTALS: Note(json.dumps({"ever": ever}), NOW, 30.0)}
        verdict = judge(facts(notes=notes, newest_age_seconds=None))

        assert verdict.state is (State.WORKING if ever else State.SETTING_UP)

    def test_without_a_token_nothing_is_said_of_the_webhook(self) -> None:
        assert judge(facts(notes={})).state is State.WORKING

    def test_no_tables_and_no_database(self) -> None:
        assert (without_tables().state, without_database().state) == (State.SETTING_UP, State.DOWN)


class TestBoundaries:
    @pytest.mark.parametrize(
        ("failed", "done", "is_much"),
        [
            (0, 0, False),
            (0, 5, False),
            (1, 0, True),
            (1, 1, True),
            (1, 2, False),
            (2, 2, True),
            (2, 3, False),
            (3, 3, True),
            (3, 26, True),
            (3, 27, False),
            (10, 90, False),
            (11, 89, True),
        ],
    )
    def test_failed_for_good(self, failed: int, done: int, is_much: bool) -> None:
        assert ("failed" in codes(judge(facts(last_hour=hour(done, failed))))) is is_much

    @pytest.mark.parametrize(
        ("failed", "done", "is_much"), [(2, 0, False), (3, 0, True), (3, 2, True), (3, 3, False), (50, 49, True)]
    )
    def test_attempts(self, failed: int, done: int, is_much: bool) -> None:
        assert ("failing" in codes(judge(facts(recent=(minute(1, done=done, retried=failed),))))) is is_much

    def test_attempts_are_those_of_the_ten_minutes_that_end_with_the_newest_run(self) -> None:
        good_before = (minute(29, done=100), minute(10, retried=3), minute(0))
        good_since = (minute(10, retried=3), minute(1, done=3))

        assert "failing" in codes(judge(facts(recent=good_before)))
        assert "failing" not in codes(judge(facts(recent=good_since)))

    @pytest.mark.parametrize(
        ("retrying", "failed", "done", "is_much"),
        [(2, 0, 0, False), (3, 0, 0, True), (3, 0, 26, True), (3, 0, 27, False), (3, 1, 27, True)],
    )
    def test_waiting_for_another_attempt(self, retrying: int, failed: int, done: int, is_much: bool) -> None:
        found = codes(judge(facts(last_hour=hour(done, failed), retrying=retrying)))

        assert ("retrying" in found) is is_much

    @pytest.mark.parametrize(("seconds", "code"), [(300.0, []), (300.1, ["lane"])])
    def test_a_lane(self, seconds: float, code: list[str]) -> None:
        assert codes(judge(facts(waiting=Waiting(None, None, 9, seconds)))) == code

    @pytest.mark.parametrize(("seconds", "code"), [(300.0, []), (300.1, ["waiting"])])
    def test_a_wait_for_a_worker(self, seconds: float, code: list[str]) -> None:
        assert codes(judge(facts(waiting=Waiting(9, seconds)))) == code

    @pytest.mark.parametrize(("ago", "code"), [(19, []), (20, ["uncounted"])])
    def test_uncounted_minutes(self, ago: int, code: list[str]) -> None:
        recent = (minute(ago, done=1, enqueued=None), minute(0, done=1, enqueued=None))

        assert codes(judge(facts(recent=recent))) == code
        assert "uncounted" not in codes(judge(facts(recent=recent, workers=()))), "no worker is the reason"

    @pytest.mark.parametrize(("age", "state"), [(299.9, State.WORKING), (300.0, State.DOWN)])
    def test_a_sign_of_life_of_the_maintenance(self, age: float, state: State) -> None:
        notes = {**webhook(OURS), TOTALS: Note("{}", NOW, age)}

        assert judge(facts(workers=(), notes=notes)).state is state


def test_the_worst_reason_gives_the_word_and_stands_first() -> None:
    mild, bad, remark = Reason("a", "a"), Reason("b", "b", {}, State.DOWN), Reason("c", "c", {}, State.WORKING)
    to_do = Reason("d", "d", {}, State.SETTING_UP)

    verdict = of_reasons([remark, to_do, mild, bad])

    assert (verdict.state, codes(verdict), verdict.remarks) == (State.DOWN, ["b", "a", "d"], (remark,))
    assert of_reasons([to_do, mild]).state is State.DEGRADED
    assert of_reasons([remark]).is_well
    assert in_words(verdict) == ["down", "attention: b", "attention: a", "to do: d", "note: c"]


class TestWhatTelegramSaid:
    """What is told beside the answer before."""

    def first(self, url: str) -> WebhookInfo:
        return WebhookInfo(url, seen_at=1_000).after(WebhookInfo(), None)

    def test_that_it_was_here_is_remembered_whatever_comes(self) -> None:
        gone = WebhookInfo("", seen_at=1_060).after(self.first(OURS), 5.0)
        later = WebhookInfo(THEIRS, seen_at=9_000).after(gone, 5.0)

        assert (gone.was_here, gone.url_since, later.was_here, later.is_fed) == (True, 1_060, True, False)

    @pytest.mark.parametrize(("newest_age", "is_fed"), [(None, False), (880.0, False), (879.9, True), (5_000.0, False)])
    def test_an_update_feeds_it_when_it_came_after_what_was_on_its_way(
        self, newest_age: float | None, is_fed: bool
    ) -> None:
        later = WebhookInfo(THEIRS, seen_at=2_000).after(self.first(THEIRS), newest_age)

        assert (later.url_since, later.is_fed) == (1_000, is_fed)
        assert WebhookInfo(THEIRS, seen_at=3_000).after(later, None).is_fed is is_fed

    def test_the_host_is_shown_and_no_path_query_or_password(self) -> None:
        for url in (
            "https://example.com:8443/123:token?x",
            "https://me:hush@example.com:8443",
            "https://example.com:8443?a/b",
        ):
            assert WebhookInfo(url).host == "example.com:8443"

    @pytest.mark.parametrize(
        ("url", "is_ours"),
        [(OURS, True), (OURS + "?x=1", True), (THEIRS, False), ("https://x/?a=/webhook_queue.py", False), ("", False)],
    )
    def test_our_script_is_known_by_its_name(self, url: str, is_ours: bool) -> None:
        assert WebhookInfo(url).leads_here is is_ours


class TestWarnings:
    """F9: updates that are done although the bot said that it could not serve them."""

    @pytest.mark.parametrize(
        ("done", "warnings", "is_much"), [(3, 3, True), (2, 2, False), (6, 3, False), (5, 3, True), (100, 50, False)]
    )
    def test_when_most_of_the_last_updates_end_with_one(self, done: int, warnings: int, is_much: bool) -> None:
        verdict = judge(facts(recent=(warned(1, done, warnings),)))

        assert (verdict.state, codes(verdict)) == ((State.DEGRADED, ["warned"]) if is_much else (State.WORKING, []))

    def test_those_of_before_count_no_more(self) -> None:
        assert codes(judge(facts(recent=(warned(25, 9, 9), minute(1, done=3))))) == []
        assert codes(judge(facts(recent=(warned(5, 9, 9), minute(1, done=3))))) == ["warned"]
