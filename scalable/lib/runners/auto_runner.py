"""Runs the bot in the way its source asks for, and reads the source again when a file of it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Optional, TypeVar

from scalable.lib.runners.php.bot_source import BotSource, read_bot_source
from scalable.lib.runners.run_result import RunResult
from scalable.lib.runners.runner import Runner

Way = TypeVar("Way")


class AutoRunner(Runner, Generic[Way]):
    """Runs the bot `file` by what `build` makes of the way that `decide` finds in its source.

    `decide` raises BotUnsuitable, and so do `check` and `run`: then the bot was not run. Whatever it ran before stays
    closed until the source changes.
    """

    def __init__(
        self,
        file: Path,
        decide: Callable[[BotSource], Way],
        build: Callable[[Way], Runner],
    ) -> None:
        self._file = file
        self._decide = decide
        self._build = build
        self._source: Optional[BotSource] = None
        self._way: Optional[Way] = None
        self._runner: Optional[Runner] = None

    def check(self) -> str:
        """How it will be run. Raises BotUnsuitable or BotMissing."""
        return self._right_runner().check()

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run. Raises BotUnsuitable, too."""
        return self._right_runner().run(payload, tick)

    @property
    def retire_reason(self) -> Optional[str]:
        """See Runner.retire_reason."""
        return self._runner.retire_reason if self._runner is not None else None

    @property
    def runs_side_by_side(self) -> bool:
        """See Runner.runs_side_by_side."""
        return self._runner is None or self._runner.runs_side_by_side

    def rest(self) -> None:
        """See Runner.rest."""
        if self._runner is not None:
            self._runner.rest()

    def close(self) -> None:
        """See Runner.close."""
        if self._runner is not None:
            self._runner.close()

    def _right_runner(self) -> Runner:
        """Of the files as they are now: an update that a changed bot ignored would be lost, and asking costs less."""
        runner, source = self._runner, self._source
        if runner is not None and source is not None and source.is_current:
            return runner
        self._source = read_bot_source(self._file)
        return self._renewed(self._source)

    def _renewed(self, source: BotSource) -> Runner:
        """The same runner where the way is the same: what it keeps notices by itself that files changed."""
        old, self._runner = self._runner, None
        try:
            way = self._decide(source)
        except BaseException:
            if old is not None:
                old.close()
            raise
        if old is None or way != self._way:
            if old is not None:
                old.close()
            old = self._build(way)
        self._way, self._runner = way, old
        return old
