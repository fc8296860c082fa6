"""The bot's side is down for a while, with a real pool: no update fails for good, each chat keeps its order.

The attempts of these installations would be used up within seconds; an outage of three minutes is a part of
`make stress`, one of an hour in tests/unit/test_outage_gate.py.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.fakes.outage_scene import BOT, SHORT, OutageScene, message
from tests.support.need import need
from tests.support.servers.children import free_port, tail
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import request, wait_until
from tests.support.waiting import PATIENCE_SECONDS, SOON_SECONDS

# Three times as long as attempts last; the probe that ends it comes after 14 s.
OUTAGE_SECONDS = 10.0


@pytest.fixture(params=["cli", "fastcgi"])
def mode(request: pytest.FixtureRequest) -> str:
    need(None if shutil.which("php") and shutil.which("php-cgi") else "php and php-cgi are not installed")
    return str(request.param)


@contextlib.contextmanager
def answers_500(scene: OutageScene) -> Iterator[None]:
    scene.down.touch()
    yield
    scene.down.unlink()


@contextlib.contextmanager
def renamed_away(scene: OutageScene) -> Iterator[None]:
    scene.bot.rename(scene.bot.with_suffix(".away"))
    yield
    scene.bot.with_suffix(".away").rename(scene.bot)


@contextlib.contextmanager
def is_a_folder(scene: OutageScene) -> Iterator[None]:
    away = scene.bot.with_suffix(".away")
    scene.bot.rename(away)
    scene.bot.mkdir()
    yield
    scene.bot.rmdir()
    away.rename(scene.bot)


@contextlib.contextmanager
def has_a_parse_error(scene: OutageScene) -> Iterator[None]:
    """A file of which half was uploaded."""
    scene.bot.write_text(BOT[: len(BOT) // 2] + " ((")
    yield
    scene.bot.write_text(BOT)


Outage = Callable[[OutageScene], "contextlib.AbstractContextManager[None]"]
OUTAGES = [answers_500, renamed_away, is_a_folder, has_a_parse_error]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.__name__)
def test_f7_an_outage_uses_no_attempts_and_keeps_the_order_of_each_chat(
    tmp_path: Path, mode: str, outage: Outage
) -> None:
    """F7: it answers 500, is away, is a folder, is half uploaded."""
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE=mode)
    with scene.site:
        with outage(scene):
            began = time.monotonic()
            scene.post(7, 8)
            scene.wait_until_down()
            scene.post(7, 8, 9, first=3)
            time.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
            assert scene.site.counts()["failed"] == 0
        scene.wait_until_done(5)
        scene.assert_in_order_and_without_loss(5)
        assert not scene.is_down()
        # What the workers count is written within ten seconds.
        wait_until(lambda: scene.site.run("dashboard.py", "health").returncode == 0, scene.site.overview)


def test_one_update_is_tried_in_a_step_by_all_workers_together(tmp_path: Path) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli", BOT_WORKER_POOL_SIZE="4", BOT_WORKER_SLOTS="4")
    with scene.site:
        scene.down.touch()
        scene.post(*range(1, 31))
        scene.wait_until_down()
        since = time.time()
        time.sleep(22)  # no probe is near: the last one begins after 14 s, the next one after 30
        outage = scene.site.overview()["bot_down"]
        probes = [at for at in scene.tried_at() if at > since + 1]

        # After 2, 4 and 8 s; what was in flight when it opened had ended a second later.
        assert 2 <= len(probes) <= 3, probes
        assert outage["failed_probes"] == len(probes)
        pauses = [later - earlier for earlier, later in zip(probes, probes[1:])]
        assert all(later > 1.5 * earlier for earlier, later in zip(pauses, pauses[1:])), pauses
        scene.down.unlink()
        scene.wait_until_done(30)
        scene.assert_in_order_and_without_loss(30)


def test_page_health_metrics_and_shell_say_since_when_and_why(tmp_path: Path) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli")
    with scene.site as site:
        scene.down.touch()
        scene.post(7, 8)
        scene.wait_until_down()

        overview = site.overview()
        page = site.owner().page()
        health = request(f"{site.dashboard_url}?format=health{site.query}")
        for_strangers = request(f"{site.dashboard_url}?format=health")
        metrics = request(f"{site.dashboard_url}?format=prometheus{site.query}").body.decode()
        shell = site.run("dashboard.py", "health")

    assert overview["bot_down"]["cause"] == "exit code 1"
    assert [reason["code"] for reason in overview["health"]["reasons"]] == ["bot_down"]
    assert "side is down since" in page
    assert "exit code 1" in page
    assert (health.status, [reason["code"] for reason in health.json()["reasons"]]) == (503, ["bot_down"])
    assert "exit code 1" in health.body.decode()
    assert (for_strangers.status, "exit code 1" in for_strangers.body.decode()) == (403, False)
    assert "scalable_bot_down 1\n" in metrics
    assert (shell.returncode, "the bot's side is down since" in shell.stdout) == (1, True)
    assert "exit code 1" in shell.stdout


def test_php_is_missing_for_a_while(tmp_path: Path, mode: str) -> None:
    """F7: of the kind, PHP is away."""
    php = tmp_path / "php-of-the-host"
    php.symlink_to(str(shutil.which("php" if mode == "cli" else "php-cgi")))
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE=mode, BOT_PHP_BINARY=str(php), BOT_WORKER_POOL_SIZE="1")
    with scene.site:
        target = php.readlink()
        php.unlink()
        scene.post(7, 8, 7)
        scene.wait_until_down()
        time.sleep(8)
        assert scene.site.counts()["failed"] == 0
        php.symlink_to(target)
        scene.wait_until_done(3)
        scene.assert_in_order_and_without_loss(3)


@contextlib.contextmanager
def web_bot(port: int, ran: list[int]) -> Iterator[None]:
    """A bot that is a web server of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ran.append(json.loads(body)["update_id"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_bots_web_server_refuses_connections_for_a_while(tmp_path: Path) -> None:
    """F7: of the kind, its web server is away."""
    port, ran = free_port(), list[int]()
    scene = OutageScene(tmp_path)
    scene.site = ServedSite(tmp_path, scene.bot, **{**SHORT, "BOT_LEGACY_PATH": f"http://127.0.0.1:{port}/"})
    with scene.site:
        scene.post(7, 8, 7, 8)
        scene.wait_until_down()
        time.sleep(8)
        with web_bot(port, ran):
            scene.wait_until_done(4)

        assert {job["attempts"] for job in scene.site.overview()["jobs"]} == {1}
    assert sorted(ran) == [1, 2, 3, 4]
    assert [ran.index(1) < ran.index(3), ran.index(2) < ran.index(4)] == [True, True]


def test_a_poisonous_update_beside_a_healthy_bot_fails_by_itself_and_stops_nobody(tmp_path: Path, mode: str) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE=mode)
    with scene.site as site:
        scene.post(666, text="poison")
        for number in range(2, 42):
            scene.post(number % 5, first=number)
            time.sleep(0.1)
        site.wait_for_counts(done=40, failed=1)

        assert "side is down" not in site.log.read_text()
        [failed] = [job for job in site.overview()["jobs"] if job["status"] == "failed"]
        assert (failed["update_id"], failed["attempts"]) == (1, 3)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another"])
def test_one_sender_of_poison_in_eight_chats_makes_nobody_wait_for_more_than_some_seconds(
    tmp_path: Path, others: int
) -> None:
    """Alone it is no outage. With another sender it looks like one, until the first update of somebody else."""
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli", BOT_JOB_MAX_ATTEMPTS="6")
    with scene.site as site:
        scene.post(*range(1, 21))
        site.wait_for_counts(PATIENCE_SECONDS, done=20)
        for number in range(8):
            sender = 888 if others and number % 2 else 777
            assert site.send(message(100 + number, -5000 - number, "poison", sender)).status == 200
        time.sleep(6)
        began = time.monotonic()
        assert site.send(message(200, 321, sender=321)).status == 200
        wait_until(lambda: [200, 321] in scene.ran(), lambda: tail(site.log, 60))

        assert time.monotonic() - began < SOON_SECONDS  # it was minutes
        assert others or "side is down" not in site.log.read_text()
        if not others:
            site.wait_for_counts(PATIENCE_SECONDS, failed=8)


def test_a_pool_that_ends_and_starts_while_it_is_open_waits_on_and_goes_on(tmp_path: Path) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli")
    with scene.site as site:
        scene.down.touch()
        scene.post(7, 8, 7, 8)
        scene.wait_until_down()
        site.pool.kill()
        site.pool.start()
        wait_until(lambda: "claims stopped" in tail(site.log, 200), lambda: tail(site.log))
        time.sleep(5)
        assert scene.is_down()
        scene.down.unlink()
        scene.wait_until_done(4)
        scene.assert_in_order_and_without_loss(4)


def test_drain_and_tick_of_cron_end_in_time_and_say_why(tmp_path: Path) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli")
    with scene.site as site:
        scene.down.touch()
        scene.post(7, 8, 9, 10, 11, 12)
        scene.wait_until_down()
    began = time.monotonic()

    drain = site.run("worker.py", "--drain", "--max-seconds", "50")
    drained_within = time.monotonic() - began
    tick = site.run("worker_pool.py", "--cron", "--max-seconds", "4")

    assert (drain.returncode, tick.returncode) == (0, 0), drain.stderr + tick.stderr
    assert drained_within < 45
    assert "the bot's side is down" in drain.stderr
    assert "exit code 1" in drain.stderr
    scene.down.unlink()
    finishing = site.run("worker.py", "--max-jobs", "6", "--max-seconds", "40")
    assert finishing.returncode == 0, finishing.stderr
    assert sorted(number for number, _ in scene.ran()) == [1, 2, 3, 4, 5, 6], finishing.stderr


def test_switched_off_an_outage_uses_the_attempts_up(tmp_path: Path) -> None:
    scene = OutageScene(tmp_path, BOT_LEGACY_MODE="cli", BOT_BREAKER="0")
    with scene.site as site:
        scene.down.touch()
        scene.post(7, 8, 9)
        site.wait_for_counts(failed=3)

        assert not scene.is_down()
        assert {job["attempts"] for job in site.overview()["jobs"]} == {3}
