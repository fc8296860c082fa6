"""Lines of the log: nothing from outside forges one, in whatever way it gets there."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from scalable.lib.log_lines import LineHandler

FORGED = "2026-01-01T00:00:00Z ERROR job failed id=1"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(stream: io.StringIO) -> Iterator[logging.Logger]:
    logger = logging.getLogger("test_log_lines")
    handler = LineHandler(stream, lambda: None)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028", "\x0b", "\x1c"])
def test_a_message_that_is_not_ours_is_one_line(logger: logging.Logger, stream: io.StringIO, end: str) -> None:
    """As of waitress, which writes the path of a request."""
    logger.warning("Exception while serving %s", f"/x{end}{FORGED}")

    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028"])
def test_the_text_of_an_exception_looks_like_no_line_of_ours(
    logger: logging.Logger, stream: io.StringIO, end: str
) -> None:
    try:
        raise ValueError(f"cannot read{end}{FORGED} \x1b[2J")
    except ValueError:
        logger.exception("request failed")

    first, *others = stream.getvalue().splitlines()
    assert first.endswith("ERROR request failed")
    assert others[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in others)
    assert "\x1b" not in stream.getvalue()


def test_a_flood_is_summed_up_at_the_end(stream: io.StringIO) -> None:
    handler, logger = LineHandler(stream, lambda: None), logging.Logger("flooded")
    logger.addHandler(handler)
    for _ in range(100):
        logger.warning("update refused status=401")
    handler.close()

    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith('more of these lines were left out of="update refused" count=90 seconds=60')


def test_a_wrong_call_of_the_log_is_not_hidden(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logger.warning("a %d", "word")

    assert "%d format: a real number is required" in capsys.readouterr().err
