"""The one error tree: a class per decision a caller can take, named by what happened.

Knows nothing of where the errors are raised or shown.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of this project tells its parent when it ends."""

    OK = 0
    UNEXPECTED = 1
    BAD_CONFIGURATION = 2
    DATABASE_UNREACHABLE = 3
    BOT_MISSING = 4
    NO_PROCESS_LEFT = 5


class ScalableError(Exception):
    """Any failure this project foresees; its text is written for the person who runs the bot."""

    exit_code = ExitCode.UNEXPECTED


class ConfigurationError(ScalableError):
    """Settings or files that a person has to put right; `problems` holds one readable line for each."""

    exit_code = ExitCode.BAD_CONFIGURATION

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class BotMissing(ScalableError):
    """The bot, or the program that runs it, is not where the settings say."""

    exit_code = ExitCode.BOT_MISSING


class NoProcessLeft(ScalableError):
    """The host lets this user start no more processes or threads just now; the bot was not run, and is not to blame."""

    exit_code = ExitCode.NO_PROCESS_LEFT


class DatabaseUnavailable(ScalableError):
    """The database cannot be reached or refuses to work just now; the same call may succeed later."""

    exit_code = ExitCode.DATABASE_UNREACHABLE


class SchemaMissing(ScalableError):
    """The tables, or some of their columns, are not there yet; make them and repeat the call."""


class DuplicateKey(ScalableError):
    """A row with the same unique value is there already."""


class LeaseLost(ScalableError):
    """The job is no longer this worker's to finish; nothing was changed."""


class StoppedAtOnce(ScalableError):
    """Somebody asked this process not to wait for the bot it is running."""


class JobNotFound(ScalableError):
    """No job has this id."""


class WrongState(ScalableError):
    """What a person asked for cannot be done to a job that is in this state."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class NotAnUpdate(ScalableError):
    """What came in is not the JSON of one Telegram update."""


class FastPathUnavailable(ScalableError):
    """Not the usual case, which is all that a lean way knows: whoever knows all cases has to do it."""


class AlreadyRunning(ScalableError):
    """Another pool of this installation holds the lock; `pid` is its process, when it could be read."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class BotApiError(ScalableError):
    """A call of a Bot API method brought no result."""


class BotApiRefused(BotApiError):
    """The server said no, and will say it again. `code` and `description` are its own words."""

    def __init__(self, message: str, code: int, description: str) -> None:
        super().__init__(message)
        self.code = code
        self.description = description


class BotApiBusy(BotApiError):
    """There were too many calls; this one was not performed, and may be repeated after so many seconds."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BotApiUnreachable(BotApiError):
    """The server cannot be reached or is failing; the call was not performed, and may be repeated."""


class BotApiUnanswered(BotApiError):
    """The call was sent and no answer came: it may have been performed, and repeating it may do it twice."""
