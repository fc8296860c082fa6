"""Parts of the checks that need no server: addresses people give, file systems, settings that get lost on the way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from scalable.lib.http_client.address import parse_web_address
from scalable.lib.http_client.probe import NoAnswer, probe
from scalable.lib.setup.finding import Finding, conclusion, error, ok, warning
from scalable.lib.setup.machine_check import file_system_of
from scalable.lib.setup.public_check import Public, check_public, folder_url
from scalable.lib.setup.settings import Reading, read_settings
from scalable.lib.setup.settings_check import SHELL, WEB, check_environment, check_other_side
from scalable.lib.setup.settings_table import SETTINGS
from tests.support.servers.children import free_port

SECRET = bytes(range(32))


def readings(environment: dict[str, str], file: dict[str, str]) -> list[Reading]:
    return list(read_settings(SETTINGS, environment, file)[0].values())


def lines(findings: Iterable[Finding]) -> str:
    return "\n".join(finding.line for finding in findings)


def test_a_line_says_how_bad_it_is_what_was_seen_and_what_to_do() -> None:
    assert error("disk", "it is full", "make room").line == "error    disk: it is full; make room"
    assert conclusion([ok("a", "b"), warning("c", "d")]) == "Everything needed is in place."
    assert conclusion([error("a", "b"), error("c", "d")]) == "2 things to put right."
    assert conclusion([error("a", "b")]) == "1 thing to put right."


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("https://example.com/scalable", "https://example.com/scalable"),
        ("https://example.com/scalable/", "https://example.com/scalable"),
        ("https://example.com/scalable/webhook_queue.py", "https://example.com/scalable"),
        ("http://127.0.0.1:8080/a/scalable/dashboard.py/jobs?x=1", "http://127.0.0.1:8080/a/scalable"),
        ("https://example.com", "https://example.com"),
    ],
)
def test_the_address_of_the_folder_is_made_out_from_that_of_a_script(given: str, folder: str) -> None:
    assert folder_url(given) == folder


@pytest.mark.parametrize(
    "given", ["example.com", "ftp://example.com", "https://", "https://u:p@example.com/", "http://a:x/"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="an address such as"):
        folder_url(given)


def test_a_secret_is_only_sent_where_nobody_can_read_it() -> None:
    assert parse_web_address("https://example.com/").is_private
    assert parse_web_address("http://127.0.0.1:80/").is_private
    assert not parse_web_address("http://example.com/").is_private


def test_an_address_nobody_listens_at_is_a_warning_and_no_crash(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/scalable"

    with pytest.raises(NoAnswer, match="could not be asked"):
        probe(url)
    assert "warning  address:" in lines(check_public(Public(url, tmp_path, tmp_path, "")))


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:5 / {tmp_path} rw,relatime shared:1 - nfs4 server:/home rw\n"
        f"3 1 0:6 / {tmp_path}x rw - tmpfs tmpfs rw\n"
    )

    assert file_system_of(tmp_path / "data", mounts) == "nfs4"
    assert file_system_of(Path("/srv"), mounts) == "ext4"
    assert file_system_of(tmp_path, tmp_path / "none") == ""


class TestSettingsThatGetLost:
    def test_a_variable_of_the_shell_is_a_warning_because_others_may_not_have_it(self, tmp_path: Path) -> None:
        found = lines(check_environment(readings({"BOT_WORKER_SLEEP": "2"}, {}), tmp_path, SHELL))

        assert "warning  settings: BOT_WORKER_SLEEP: from the environment of this shell" in found

    @pytest.mark.parametrize(("file", "verdict"), [({}, "error"), ({"BOT_WORKER_SLEEP": "2"}, "warning")])
    def test_a_line_of_apache_that_does_not_arrive_is_named_with_its_file(
        self, tmp_path: Path, file: dict[str, str], verdict: str
    ) -> None:
        (tmp_path / ".htaccess").write_text("Options +ExecCGI\n  SetEnv BOT_WORKER_SLEEP 3\n# SetEnv BOT_TOKEN x\n")
        folder = tmp_path / "scalable"
        folder.mkdir()

        found = lines(check_environment(readings({}, file), folder, WEB))

        place = f"{tmp_path}/.htaccess"
        assert found.startswith(f"{verdict:<8} settings: SetEnv BOT_WORKER_SLEEP in {place} does not reach")
        assert "suexec takes such variables away" in found
        assert "write it into the settings file" in found
        assert "BOT_TOKEN" not in found

    def test_each_side_learns_what_the_other_one_saw_and_the_note_holds_no_value(self, tmp_path: Path) -> None:
        theirs = readings({"BOT_MONITOR_TOKEN": "hush"}, {"BOT_WORKER_SLEEP": "2"})
        ours = readings({}, {"BOT_WORKER_SLEEP": "3"})

        assert check_other_side(theirs, tmp_path, SECRET, WEB) == []
        found = lines(check_other_side(ours, tmp_path, SECRET, SHELL))

        assert "BOT_WORKER_SLEEP, BOT_MONITOR_TOKEN: the web server" in found
        note = tmp_path / ".ht-settings-web"
        assert "hush" not in note.read_text()
        assert note.stat().st_mode & 0o777 == 0o600
        assert check_other_side(theirs, tmp_path, SECRET, SHELL) == []
