"""Runs the bot by calling one of its functions inside the worker: nothing is started, and nothing is imported twice."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from scalable.lib.captured_output import HEAD_BYTES
from scalable.lib.deadline import Deadline, DeadlinePassed, TickRaised
from scalable.lib.errors import BotMissing
from scalable.lib.logs import event
from scalable.lib.runners.python.bot_module import bot_module_of, find_function, is_async
from scalable.lib.runners.python.bot_thread import BotThread, Call, CallEnd
from scalable.lib.runners.python.exceptions import cause_of, traceback_of
from scalable.lib.runners.python.printed_output import PrintedOutput
from scalable.lib.runners.run_result import End, RunResult, joined, ran_too_long
from scalable.lib.runners.runner import Runner
from scalable.lib.telegram.webhook_reply import JSON

log = logging.getLogger(__name__)
# A function of the bot that is called, if it is there, when the last runner closes: to close sessions, for one.
STOP_HOOK = "on_worker_stop"
STOP_HOOK_SECONDS = 5.0
STUCK = "the bot did not stop; this worker will be replaced"


class PythonRunner(Runner):
    """Calls `function` of `file` with each update, a dict. It succeeds when it returns; what it raises is the cause.

    Several in one process share the bot: it is imported once, an `async` one has one event loop, another one a thread
    per runner. A bot that does not stop when its time is over makes its runner stuck, for good.
    """

    def __init__(self, file: Path, function: str, timeout_seconds: float) -> None:
        self._file = Path(os.path.abspath(file))
        self._bot = bot_module_of(self._file)
        self._name = function
        self._timeout_seconds = timeout_seconds
        self._is_in_use = False
        self._gave_up = False
        self._warned_of: set[str] = set()
        self._thread: Optional[BotThread] = None
        self._function: Optional[Callable[[Any], object]] = None
        self._is_async = False

    @property
    def is_stuck(self) -> bool:
        """Whether the bot goes on although it was told to stop. Only the end of the process helps."""
        return self._gave_up or self._bot.is_stuck

    @property
    def is_stale(self) -> bool:
        """Whether the bot's file changed since it was imported. Only another process has the new one."""
        return self._bot.is_stale

    @property
    def retire_reason(self) -> Optional[str]:
        """See Runner.retire_reason."""
        if self.is_stuck:
            return "the bot did not stop when its time was over"
        return "the bot's file changed" if self.is_stale else None

    @property
    def runs_side_by_side(self) -> bool:
        """See Runner.runs_side_by_side: an `async` function does, in its loop; of another one only its owner knows."""
        return self._is_async

    def check(self) -> str:
        """Import the bot, and say how it is called. Raises BotMissing."""
        try:
            self._load(Deadline(self._timeout_seconds, lambda: None), PrintedOutput())
        except DeadlinePassed:
            raise BotMissing(
                f"BOT_LEGACY_PATH: the import of {self._file} took more than {self._timeout_seconds:g} s "
                '(BOT_LEGACY_TIMEOUT); put what makes it ask for updates under `if __name__ == "__main__":`'
            ) from None
        return f"calls {self._name}(update) of {self._file} in the worker's own process"

    def run(self, payload: str, tick: Callable[[], None] = lambda: None) -> RunResult:
        """See Runner.run. The first run imports the bot, in its own time."""
        if self.is_stuck:
            return RunResult(End.NOT_STARTED, 0.0, STUCK)
        try:
            update = _parse(payload)
        except ValueError as error:
            return RunResult(End.NOT_AN_UPDATE, 0.0, f"the job holds no update: {error}")
        deadline = Deadline(self._timeout_seconds, tick)
        printed = PrintedOutput()
        try:
            ended = self._call(update, deadline, printed)
        except DeadlinePassed:
            note = STUCK if self.is_stuck else ""
            return ran_too_long(self._timeout_seconds, deadline.seconds, printed.close(), note)
        except TickRaised as error:
            raise error.reason  # noqa: B904  # with its own cause, which `from` would replace
        except BotMissing as error:  # while the owner uploads a new version the file may be away for a moment
            output = _with_traceback(printed.close(), error.__cause__)
            return RunResult(End.NOT_STARTED, deadline.seconds, str(error), output=output)
        finally:
            printed.close()
        return replace(self._result(ended, deadline.seconds, printed.close()), warnings=printed.warnings)

    def close(self) -> None:
        """Leave the bot; for the last runner its STOP_HOOK is called. Safe to repeat, and another run may follow."""
        if self._is_in_use:
            self._is_in_use = False
            self._bot.leave(self._call_stop_hook)
        if self._thread is not None and not self._gave_up:
            self._thread.end()

    def _call(self, update: object, deadline: Deadline, printed: PrintedOutput) -> CallEnd:
        function = self._load(deadline, printed)

        def work() -> object:
            printed.attach()
            return function(update)

        if self._is_async:
            return self._end_of(self._bot.loop.start(work), deadline)
        ended = self._end_of(self._usable_thread().start(work), deadline)
        value = ended.value
        if not inspect.isawaitable(value):
            return ended
        self._is_async = True  # an async function behind a plain one, such as a decorator's

        def go_on() -> object:
            printed.attach()
            return value

        return self._end_of(self._bot.loop.start(go_on), deadline)

    def _load(self, deadline: Deadline, printed: PrintedOutput) -> Callable[[Any], object]:
        """The bot's function. Raises BotMissing, and what `deadline` raises."""
        if not self._is_in_use:
            self._bot.enter()
            self._is_in_use = True
        if self._function is None:

            def work() -> object:
                printed.attach()
                return self._bot.load()

            ended = self._end_of(self._usable_thread().start(work), deadline)
            if ended.error is not None:
                raise ended.error
            self._function = find_function(self._bot.load(), self._name, self._file)
            self._is_async = is_async(self._function)
        return self._function

    def _usable_thread(self) -> BotThread:
        if self._thread is None or not self._thread.is_usable:
            self._thread = BotThread()
        return self._thread

    def _end_of(self, call: Call, deadline: Deadline) -> CallEnd:
        try:
            return call.wait(deadline)
        except (DeadlinePassed, TickRaised):
            self._gave_up = not call.stop()
            if self._gave_up:
                log.error(event("bot did not stop", file=self._file, function=self._name))
            raise

    def _call_stop_hook(self) -> None:
        hook = self._bot.optional(STOP_HOOK)
        if hook is None or self.is_stuck:
            return
        start = self._bot.loop.start if is_async(hook) else self._usable_thread().start
        with contextlib.suppress(DeadlinePassed):
            ended = self._end_of(start(hook), Deadline(STOP_HOOK_SECONDS, lambda: None))
            if ended.error is not None:
                log.warning(event(f"{STOP_HOOK} failed", cause=cause_of(ended.error, self._file.parent)))

    def _result(self, ended: CallEnd, seconds: float, output: str) -> RunResult:
        error = ended.error
        if error is None:
            return self._of_value(ended.value, seconds, output)
        if isinstance(error, SystemExit):
            return _of_system_exit(error.code, seconds, output)
        cause = cause_of(error, self._file.parent)
        return RunResult(End.RAISED, seconds, cause, output=_with_traceback(output, error))

    def _of_value(self, value: object, seconds: float, output: str) -> RunResult:
        if inspect.isgenerator(value) or inspect.isasyncgen(value):
            cause = f"{self._name}() is a generator, so nothing in it was run: it must `return`, not `yield`"
            return RunResult(End.NO_USABLE_ANSWER, seconds, cause, output=output)
        try:
            answer = self._answer(value)
        except (TypeError, ValueError, RecursionError) as error:
            cause = f"{self._name}() returned a method call that is no JSON: {cause_of(error, self._file.parent)}"
            return RunResult(End.NO_USABLE_ANSWER, seconds, cause, output=output)
        answer = answer if len(answer) <= HEAD_BYTES else b""
        # A dict was made to be a call; a text may be what somebody wrote.
        kind = JSON if isinstance(value, dict) else None
        cause = f"{self._name}() returned"
        return RunResult(End.RETURNED, seconds, cause, output=output, answer=answer, answer_type=kind)

    def _answer(self, value: object) -> bytes:
        """What a web server would have got: a dict with a method call for Telegram, or text that may hold one.

        Raises TypeError, ValueError or RecursionError when the dict is no JSON.
        """
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode("utf-8", "replace")
        if isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8") if "method" in value else b""
        kind = type(value).__name__
        if not isinstance(value, (type(None), bool, int, float, list, tuple)) and kind not in self._warned_of:
            self._warned_of.add(kind)
            expected = "None, or a dict with a method call"
            log.warning(event("return value ignored", function=self._name, type=kind, expected=expected))
        return b""


def _of_system_exit(code: object, seconds: float, output: str) -> RunResult:
    """Of sys.exit() in the bot: as of a program, which ends with 1 when `code` is no number.

    Of a number the system keeps the last eight bits (exit(3)).
    """
    number = 0 if code is None else int(code) & 0xFF if isinstance(code, int) else 1
    message = "" if code is None or isinstance(code, int) else str(code)
    return RunResult(End.EXITED, seconds, exit_code=number, output=joined((output, message)))


def _with_traceback(output: str, error: Optional[BaseException]) -> str:
    """What was printed, and the end of the traceback."""
    return joined((output, traceback_of(error) if error else ""))


def _parse(payload: str) -> dict[str, Any]:
    """Raises ValueError, saying what is wrong."""
    try:
        update = json.loads(payload)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not isinstance(update, dict):
        raise ValueError(f"expected a JSON object, got a {type(update).__name__}")
    return update
