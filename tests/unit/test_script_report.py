"""Reports of the prelude, taken out of whatever else comes on standard error."""

from __future__ import annotations

import pytest

from scalable.lib.captured_output import TAIL_BYTES
from scalable.lib.runners.php.script_report import MAX_BYTES, ReportedOutput, new_key
from scalable.lib.runners.run_result import ScriptEnd

KEY = "0123456789abcdef"
FATAL = b"end=fatal&type=1&text=Uncaught%20Exception%3A%20no%20in%20%2Fb.php%3A3&file=%2Fb.php&line=3"
PARSE = b"end=fatal&type=4&text=syntax%20error&file=%2Fb%20%5D.php&line=7"


def line(content: bytes, key: str = KEY) -> bytes:
    return b"[" + key.encode() + b":" + content + b"]"


def read(*chunks: bytes) -> ReportedOutput:
    output = ReportedOutput(KEY)
    for chunk in chunks:
        output.add(chunk)
    output.flush()
    return output


@pytest.mark.parametrize(
    ("content", "end"),
    [
        (b"end=normal&status=", ScriptEnd()),
        (b"end=normal&status=200", ScriptEnd(status=200)),
        (b"end=answered&status=204", ScriptEnd(status=204)),
        (FATAL, ScriptEnd("PHP fatal error: Uncaught Exception: no in /b.php:3")),
        (PARSE, ScriptEnd("PHP parse error: syntax error in /b ].php:7")),
        (b"end=fatal&type=256&text=%FF&file=x&line=1", ScriptEnd("PHP fatal error: \ufffd in x:1")),
        (b"", ScriptEnd()),
    ],
)
def test_a_report_tells_how_the_script_ended(content: bytes, end: ScriptEnd):
    assert read(line(content) + b"\n").report == end


def test_what_came_first_is_kept_of_an_error_and_what_came_last_of_a_status():
    output = read(line(FATAL), line(b"end=normal&status=500"), line(PARSE), line(b"end=normal&status=204"))

    assert output.report == ScriptEnd("PHP fatal error: Uncaught Exception: no in /b.php:3", 204)


def test_a_report_is_not_shown_to_people():
    assert read(b"one\n" + line(FATAL) + b"\n" + b"two\n" + line(b"")).text() == "one\ntwo"


@pytest.mark.parametrize("size", [1, 2, 7, 19])
def test_a_report_that_comes_in_pieces_is_whole_again(size: int):
    text = b"one [0 [[ \n" + line(FATAL) + b"\ntwo [012" + line(b"end=normal&status=500")

    output = read(*(text[at : at + size] for at in range(0, len(text), size)))

    assert output.report == ScriptEnd("PHP fatal error: Uncaught Exception: no in /b.php:3", 500)
    assert output.text() == "one [0 [[ \ntwo [012"


def test_a_report_is_found_in_the_middle_of_any_flood():
    output = read(b"e" * 1_000_000, line(FATAL), b"e" * 1_000_000)

    assert output.report is not None
    assert output.report.fatal_error
    assert len(output.text()) == TAIL_BYTES


@pytest.mark.parametrize(
    "text",
    [
        b"PHP Fatal error:  x in /b.php on line 3",
        line(FATAL, "0" * 16),
        b"[" + KEY.encode() + b"]",
        b"[" + KEY.encode() + b":" + FATAL,
        b"[" + KEY.encode() + b":" + FATAL + b"\n]",
        KEY.encode() + b":" + FATAL + b"]",
    ],
)
def test_nothing_else_is_a_report_and_all_of_it_is_kept(text: bytes):
    output = read(text)

    assert output.report is None
    assert output.text() == text.decode()


def test_the_beginning_of_a_report_that_never_ends_is_not_held_for_ever():
    output = ReportedOutput(KEY)
    output.add(b"[" + KEY.encode() + b":" + b"x" * MAX_BYTES)

    assert output.size > MAX_BYTES


def test_every_run_has_a_key_of_its_own():
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) == 32
