"""The log that a line of cron sends to a file: it stays small, whoever writes it, and loses no line on the way."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scalable.lib.log_file import LOCK, OLDER
from tests.support.places import REPOSITORY
from tests.support.servers.served_installation import ServedSite

PY_BOT = REPOSITORY / "examples" / "bot.py"
# Writes so many lines, as a process whose standard streams are the file does; then says its name of the file.
WRITER = """
import logging, os, sys
from scalable.lib.log_file import bounded_log
from scalable.lib.logs import configure_logging
name, lines, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
configure_logging("INFO", before_line=bounded_log(most))
for number in range(lines):
    logging.info("line %s/%d %s", name, number, "x" * 100)
print("printed by", name, flush=True)
"""


def write(log: Path, name: str, lines: int, most: int) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        command = [sys.executable, "-c", WRITER, name, str(lines), str(most)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)


def wait_for(*writers: subprocess.Popen[bytes]) -> None:
    for writer in writers:
        assert writer.wait(60) == 0


def older(log: Path) -> Path:
    return log.with_name(log.name + OLDER)


def lines_of(*files: Path) -> list[str]:
    found: list[str] = []
    for file in files:
        found += re.findall(r"line (\S+) x{100}$", file.read_text(), re.MULTILINE)
    return found


def test_of_a_log_three_older_files_are_kept_however_much_is_written(tmp_path: Path) -> None:
    """F13: it rotates."""
    log = tmp_path / "scalable.log"
    kept = [log.with_name(f"{log.name}{OLDER}{end}") for end in (".3", ".2", "")]

    wait_for(write(log, "a", 5000, 50_000))

    assert log.stat().st_size < 51_000
    assert [50_000 <= each.stat().st_size < 51_000 for each in kept] == [True] * 3
    assert sorted(os.listdir(tmp_path)) == sorted([log.name, *(each.name for each in kept)])
    found = lines_of(*kept, log)
    assert found == [f"a/{number}" for number in range(5000 - len(found), 5000)]
    assert log.read_text().endswith("printed by a\n")
    assert {each.stat().st_mode & 0o777 for each in [log, *kept]} == {0o600}


@pytest.mark.parametrize("older_files", [0, 1, 5])
def test_as_many_are_kept_as_the_owner_wants(tmp_path: Path, older_files: int) -> None:
    site = ServedSite(tmp_path, PY_BOT, BOT_LOG_LEVEL="DEBUG", BOT_LOG_MAX_MB="1", BOT_LOG_FILES=str(older_files))
    log = tmp_path / "cron.log"

    for _ in range(7):
        log.write_bytes(b"an old line\n" * 100_000)
        with log.open("ab") as output:
            command = site.command("worker.py", "--drain")
            subprocess.run(command, env=site.environment, stdout=output, stderr=output, check=True, timeout=60)

    assert len([name for name in os.listdir(tmp_path) if name.startswith("cron.log")]) == 1 + older_files
    assert b"an old line" not in log.read_bytes()


def test_no_line_is_lost_or_broken_between_processes(tmp_path: Path) -> None:
    """F13: written is more than one file, and less than two."""
    log = tmp_path / "scalable.log"

    wait_for(*(write(log, name, 500, 300_000) for name in "abcdef"))

    expected = {f"{name}/{number}" for name in "abcdef" for number in range(500)}
    assert older(log).exists()
    assert sorted(lines_of(older(log), log)) == sorted(expected)


def test_a_process_that_was_started_with_the_older_file_goes_on_in_the_new_one(tmp_path: Path) -> None:
    """F13: by a pool that had nothing to say since."""
    log = tmp_path / "scalable.log"
    for file, text in ((log, "of now\n"), (older(log), "of then\n")):
        file.touch(mode=0o600)
        file.write_text(text)

    wait_for(write(older(log), "a", 1, 200_000))

    assert lines_of(log) == ["a/0"]
    assert older(log).read_text() == "of then\n"


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_file_that_somebody_took_away_is_made_anew(tmp_path: Path, how: str) -> None:
    """As logrotate does, or an owner who wants room."""
    log, moved = tmp_path / "scalable.log", tmp_path / "scalable.log-20260101"
    take_away = f"os.rename({str(log)!r}, {str(moved)!r})" if how == "moved" else f"os.unlink({str(log)!r})"
    code = WRITER + f"{take_away}\nlogging.info('line of now')\nprint('printed now')\n"

    with log.open("ab") as output:
        command = [sys.executable, "-c", code, "a", "3", "200000"]
        wait_for(subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output))

    assert [line.partition(" INFO ")[2] or line for line in log.read_text().splitlines()] == [
        "line of now",
        "printed now",
    ]
    assert how == "deleted" or lines_of(moved) == ["a/0", "a/1", "a/2"]


def test_the_mode_of_the_file_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "scalable.log"
    log.touch(mode=0o600)

    wait_for(write(log, "a", 1000, 50_000))

    assert log.stat().st_mode & 0o777 == 0o600


def test_where_it_cannot_be_done_it_says_so_once_and_goes_on(tmp_path: Path) -> None:
    """F13: of the kind, a folder that does not allow it."""
    log = tmp_path / "scalable.log"
    log.with_name(f"{log.name}{OLDER}.2").touch()
    log.with_name(f"{log.name}{OLDER}.3").mkdir()

    wait_for(write(log, "a", 1000, 50_000))

    assert len(lines_of(log)) == 1000
    assert log.read_text().count("log is not kept short") == 1


def test_a_link_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    log = tmp_path / "elsewhere" / "scalable.log"
    (tmp_path / "link.log").symlink_to(log)
    log.touch()

    wait_for(write(tmp_path / "link.log", "a", 1000, 50_000))

    assert older(log).exists()
    assert lines_of(tmp_path / "link.log")[-1] == "a/999"


def test_a_pipe_and_a_terminal_are_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, "a", "2000", "1000"]
    finished = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, timeout=60
    )

    assert finished.returncode == 0
    assert finished.stderr.count(b"\n") == 2000
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("pool_size", ["1", "none"])
@pytest.mark.parametrize("script", [("worker_pool.py", "--cron", "--max-seconds", "1"), ("worker.py", "--drain")])
def test_the_line_of_cron_puts_a_full_log_aside(tmp_path: Path, script: tuple[str, ...], pool_size: str) -> None:
    """F13: with the line as it stands in crontabs already; also where each minute ends with the same error."""
    site = ServedSite(tmp_path, PY_BOT, BOT_WORKER_POOL_SIZE=pool_size, BOT_LOG_LEVEL="DEBUG")
    log = tmp_path / "cron.log"
    log.write_bytes(b"an old line\n" * 900_000)

    line = " ".join([sys.executable, *(str(part) for part in (REPOSITORY / "scalable" / script[0], *script[1:]))])
    subprocess.run(["sh", "-c", f"{line} >> {log} 2>&1"], env=site.environment, check=False, timeout=60)

    assert older(log).read_bytes().startswith(b"an old line\n")
    assert b"an old line" not in log.read_bytes()
    assert 0 < log.stat().st_size < 100_000
    assert ("BOT_WORKER_POOL_SIZE='none'" in log.read_text()) is (pool_size == "none")


@pytest.mark.parametrize("has_reader", [False, True])
def test_a_pipe_that_somebody_put_in_the_place_of_the_log_holds_nobody_up(tmp_path: Path, has_reader: bool) -> None:
    """Opening one waits for its other end; TERM would not be heard, and the bot would stand still."""
    log = tmp_path / "scalable.log"
    log.touch(mode=0o600)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK) if has_reader else -1
    with log.open("ab") as output:
        replaced = f"import os; os.rename({str(tmp_path / 'pipe')!r}, {str(log)!r})\n"
        code = WRITER.replace("for number in", f"{replaced}for number in")
        command = [sys.executable, "-c", code, "a", "3", "1000000"]
        writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT)
        kept = os.open(f"/proc/self/fd/{output.fileno()}", os.O_RDONLY)

    try:
        wait_for(writer)
    finally:
        writer.kill()

    with os.fdopen(kept) as before:
        said = before.read()
    assert [f"line a/{number}" in said for number in range(3)] == [True] * 3
    assert "log is not kept short" in said
    if has_reader:
        os.close(reader)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o666, 0o622])
def test_who_opened_the_log_before_it_was_private_reads_and_writes_none_of_it(tmp_path: Path, mode: int) -> None:
    log = tmp_path / "scalable.log"
    log.write_text("of the shell\n")
    log.chmod(mode)

    with log.open("a+") as neighbour:
        wait_for(write(log, "a", 3, 200_000))
        neighbour.write("forged\n")
        neighbour.flush()
        neighbour.seek(0)
        heard = neighbour.read()

    assert heard == "of the shell\nforged\n"
    assert lines_of(log) == ["a/0", "a/1", "a/2"]
    assert log.read_text().endswith("printed by a\n")
    assert "forged" not in log.read_text()
    assert older(log).read_text() == heard
    assert {file.stat().st_mode & 0o777 for file in (log, older(log))} == {0o600}


def test_one_private_since_it_was_made_stays_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "scalable.log"
    log.touch(mode=0o600)

    wait_for(*(write(log, name, 3, 200_000) for name in "ab"))

    assert os.listdir(tmp_path) == [log.name]


def test_processes_that_begin_at_once_write_none_into_the_open_one_and_lose_none(tmp_path: Path) -> None:
    log = tmp_path / "scalable.log"
    log.touch()
    log.chmod(0o644)
    with log.open() as neighbour:
        wait_for(*(write(log, name, 50, 1_000_000) for name in "abcdef"))
        heard = neighbour.read()

    assert heard == ""
    assert sorted(lines_of(log)) == sorted(f"{name}/{number}" for name in "abcdef" for number in range(50))


def test_a_lock_on_the_log_does_not_keep_it_from_being_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "scalable.log"
    log.touch(mode=0o600)
    with log.open() as neighbour:
        fcntl.flock(neighbour, fcntl.LOCK_SH)
        wait_for(write(log, "a", 1000, 50_000))

    assert log.stat().st_size < 51_000
    assert older(log).stat().st_size < 51_000


def test_the_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    log = tmp_path / "scalable.log"
    log.with_name(log.name + LOCK).touch(mode=0o600)

    wait_for(write(log, "a", 1000, 50_000))

    assert log.stat().st_size < 51_000
    assert not log.with_name(log.name + LOCK).exists()


@pytest.mark.parametrize("what", ["open", "link", "folder"])
def test_something_in_the_place_of_the_lock_leaves_the_log_private_and_is_told_once(tmp_path: Path, what: str) -> None:
    log, lock = tmp_path / "scalable.log", tmp_path / f"scalable.log{LOCK}"
    if what == "open":
        lock.touch()
        lock.chmod(0o644)
    elif what == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        lock.mkdir()

    wait_for(write(log, "a", 3, 50_000))

    assert lines_of(log) == ["a/0", "a/1", "a/2"]
    assert log.read_text().count("log is not kept short") == 1
    assert log.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "elsewhere").exists()


def test_what_the_shell_writes_after_us_into_the_open_one_is_kept_where_no_older_file_is_wanted(tmp_path: Path) -> None:
    site = ServedSite(tmp_path, PY_BOT, BOT_LOG_FILES="0", BOT_LOG_LEVEL="DEBUG")
    log = tmp_path / "cron.log"
    log.write_text("before\n")
    log.chmod(0o644)
    line = " ".join(str(part) for part in (sys.executable, REPOSITORY / "scalable" / "worker.py", "--drain"))

    subprocess.run(["sh", "-c", f"({line}; echo after) >> {log} 2>&1"], env=site.environment, check=True, timeout=60)

    assert older(log).read_text() == "before\nafter\n"
    assert log.stat().st_size > 0
