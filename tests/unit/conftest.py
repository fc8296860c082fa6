"""The rule of this folder: a test starts no process. What starts one belongs to tests/processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system"}
_started: list[str] = []


def _note_starts(event: str, arguments: tuple[object, ...]) -> None:
    if event in STARTS:
        _started.append(f"{event}{arguments[:2]!r}")


sys.addaudithook(_note_starts)


@pytest.fixture(autouse=True)
def _no_process_is_started() -> Iterator[None]:
    """Fails a test that started a process; an audit hook sees it wherever in the code it happens."""
    _started.clear()
    yield
    assert not _started, f"a unit test starts a process, move it to tests/processes: {_started[0]}"
