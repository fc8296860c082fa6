"""What a command prints is plain, and all else of the stream is as it was."""

from __future__ import annotations

import io
import sys

import pytest

from scalable.lib.setup.plain_stream import PlainStream, print_plainly


def test_what_is_printed_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    print_plainly()
    print("a\x1b[31m b", "c\rd", sep="\t")
    sys.stderr.writelines(["e\x07\n", "f\n"])

    assert out.getvalue() == "a\\x1b[31m b\tc\\rd\n"
    assert err.getvalue() == "e\\x07\nf\n"


def test_the_rest_is_that_of_the_stream() -> None:
    inner = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = PlainStream(inner)

    assert stream.encoding == "ascii"
    assert stream.buffer is inner.buffer
    assert stream.isatty() is False
    assert stream.write("abc\x1b") == 4
