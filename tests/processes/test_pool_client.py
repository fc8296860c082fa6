"""A CGI process with a gateway that answers, declines, is busy, dies, or is not there: the visitor gets one answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.ingest.fast_cgi.pool_client import ANSWER_SECONDS, GREETING, GREETING_SECONDS, MAX_BODY_BYTES
from tests.support.fakes.scripted_gateway import ScriptedGateway, read_request
from tests.support.servers.cgi import cgi_variables
from tests.support.waiting import SOON_SECONDS

SCALABLE = Path(__file__).resolve().parents[2] / "scalable"
# What an entry script does, and then says whether it was left with the request.
SCRIPT = """
import sys, time
sys.modules["scalable"] = type(sys)("scalable")
sys.modules["scalable"].__path__ = [sys.argv[1]]
import posix
from scalable.lib.ingest.fast_cgi import pool_client as handover
handover.ANSWER_SECONDS = float(sys.argv[3])
before = time.monotonic()
handover.forward_to_pool(sys.argv[2], posix.environ)
sys.stdout.write("by itself after %.1f s: " % (time.monotonic() - before))
sys.stdout.flush()
sys.stdout.buffer.write(sys.stdin.buffer.read())
"""
ANSWER = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nfrom the gateway"
BODY = b'{"update_id": 1}'


def ask(
    folder: Path, body: bytes = BODY, method: str = "POST", answer_seconds: float = ANSWER_SECONDS, **changed: str
) -> bytes:
    """What the visitor gets from a script in `folder`, whose data folder is `folder/.htdata`."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", SCRIPT, str(SCALABLE), f"{folder}/webhook_queue.py", str(answer_seconds)],
        input=body,
        capture_output=True,
        timeout=60,
        env=cgi_variables(method, body, **changed),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def by_itself(answer: bytes, body: bytes = BODY) -> float:
    """After how many seconds the script began to do it itself; its input has to be as the server wrote it."""
    words, _, rest = answer.partition(b": ")
    assert words.startswith(b"by itself after"), answer
    assert rest == body
    return float(words.split()[3])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / ".htdata"
    folder.mkdir()
    return folder


def answering(seen: list[tuple[dict[bytes, bytes], bytes]]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        seen.append(read_request(connection))
        connection.sendall(b"%d:%b," % (len(ANSWER), ANSWER))

    return serve


def test_variables_and_body_arrive_as_they_are_and_the_answer_comes_back(tmp_path: Path, data: Path):
    seen: list[tuple[dict[bytes, bytes], bytes]] = []
    odd = {"HTTP_X_FORWARDED_FOR": "", "HTTP_COOKIE": "a=1, b:2\n3:x,", "PATH_INFO": "/\udcff", "LANG": ""}

    with ScriptedGateway(data, answering(seen)):
        answer = ask(tmp_path, REMOTE_PORT="5", **odd)

    [(variables, body)] = seen
    expected = {os.fsencode(name): os.fsencode(value) for name, value in cgi_variables("POST", BODY, **odd).items()}
    assert answer == ANSWER
    assert body == BODY
    variables.pop(b"LC_CTYPE", None)  # Python's own, where the server gives no locale (PEP 538)
    assert variables == {
        **expected,
        b"REMOTE_PORT": b"5",
        b"SCGI": b"1",
        b"SCALABLE_FOLDER": os.fsencode(tmp_path),
        b"SCALABLE_SCRIPT": b"webhook_queue.py",
    }


def test_nothing_of_the_environment_replaces_what_the_script_says_of_itself(tmp_path: Path, data: Path):
    seen: list[tuple[dict[bytes, bytes], bytes]] = []

    with ScriptedGateway(data, answering(seen)):
        ask(tmp_path, HTTP_SCALABLE_FOLDER="/elsewhere", SCALABLE_FOLDER="/elsewhere", SCALABLE_SCRIPT="dashboard.py")

    assert seen[0][0][b"SCALABLE_FOLDER"] == os.fsencode(tmp_path)
    assert seen[0][0][b"SCALABLE_SCRIPT"] == b"webhook_queue.py"


@pytest.mark.parametrize("size", [0, 1, MAX_BODY_BYTES])
def test_a_body_of_any_size_that_may_be_taken_is_handed_over(tmp_path: Path, data: Path, size: int):
    seen: list[tuple[dict[bytes, bytes], bytes]] = []
    body = os.urandom(size)

    with ScriptedGateway(data, answering(seen)):
        answer = ask(tmp_path, body)

    assert answer == ANSWER
    assert seen[0][1] == body


def test_a_large_answer_comes_whole(tmp_path: Path, data: Path):
    large = b"Status: 200 OK\r\n\r\n" + os.urandom(3_000_000)

    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        read_request(connection)
        connection.sendall(b"%d:%b," % (len(large), large))

    with ScriptedGateway(data, serve):
        assert ask(tmp_path) == large


@pytest.mark.parametrize(
    "settings",
    [
        {"BOT_DATA_DIR": "{there}"},
        {"BOT_DATA_DIR": "elsewhere/data"},
        {"BOT_CONFIG": "{file}"},
        {"BOT_CONFIG": "env"},
    ],
    ids=["absolute", "relative", "in a file that is named", "in a file, by a relative name"],
)
def test_the_data_folder_is_where_the_settings_say(tmp_path: Path, settings: dict[str, str]):
    there = tmp_path / "elsewhere" / "data"
    there.mkdir(parents=True)
    (tmp_path / "env").write_text("# BOT_DATA_DIR=not/this\nBOT_TOKEN='x'\r\nBOT_DATA_DIR='elsewhere/data'\r\n")
    given = {name: value.format(there=there, file=tmp_path / "env") for name, value in settings.items()}

    with ScriptedGateway(there, answering([])):
        assert ask(tmp_path, **given) == ANSWER


def test_a_path_longer_than_a_sockets_may_be_is_no_obstacle(tmp_path: Path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20) / ".htdata"
    folder.mkdir(parents=True)
    short = tmp_path / "short"
    short.symlink_to(folder)

    with ScriptedGateway(short, answering([])):
        assert ask(folder.parent) == ANSWER


# When the script has to do it itself


def test_without_a_pool_the_script_does_it_at_once_and_reads_nothing(tmp_path: Path):
    assert by_itself(ask(tmp_path, answer_seconds=60.0)) < SOON_SECONDS


def test_the_socket_of_a_pool_that_was_killed_is_no_obstacle(tmp_path: Path, data: Path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(data / ".ht-gateway.sock"))
    left.close()

    assert by_itself(ask(tmp_path, answer_seconds=60.0)) < SOON_SECONDS


def test_a_file_in_the_place_of_the_socket_is_no_obstacle(tmp_path: Path, data: Path):
    (data / ".ht-gateway.sock").write_text("not a socket")

    assert by_itself(ask(tmp_path, answer_seconds=60.0)) < SOON_SECONDS


def test_a_frozen_gateway_is_waited_for_a_moment_and_gets_nothing_of_the_request(tmp_path: Path, data: Path):
    """It listens, but nobody accepts: the kernel takes the connection all the same."""
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(data / ".ht-gateway.sock"))
        frozen.listen(4)
        waited = by_itself(ask(tmp_path))
        connection, _ = frozen.accept()
        with connection:
            assert connection.recv(100) == b""

    assert GREETING_SECONDS <= waited < GREETING_SECONDS + 5


@pytest.mark.parametrize(
    "serve",
    [
        lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda connection: connection.sendall(b"scalable 2\n"),
        lambda _: None,
    ],
    ids=["another program", "another version", "silence"],
)
def test_whoever_does_not_greet_gets_nothing_of_the_request(
    tmp_path: Path, data: Path, serve: Callable[[socket.socket], None]
):
    seen: list[bytes] = []

    def listening(connection: socket.socket) -> None:
        serve(connection)
        connection.shutdown(socket.SHUT_WR)
        try:
            seen.append(connection.recv(100))
        except ConnectionResetError:  # it left without reading all of our words
            seen.append(b"")

    with ScriptedGateway(data, listening):
        by_itself(ask(tmp_path))

    assert seen == [b""]


@pytest.mark.parametrize(
    "last_words",
    [
        b"",
        b"12",
        b"12:",
        b"%d:%b" % (len(ANSWER), ANSWER),
        b"%d:%b," % (len(ANSWER) + 1, ANSWER),
        b"0:,",
        b"x" * 100,
    ],
    ids=["nothing", "half a length", "no content", "no comma", "a byte short", "it declines", "nonsense"],
)
def test_a_gateway_that_dies_with_the_request_or_declines_it_leaves_it_to_the_script(
    tmp_path: Path, data: Path, last_words: bytes
):
    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        read_request(connection)
        connection.sendall(last_words)

    with ScriptedGateway(data, serve):
        by_itself(ask(tmp_path))


def test_a_gateway_that_does_not_answer_in_time_is_left(tmp_path: Path, data: Path):
    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        read_request(connection)
        connection.recv(1)  # until the other end leaves

    with ScriptedGateway(data, serve):
        assert 0.5 <= by_itself(ask(tmp_path, answer_seconds=0.5)) < SOON_SECONDS


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), {}),
        (BODY, {"CONTENT_LENGTH": "-5"}),
        (BODY, {"CONTENT_LENGTH": "many"}),
        (BODY, {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}),
        (BODY, {"CONTENT_LENGTH": "100"}),
    ],
    ids=["too large", "less than nothing", "no number", "in chunks", "shorter than promised"],
)
def test_an_odd_request_is_not_handed_over(tmp_path: Path, data: Path, body: bytes, changed: dict[str, str]):
    with ScriptedGateway(data, answering([])) as gateway:
        by_itself(ask(tmp_path, body, **changed), body)

    assert gateway.connections == 0


def test_more_than_the_body_is_not_read(tmp_path: Path, data: Path):
    seen: list[tuple[dict[bytes, bytes], bytes]] = []

    with ScriptedGateway(data, answering(seen)):
        ask(tmp_path, BODY + b"more", CONTENT_LENGTH=str(len(BODY)))

    assert seen[0][1] == BODY


def test_a_visitor_who_left_is_no_error(tmp_path: Path, data: Path):
    large = b"Status: 200 OK\r\n\r\n" + b"x" * 1_000_000

    def serve(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        read_request(connection)
        connection.sendall(b"%d:%b," % (len(large), large))

    with ScriptedGateway(data, serve):
        process = subprocess.Popen(
            [sys.executable, "-IS", "-c", SCRIPT, str(SCALABLE), f"{tmp_path}/webhook_queue.py", "20"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=cgi_variables("POST", BODY),
        )
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(BODY, timeout=60)

    assert (process.returncode, errors) == (0, b"")


# What it costs


def test_a_request_that_is_handed_over_pays_for_no_module_but_these(tmp_path: Path, data: Path):
    """By the interpreter's own list of imports, as an installed script is started: without `site`."""
    script = tmp_path / "webhook_queue.py"
    script.write_text((SCALABLE / "webhook_queue.py").read_text())
    (tmp_path / "lib").symlink_to(SCALABLE / "lib")
    command = [sys.executable, "-IS", "-X", "importtime"]

    def imported(*arguments: str) -> set[str]:
        done = subprocess.run(
            [*command, *arguments],
            input=BODY,
            capture_output=True,
            timeout=60,
            env=cgi_variables("POST", BODY),
            check=True,
        )
        return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()[1:]}

    with ScriptedGateway(data, answering([])):
        needed = imported(str(script)) - imported("-c", "pass")

    ours = {
        f"scalable.{name}"
        for name in (
            "lib",
            "lib.start",
            "lib.sockets",
            "lib.ingest",
            "lib.ingest.fast_cgi",
            "lib.ingest.fast_cgi.pool_client",
            "lib.ingest.fast_cgi.protocol",
            "lib.ingest.request_body",
        )
    }
    assert needed <= {*ours, "_socket"}
    assert ours <= needed


def test_the_time_limits_leave_the_script_time_before_telegram_gives_up():
    telegram_seconds, what_the_script_may_need_itself = 60, 35

    assert GREETING_SECONDS + ANSWER_SECONDS + what_the_script_may_need_itself < telegram_seconds
