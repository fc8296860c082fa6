"""`worker_pool.py --serve`: the password it invents, and the socket for a proxy on the same machine."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.generators.visitor import Visitor
from tests.support.places import REPOSITORY
from tests.support.servers.children import Child, tail, wait_until_ready
from tests.support.servers.served_installation import ServedSite
from tests.support.servers.site import wait_until

PY_BOT = REPOSITORY / "examples" / "bot.py"
UPDATE = b'{"update_id": 1, "message": {"message_id": 1, "chat": {"id": 1, "type": "private"}, "text": "hi"}}'


class AtSocket(http.client.HTTPConnection):
    """As a proxy connects."""

    def __init__(self, path: Path) -> None:
        super().__init__("bot.example.org", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        self.request("GET" if body is None else "POST", path, body, headers)
        answer = self.getresponse()
        return answer.status, answer.read()


class TestInventedPassword:
    def test_a_browser_on_this_machine_is_a_stranger_without_it(self, tmp_path: Path) -> None:
        with ServedSite(tmp_path, PY_BOT) as site:
            neighbour = Visitor(site.dashboard_url)
            shown = neighbour.get()
            refused = [neighbour.get(place).status for place in ("/jobs", "/doctor", "?format=json", "?format=health")]
            acted = neighbour.post({"action": "pause", "sure": "yes"}).status
            owner = Visitor(site.dashboard_url).log_in(site.token).page()

        assert shown.status == 403
        assert b"pending" not in shown.body
        assert (refused, acted) == ([403] * 4, 403)
        assert "Log out" in owner

    def test_it_is_private_random_and_stays(self, tmp_path: Path) -> None:
        with ServedSite(tmp_path, PY_BOT) as site:
            first = site.token
            mode = site.invented_token.stat().st_mode
        with ServedSite(tmp_path, PY_BOT) as site:
            second = site.token
        (tmp_path / "other").mkdir()
        with ServedSite(tmp_path / "other", PY_BOT) as site:
            other = site.token

        assert re.fullmatch("[A-Za-z0-9_-]{32}", first)
        assert stat.S_IMODE(mode) == 0o600
        assert (second == first, other == first) == (True, False)

    def test_the_address_is_printed_with_it_into_a_pipe_and_no_log_holds_it(self, tmp_path: Path) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        with subprocess.Popen(
            site.pool_command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=site.environment
        ) as pool:
            assert pool.stdout is not None
            lines = []
            for line in pool.stdout:
                lines.append(line)
                if "Ctrl-C ends it" in line:
                    break
            pool.terminate()
            _, logged = pool.communicate(timeout=60)

        assert f"  Dashboard  {site.dashboard_url}?token={site.token}\n" in lines
        assert site.token not in logged

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    def test_a_file_of_ours_is_private_before_it_is_printed_there(self, tmp_path: Path, mode: int) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        site.log.touch()
        site.log.chmod(mode)
        with site:
            wait_until(lambda: "Ctrl-C ends it" in site.log.read_text(), lambda: tail(site.log))

            assert site.token in site.log.read_text()
            assert site.log.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("mode", [0o640, 0o644, 0o666])
    def test_who_opened_the_file_before_reads_nothing_of_it(self, tmp_path: Path, mode: int) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        site.log.touch()
        site.log.chmod(mode)
        with site.log.open() as neighbour, site:
            wait_until(lambda: "Ctrl-C ends it" in site.log.read_text(), lambda: tail(site.log))
            heard, token, printed = neighbour.read(), site.token, site.log.read_text()

        assert heard == ""
        assert token in printed

    @pytest.mark.parametrize("mode", [0o600, 0o622, 0o644, 0o666])
    def test_into_a_pipe_with_a_name_only_where_nobody_else_can_open_it(self, tmp_path: Path, mode: int) -> None:
        printed, token = self._printed_into_a_pipe(ServedSite(tmp_path, PY_BOT), tmp_path / "pipe", mode)

        assert (token in printed) is (mode == 0o600)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a pipe to somebody else")
    def test_into_a_pipe_of_another_user_only_its_place_is_printed(self, tmp_path: Path) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        printed, token = self._printed_into_a_pipe(site, tmp_path / "pipe", 0o600, "nobody")

        assert token not in printed
        assert str(site.invented_token) in printed

    def _printed_into_a_pipe(self, site: ServedSite, pipe: Path, mode: int, owner: str = "") -> tuple[str, str]:
        os.mkfifo(pipe)
        pipe.chmod(mode)
        if owner:
            shutil.chown(pipe, owner)
        reader = open(os.open(pipe, os.O_RDWR), encoding="utf-8")  # noqa: SIM115 - closed below
        with reader, open(pipe, "w") as output:
            command, quiet = site.pool_command(), subprocess.DEVNULL
            with subprocess.Popen(command, stdout=output, stderr=quiet, env=site.environment) as pool:
                printed = ""
                for line in reader:
                    printed += line
                    if "Ctrl-C ends it" in line:
                        break
                pool.terminate()
                pool.wait(60)
        return printed, site.token

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    def test_into_a_file_of_another_user_only_its_place_is_printed(self, tmp_path: Path, mode: int) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        site.log.touch()
        site.log.chmod(mode)
        shutil.chown(site.log, "nobody")
        with site:
            wait_until(lambda: "Ctrl-C ends it" in site.log.read_text(), lambda: tail(site.log))
            printed, token = site.log.read_text(), site.token

        assert token not in printed
        assert str(site.invented_token) in printed

    def test_one_that_the_owner_set_wins_and_none_is_invented(self, tmp_path: Path) -> None:
        with ServedSite(tmp_path, PY_BOT, BOT_MONITOR_TOKEN="of-the-owner-himself") as site:
            Visitor(site.dashboard_url).log_in("of-the-owner-himself")

            assert not site.invented_token.exists()

    def test_the_readers_password_alone_makes_no_owner(self, tmp_path: Path) -> None:
        with ServedSite(tmp_path, PY_BOT, BOT_MONITOR_READ_TOKEN="of-somebody-who-looks") as site:
            reader = Visitor(site.dashboard_url).log_in("of-somebody-who-looks").page()
            owner = Visitor(site.dashboard_url).log_in(site.token).page()

        assert "Read only" in reader
        assert "Read only" not in owner

    @pytest.mark.parametrize("content", ["", "short\n", "with a space in it, and long\n", "x" * 300])
    def test_a_file_with_something_else_is_named_and_nobody_gets_in(self, tmp_path: Path, content: str) -> None:
        site = ServedSite(tmp_path, PY_BOT)
        site.invented_token.parent.mkdir(mode=0o700)
        site.invented_token.write_text(content)

        finished = site.run("worker_pool.py", "--serve", f"127.0.0.1:{site.port}")

        assert finished.returncode == 2, finished
        assert f"{site.invented_token}: expected 16 or more" in finished.stderr


class TestSocket:
    def pool(self, site: ServedSite, path: Path) -> Child:
        command = site.command("worker_pool.py", "--serve", f"unix:{path}")
        return Child(command, log=site.log, environment=site.environment)

    def test_a_proxy_reaches_webhook_and_dashboard_and_is_nobody_without_the_password(self, tmp_path: Path) -> None:
        site, path = ServedSite(tmp_path, PY_BOT), tmp_path / "pool.sock"
        pool = self.pool(site, path)
        pool.start()
        try:
            wait_until_ready(pool, path.exists, what="the socket", log=site.log)
            wait_until(lambda: "Ctrl-C ends it" in site.log.read_text(), lambda: tail(site.log))
            stored = AtSocket(path).ask("/scalable/webhook_queue.py", UPDATE)
            stranger = AtSocket(path).ask("/scalable/dashboard.py?format=json")
            owner = AtSocket(path).ask(f"/scalable/dashboard.py?format=json&token={site.token}")
            mode, printed = stat.S_IMODE(path.stat().st_mode), site.log.read_text()
            (tmp_path / "second").mkdir()
            again = self.pool(ServedSite(tmp_path / "second", PY_BOT), path)
            again.start()
            wait_until(lambda: not again.is_running(), lambda: tail(tmp_path / "second" / "pool.log"))
            still = AtSocket(path).ask("/scalable/dashboard.py?format=json")[0]
        finally:
            pool.close()

        assert stored == (200, b'{"ok": true, "queued_job_id": 1}\n')
        assert (stranger[0], owner[0], still) == (403, 200, 403)
        assert mode == 0o660
        assert f"curl --unix-socket {path} -d" in printed
        assert "another server answers there" in (tmp_path / "second" / "pool.log").read_text()

    def test_one_that_a_killed_pool_left_is_taken_over(self, tmp_path: Path) -> None:
        site, path = ServedSite(tmp_path, PY_BOT), tmp_path / "pool.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        pool = self.pool(site, path)
        pool.start()
        try:
            wait_until(lambda: "Ctrl-C ends it" in site.log.read_text(), lambda: tail(site.log))
            assert AtSocket(path).ask("/scalable/dashboard.py")[0] == 403
        finally:
            pool.close()

    @pytest.mark.parametrize(
        ("place", "said"),
        [
            ("unix:", "expected unix:PATH"),
            ("unix:absent/pool.sock", "cannot be used (No such file or directory)"),
            ("unix:open/pool.sock", "every user of this machine may write into"),
            ("unix:/tmp/pool.sock", "every user of this machine may write into /tmp"),
            ("unix:a-file", "cannot listen there"),
            (f"unix:{'x' * 200}", "cannot listen there"),
        ],
    )
    def test_a_wrong_place_is_named_with_what_to_do(self, tmp_path: Path, place: str, said: str) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        (tmp_path / "a-file").touch()

        finished = ServedSite(tmp_path, PY_BOT).run("worker_pool.py", "--serve", place)

        assert finished.returncode == 2, finished
        assert said in finished.stderr
        assert "Traceback" not in finished.stderr
        assert os.path.exists(tmp_path / "a-file")
