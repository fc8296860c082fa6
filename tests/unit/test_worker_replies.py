"""What becomes of a job whose bot answers with a method call: sent before the job ends, noted when it was not."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalable.lib.runners.run_result import End, RunResult
from scalable.lib.telegram.bot_api import BotApi
from scalable.lib.telegram.update import Update
from scalable.lib.worker.reply_sender import ReplySender
from tests.support.fakes.bot_api import TOKEN, FakeBotApi, is_busy, refuses
from tests.support.fakes.worker_bench import Bench

CALL = json.dumps({"method": "sendMessage", "chat_id": 7, "text": "hi"}).encode()


def enqueue(bench: Bench, count: int = 1) -> list[int]:
    """Ids of new jobs, each of chat 7."""
    return [bench.queue.enqueue(Update(json.dumps({"message": {"chat": {"id": 7}}}))).job_id for _ in range(count)]


def answered(answer: bytes, exit_code: int = 0, answer_type: str | None = None) -> RunResult:
    return RunResult(End.EXITED, 0.1, exit_code=exit_code, answer=answer, answer_type=answer_type)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def api() -> Iterator[FakeBotApi]:
    with FakeBotApi() as api:
        yield api


def bench_with(bench: Bench, api: FakeBotApi | None) -> Bench:
    bench.make_worker(ReplySender(BotApi(TOKEN, api.url) if api else None, bench.clock, bench.clock.advance))
    return bench


def test_the_call_is_made_and_the_job_is_done(bench: Bench, api: FakeBotApi):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(CALL)

    bench_with(bench, api).work_one()

    (call,) = api.calls
    assert (call.method, call.parameters) == ("sendmessage", {"method": "sendMessage", "chat_id": 7, "text": "hi"})
    assert (bench.job(job_id).status, bench.job(job_id).error_message) == ("done", None)


def test_without_a_token_the_job_is_done_and_says_that_the_reply_was_not_sent(bench: Bench):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(CALL)

    bench_with(bench, None).work_one()

    job = bench.job(job_id)
    assert (job.status, job.error_message) == ("done", "reply not sent: BOT_TOKEN is not set")


def test_a_refused_reply_is_noted_and_the_bot_is_not_run_again(bench: Bench, api: FakeBotApi):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(CALL)
    api.will("sendMessage", refuses("Bad Request: chat not found"))

    bench_with(bench, api).work_one()

    job = bench.job(job_id)
    assert (job.status, job.attempts) == ("done", 1)
    assert job.error_message == "reply not sent: Bad Request: chat not found"


def test_what_a_user_wrote_for_a_bot_that_prints_it_is_noted_and_not_performed(
    bench: Bench, api: FakeBotApi, caplog: pytest.LogCaptureFixture
):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(b'{"method":"sendMessage","chat_id":8,"text":"private words"}')

    bench_with(bench, api).work_one()

    job = bench.job(job_id)
    note = "reply refused: sendMessage to another chat than the update's (see BOT_REPLY_ANY)"
    assert (api.calls, job.status, job.error_message) == ([], "done", note)
    assert "reply refused" in caplog.text
    assert "private words" not in caplog.text


def test_the_answer_of_a_bot_that_failed_is_not_sent(bench: Bench, api: FakeBotApi):
    enqueue(bench)
    bench.runner.result = answered(CALL, exit_code=1)

    bench_with(bench, api).work_one()

    assert api.calls == []


def test_a_type_that_telegram_would_not_read_is_not_read(bench: Bench, api: FakeBotApi):
    enqueue(bench)
    bench.runner.result = answered(CALL, answer_type="text/html; charset=UTF-8")

    bench_with(bench, api).work_one()

    assert api.calls == []


def test_the_lease_is_kept_while_telegram_lets_us_wait(bench: Bench, api: FakeBotApi):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(CALL)
    api.will("sendMessage", is_busy(25))
    beats: list[float] = []
    renew = bench.queue.renew_many

    def counted(*arguments: object) -> object:
        beats.append(bench.clock.now)
        return renew(*arguments)  # type: ignore[arg-type]

    bench.queue.renew_many = counted  # type: ignore[method-assign]

    bench_with(bench, api).work_one()

    assert len(beats) == 2
    assert (len(api.calls), bench.job(job_id).status) == (2, "done")


def test_a_stop_at_once_while_waiting_ends_the_wait_and_not_the_jobs_success(bench: Bench, api: FakeBotApi):
    [job_id] = enqueue(bench)
    bench.runner.result = answered(CALL)
    api.will("sendMessage", is_busy(25))

    def stop_soon(_: Callable[[], None]) -> None:
        bench.stop.request(signal.SIGQUIT)

    bench.runner.during = stop_soon

    outcome = bench_with(bench, api).work_one()

    job = bench.job(job_id)
    assert outcome is not None
    assert (job.status, job.error_message) == ("done", "reply not sent: asked to stop at once")


def test_the_reply_of_a_batch_is_noted_with_its_own_job(bench: Bench):
    enqueue(bench, 3)
    bench_with(bench, None)
    for answer in (b"", CALL, b""):
        bench.runner.result = answered(answer)
        bench.work_one()
    bench.worker.close()

    assert [bench.job(number).error_message for number in (1, 2, 3)] == [
        None,
        "reply not sent: BOT_TOKEN is not set",
        None,
    ]
    assert bench.queue.counts().done == 3
