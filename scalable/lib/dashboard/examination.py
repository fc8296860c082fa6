"""What the pages need to know of the doctor, who lives in another room: what is asked of it, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Line(Protocol):
    """One finding; `verdict.value` is ok, warning or error."""

    @property
    def verdict(self) -> Any: ...
    @property
    def subject(self) -> str: ...
    @property
    def seen(self) -> str: ...
    @property
    def remedy(self) -> str: ...


class CheckReport(Protocol):
    """What the doctor found. `text` is all of it with every setting, without secrets."""

    @property
    def findings(self) -> Sequence[Line]: ...
    @property
    def text(self) -> str: ...


# Of the address of the folder scalable/, the web server's name, and how it runs this.
Examine = Callable[[str, str, str], CheckReport]
