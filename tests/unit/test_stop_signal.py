"""StopSignal: what each signal asks for, and that a waiting worker hears it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from scalable.lib.stop_signal import StopSignal

TERM, INT, QUIT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP
LONG_SECONDS = 60.0


@pytest.mark.parametrize(
    ("signals", "requested", "at_once"),
    [
        ([], False, False),
        ([TERM], True, False),
        ([INT], True, False),
        ([HUP], True, False),
        ([QUIT], True, True),
        ([TERM, TERM], True, False),
        ([INT, INT], True, True),
        ([TERM, INT], True, True),
        ([INT, TERM], True, False),
        ([TERM, QUIT], True, True),
        ([QUIT, TERM], True, True),
    ],
)
def test_each_signal_asks_for_what_it_is_documented_to(signals: list[int], requested: bool, at_once: bool):
    stop = StopSignal()

    for number in signals:
        stop.request(number)

    assert (stop.requested, stop.at_once) == (requested, at_once)
    assert (stop.requested, stop.at_once) == (requested, at_once)  # asking changes nothing


def test_the_order_of_asking_does_not_matter():
    stop = StopSignal()
    stop.request(INT)
    assert stop.requested

    stop.request(INT)

    assert stop.at_once


def test_threads_that_ask_at_the_same_time_lose_no_request(monkeypatch: pytest.MonkeyPatch):
    """Given a thread that is just taking a TERM when another one finds a QUIT."""
    stop = StopSignal()
    inside, go_on = threading.Event(), threading.Event()
    take = StopSignal._take

    def slow_take(self: StopSignal, number: int) -> None:
        before = self._at_once
        if number == TERM:
            inside.set()
            go_on.wait(0.2)  # the other thread is kept out until then, or loses its request
            self._at_once = before
        take(self, number)

    monkeypatch.setattr(StopSignal, "_take", slow_take)
    stop.request(TERM)
    asking = threading.Thread(target=lambda: stop.requested)
    asking.start()
    assert inside.wait(10)
    stop.request(QUIT)

    assert stop.at_once
    go_on.set()
    asking.join(60)
    assert stop.at_once


def test_the_death_of_the_pool_is_a_request_but_lets_the_bot_finish():
    parent = [100]
    stop = StopSignal(100, lambda: parent[0])
    assert not stop.requested

    parent[0] = 1

    assert stop.requested
    assert not stop.at_once


def test_a_worker_without_a_pool_does_not_look_for_its_parent():
    assert not StopSignal(None, lambda: 1).requested


def test_waiting_ends_with_the_time_without_a_request():
    assert StopSignal().wait(0.01) is False


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_waiting_for_no_time_returns(seconds: float):
    assert StopSignal().wait(seconds) is False


def test_a_request_made_before_the_wait_ends_it_at_once():
    stop = StopSignal()
    stop.request()
    started = time.monotonic()

    assert stop.wait(LONG_SECONDS) is True
    assert time.monotonic() - started < LONG_SECONDS / 2


def test_a_request_made_during_the_wait_ends_it():
    stop = StopSignal()
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(stop.wait(LONG_SECONDS)))
    waiter.start()

    stop.request()
    waiter.join(timeout=LONG_SECONDS / 2)

    assert answers == [True]


@pytest.fixture
def _signals_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (TERM, INT, QUIT, HUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_are_put_back")
@pytest.mark.parametrize(("number", "at_once"), [(TERM, False), (INT, False), (HUP, False), (QUIT, True)])
def test_real_signals_are_heard_after_listen(number: int, at_once: bool):
    stop = StopSignal()
    stop.listen()

    os.kill(os.getpid(), number)

    assert stop.wait(LONG_SECONDS) is True
    assert stop.at_once is at_once


def test_who_waits_to_the_end_also_waits_after_a_stop_was_requested():
    """Else a worker that waits for its last bots would use a whole core for it."""
    stop = StopSignal()
    stop.request()
    reader, writer = os.pipe()
    began = time.monotonic()

    stop.wait_to_the_end(0.2, reader)
    waited = time.monotonic() - began
    os.write(writer, b"!")
    stop.wait_to_the_end(30, reader)

    assert waited >= 0.2
    assert time.monotonic() - began < 15
    os.close(reader)
    os.close(writer)
