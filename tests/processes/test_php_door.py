"""What the doors in PHP do by themselves: read the settings as Python does, keep to PHP 7.0, start Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scalable.lib.errors import ConfigurationError
from scalable.lib.setup.settings_file import read_settings_file
from tests.support.need import need
from tests.support.places import REPOSITORY
from tests.support.servers.old_php import old_php_cgi, old_php_cgi_available
from tests.support.servers.site import SYSTEM_PYTHON, copy_plugin

PHP, PHP_CGI = "/usr/bin/php", "/usr/bin/php-cgi"
FOLDER = REPOSITORY / "scalable"
SOURCES = [*sorted((FOLDER / "lib" / "door").glob("*.php")), *(p for p in FOLDER.glob("*.php") if p.stem != "doctor")]
READ = """
require '{folder}/lib/door/door.php'; require '{folder}/lib/door/bare_row.php';
echo json_encode(array_map(function ($text) {{ return scalable_read_settings(base64_decode($text)); }},
    json_decode(stream_get_contents(STDIN), true)));
"""
SETTINGS = [
    b"",
    b"\n\n# only words\n",
    b"A=1\nB=2\r\nC=3\rD=4",
    b"\xef\xbb\xbfA=1\n",
    b"A=",
    b"A=\nB=x",
    b"A= x y \t\nB=x # c\nC=x# c\nD=#x\nE= # x",
    b"A='x # y' # c\nB=\"x # y\" # c",
    b"A='it\\'s \\\\ \\n'\nB=\"say \\\"x\\\" \\\\ \\n\\t\\'\"",
    b"A='two\nlines'\nB=1",
    b"export A=1\n  export  B='2'\n\tC=3",
    b"'A B'=1\nA.B=2\nA-C=3",
    b"A = 1\nB =2\nC= 3",
    b"A='x' y\n",
    b"A='x\nB=1",
    b'A="x',
    b"A\nB=1",
    b"just words\n",
    b"=x\n",
    b"A=1=2=3\nB==",
    b"A=${B}\nB=$(x)",
    "A=\u00a0x\u00a0\nB=\u3000y # c\nC='\u00e9'".encode(),
    b"A=\xff",
    b"A='x'#c\nB=''\nC=\"\"",
    b"A=1\nA=2\nA='3'",
    b"BOT_DB_PASS='a b'\nBOT_WEBHOOK_SECRET=\"q\\\\\"\n#BOT_DATA_DIR=x\n",
    (FOLDER / ".htenv.example").read_bytes(),
]


def python_reads(path: Path, text: bytes) -> dict[str, str] | None:
    path.write_bytes(text)
    try:
        return read_settings_file(path)
    except ConfigurationError:
        return None


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    need(None if Path(PHP_CGI).exists() and Path(PHP).exists() else "PHP: not installed: python3 tests/install.py")
    return copy_plugin(tmp_path)


def php(code: str, given: str) -> str:
    need(None if Path(PHP).exists() else "PHP: php-cli is not installed: python3 tests/install.py")
    done = subprocess.run([PHP, "-r", code], input=given, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


def test_a_settings_file_is_read_as_python_reads_it(tmp_path: Path) -> None:
    from base64 import b64encode

    said = php(READ.format(folder=FOLDER), json.dumps([b64encode(text).decode() for text in SETTINGS]))

    read = [{} if found == [] else found for found in json.loads(said)]
    wanted = [python_reads(tmp_path / "settings", text) for text in SETTINGS]
    differ = [(text, ours, theirs) for text, ours, theirs in zip(SETTINGS, read, wanted) if ours != theirs]
    assert differ == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_they_use_nothing_that_php_7_0_does_not_know(source: Path) -> None:
    text = source.read_text()
    code = re.sub(
        r"""<<<'SH'.*?\nSH;|/\*.*?\*/|//[^\n]*|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", "''", text, flags=re.S
    )
    newer = (
        r"\bfn\s*\(",
        r"\?->",
        r"\bmatch\s*\(",
        r"\?\?=",
        r"#\[",
        r"\?\w+\s+\$",
        r"\)\s*:\s*\??\w+\s*\{",
        r"(?m)^\s*\[[^\]]*\]\s*=[^=>]",
        r"catch\s*\([^)]*\|",
        r"\b(?:public|private|protected)\s+const\b",
        r"\.\.\.",
        r"\b\d+_\d+",
        r"\benum\s+\w+",
        r"\b(?:str_contains|str_starts_with|str_ends_with|array_key_first|array_key_last|hrtime|is_countable)\b",
        r"(?<!array)\([^()]*,\s*\)",
    )

    assert [pattern for pattern in newer if re.search(pattern, code)] == []


def request(plugin: Path, **more: str) -> dict[str, str]:
    """The environment of a CGI program that is to run the webhook's door."""
    return {
        "PATH": "/usr/bin:/bin",
        "REDIRECT_STATUS": "200",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": "POST",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_FILENAME": str(plugin / "webhook_queue.php"),
        "SCRIPT_NAME": "/scalable/webhook_queue.php",
        "QUERY_STRING": "a=1&b=%20",
        "REMOTE_ADDR": "203.0.113.9",
        "CONTENT_TYPE": "application/json",
        **more,
    }


def ask(plugin: Path, body: bytes, *options: str, program: str = PHP_CGI, **more: str) -> tuple[bytes, bytes, str]:
    """Head and body of the answer, and what was written beside it."""
    environment = request(plugin, CONTENT_LENGTH=str(len(body)), **more)
    done = subprocess.run(
        [program, *options], input=body, capture_output=True, env=environment, timeout=60, check=False, cwd=plugin
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    return head, content, done.stderr.decode()


TELLS = """#!/usr/bin/env python3
import json, os, sys
body = sys.stdin.buffer.read()
print("Status: 200 OK\\nContent-Type: application/json\\nSet-Cookie: a=1\\nSet-Cookie: b=2\\n")
print(json.dumps([dict(os.environ), len(body), sys.argv[1:]]))
"""


def test_the_script_gets_the_request_as_it_came_and_nothing_that_a_visitor_could_abuse(plugin: Path) -> None:
    (plugin / "webhook_queue.py").write_text(TELLS)
    headers = {
        "HTTP_PROXY": "http://evil.example",
        "HTTP_SCALABLE_FOLDER": "/evil",
        "HTTP_BOT_DB_HOST": "evil",
        "HTTP_AUTHORIZATION": "Basic eDp5",
        "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN": "s3cret",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "BOT_WEBHOOK_SECRET": "of-the-server",
        "LD_LIBRARY_PATH": "/evil",
        "PYTHONPATH": "/evil",
    }

    head, content, _ = ask(plugin, b"x" * 200_000, **headers)

    assert head.count(b"Set-Cookie") == 2
    told, length, arguments = json.loads(content)
    assert (length, arguments) == (200_000, [])
    refused = ("HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "LD_LIBRARY_PATH", "PYTHONPATH", "BOT_DB_HOST")
    assert [name for name in refused if name in told] == []
    passed = {name: value for name, value in headers.items() if name not in refused}
    assert {name: told[name] for name in passed} == passed
    assert (told["REMOTE_ADDR"], told["QUERY_STRING"]) == ("203.0.113.9", "a=1&b=%20")
    assert told["CONTENT_LENGTH"] == "200000"


@pytest.mark.parametrize(
    "first", ["#!/usr/bin/env python3", f"#!{SYSTEM_PYTHON} -S", "#!/opt/gone/bin/python3.9 -S", "#!/bin/false"]
)
def test_python_is_found_whatever_the_first_line_names_and_noted(plugin: Path, first: str) -> None:
    script = plugin / "webhook_queue.py"
    script.write_text(first + "\n" + TELLS.partition("\n")[2])
    data = plugin / ".htdata"
    data.mkdir(mode=0o700)

    answers = [ask(plugin, b"x")[1] for _ in range(2)]

    assert [json.loads(answer)[1] for answer in answers] == [1, 1]
    noted = data / ".ht-python"
    assert noted.exists() == (first != f"#!{SYSTEM_PYTHON} -S")
    if noted.exists():
        assert os.access(noted.read_text(), os.X_OK)
        assert noted.stat().st_mode & 0o777 == 0o600


def test_a_note_that_others_may_write_is_not_followed(plugin: Path, tmp_path: Path) -> None:
    (plugin / "webhook_queue.py").write_text(TELLS)
    evil = tmp_path / "evil"
    evil.write_text("#!/bin/sh\necho evil >>" + str(tmp_path / "ran") + "\n")
    evil.chmod(0o755)
    data = plugin / ".htdata"
    data.mkdir(mode=0o700)
    (data / ".ht-python").write_text(str(evil))
    (data / ".ht-python").chmod(0o666)

    assert json.loads(ask(plugin, b"x")[1])[1] == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "script", ["raise SystemExit(1)", "print('no head')", "import os; os._exit(0)", "import absent_module"]
)
def test_a_script_that_gives_no_answer_is_no_answer(plugin: Path, script: str) -> None:
    (plugin / "webhook_queue.py").write_text(f"#!/usr/bin/env python3\n{script}\n")

    head, content, _ = ask(plugin, b'{"update_id": 1}')

    assert b"Status: 503" in head
    assert b"Retry-After: 10" in head
    assert json.loads(content)["ok"] is False


@pytest.mark.parametrize("length", ["5", "20", str(10**12), "-1", "x"])
def test_a_body_that_is_not_as_long_as_it_says_is_not_stored(plugin: Path, length: str) -> None:
    (plugin / "webhook_queue.py").write_text(TELLS)
    environment = request(plugin, CONTENT_LENGTH=length)

    done = subprocess.run(
        [PHP_CGI], input=b"0123456789", capture_output=True, env=environment, timeout=60, check=False, cwd=plugin
    )

    status = re.search(rb"Status: (\d+)", done.stdout)
    if length == "5":  # a CGI program reads no further
        assert json.loads(done.stdout.partition(b"\r\n\r\n")[2])[1] == 5
    else:
        assert status is not None
        assert int(status[1]) in (400, 413)


def test_php_of_an_old_host_runs_them(plugin: Path, tmp_path: Path) -> None:
    need(old_php_cgi_available())

    head, content, beside = ask(
        plugin, b'{"update_id": 1, "message": {"chat": {"id": 1}}}', program=old_php_cgi(tmp_path)
    )

    assert json.loads(content)["ok"] is True, (head, content, beside)
    assert not re.search("Parse error|Fatal error|Warning:|Deprecated:|Notice:", beside + content.decode())


@pytest.mark.parametrize("name", ["config", "worker_pool"])
def test_what_is_for_a_shell_does_nothing_for_a_web_server(plugin: Path, name: str) -> None:
    head, content, _ = ask(plugin, b"", SCRIPT_FILENAME=str(plugin / f"{name}.php"), QUERY_STRING="--stop")

    assert b"Status: 403" in head
    assert b"for a shell" in content


@pytest.mark.parametrize("name", ["door", "start_python", "bare_row", "server_place"])
def test_a_part_that_a_web_server_runs_by_itself_does_nothing(plugin: Path, name: str) -> None:
    _, content, _ = ask(plugin, b"", SCRIPT_FILENAME=str(plugin / "lib" / "door" / f"{name}.php"))

    assert content == b""


ALONE = ("-d", "disable_functions=proc_open")


@pytest.mark.parametrize(
    "settings",
    [
        "BOT_DB_HOST",
        "BOT_DB_NAME=n\n",
        "BOT_DB_HOST=127.0.0.1;dbname=x\nBOT_DB_NAME=n\nBOT_DB_USER=u\nBOT_DB_PASS=p\n",
        "BOT_QUEUE_TABLE=x`y\n",
        "BOT_WEBHOOK_SECRET='a\nb'\n",
        "BOT_WEBHOOK_SECRET='unfinished\n",
    ],
)
def test_with_settings_that_are_in_doubt_nothing_is_stored(plugin: Path, settings: str) -> None:
    (plugin / ".htenv").write_text(settings)

    head, content, beside = ask(plugin, b'{"update_id": 1}', *ALONE)

    assert b"Status: 503" in head, (head, content)
    assert "update not taken" in beside


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"update_id": "1"}', b'{"update_id": 0}', b'{"update_id": true}', b'{"x": 1}', b"\xff"]
)
def test_what_is_no_update_with_an_id_waits_for_python(plugin: Path, body: bytes) -> None:
    head, _, _ = ask(plugin, body, *ALONE)

    assert b"Status: 503" in head


WAYS = {"in its place": [], "beside it": ["-d", "disable_functions=pcntl_exec"]}


@pytest.mark.parametrize("way", WAYS)
def test_in_a_shell_each_is_its_python_script_with_arguments_input_and_exit_code(plugin: Path, way: str) -> None:
    (plugin / "worker_pool.py").write_text(
        "import sys\nprint(sys.argv[1:], sys.stdin.read())\nsys.stderr.write('beside')\nsys.exit(5)\n"
    )
    command = [PHP, *WAYS[way], str(plugin / "worker_pool.php"), "--a b", "it's", "$x"]

    done = subprocess.run(command, input="given", capture_output=True, text=True, timeout=60, check=False, cwd="/")

    assert (done.returncode, done.stderr) == (5, "beside")
    assert done.stdout == f"{['--a b', chr(105) + chr(116) + chr(39) + 's', '$x']} given\n"


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_the_php_process_is_the_end_of_the_script(plugin: Path, way: str, tmp_path: Path) -> None:
    told = tmp_path / "told"
    (plugin / "worker_pool.py").write_text(
        "import signal, sys, time, pathlib\n"
        f"told = pathlib.Path({str(told)!r})\n"
        "def end(*_):\n    told.write_text('TERM')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\ntold.write_text('runs')\nsignal.sigtimedwait([], 50)\n"
    )
    process = subprocess.Popen([PHP, *WAYS[way], str(plugin / "worker_pool.php")])
    until(lambda: told.exists() and told.read_text() == "runs")

    process.send_signal(signal.SIGTERM)

    process.wait(20)
    until(lambda: told.read_text() == "TERM")


def until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_shell_where_php_may_start_nothing_is_told_what_to_type(plugin: Path) -> None:
    forbidden = "disable_functions=pcntl_exec,proc_open"
    command = [PHP, "-d", forbidden, str(plugin / "config.php")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert f"python3 {plugin}/config.py" in done.stderr
