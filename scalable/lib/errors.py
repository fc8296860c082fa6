"""The one error tree: a class per decision a caller can take, named by what happened.

Does not know where the errors are raised or shown.
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


class BotUnsuitable(BotMissing):
    """No way to run the bot is certain to run its updates; none is claimed until the bot or the settings change."""


class NoProcessLeft(ScalableError):
    """The system starts no more processes or threads for this user just now; the bot was not run."""

    exit_code = ExitCode.NO_PROCESS_LEFT


class DatabaseUnavailable(ScalableError):
    """The database cannot be reached or refuses to work just now; the same call may succeed later."""

    exit_code = ExitCode.DATABASE_UNREACHABLE
    # What the database is, in the log.
    state = "away"


class DatabaseBusy(DatabaseUnavailable):
    """Other transactions were in the way, again and again; nothing was changed, and the same call may succeed later."""

    state = "busy"


class NodeWithoutCluster(DatabaseUnavailable):
    """The node of a Galera cluster answers, and has lost the others, or is not ready yet; nothing was changed."""

    state = "node without its cluster"


class StatementRefused(DatabaseUnavailable):
    """The database works and refused this one statement; nothing was changed, and the same call would be refused."""

    state = "refusing a statement"


class SchemaMissing(ScalableError):
    """The tables, or some of their columns, do not exist yet; make them and repeat the call."""


class DuplicateKey(ScalableError):
    """There is already a row with the same unique value."""


class LeaseLost(ScalableError):
    """Another process holds the job, or it is finished; nothing was changed."""


class StoppedAtOnce(ScalableError):
    """This process was told to end without waiting for the bot it is running."""


class JobNotFound(ScalableError):
    """No job has this id."""


class WrongState(ScalableError):
    """The action cannot be done to a job in this state; `status` is the state."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class NotAnUpdate(ScalableError):
    """The received text is not the JSON of one Telegram update."""


class FastPathUnavailable(ScalableError):
    """A fast path cannot handle this case; the complete code has to."""


class AlreadyRunning(ScalableError):
    """Another pool of this installation holds the lock; `pid` is its process, when it could be read."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class BotApiError(ScalableError):
    """A call of a Bot API method brought no result."""


class BotApiRefused(BotApiError):
    """The server refused the call, and would refuse it again. `code`, `description` and `new_chat_id`: its answer."""

    def __init__(self, message: str, code: int, description: str, new_chat_id: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.description = description
        self.new_chat_id = new_chat_id


class BotApiBusy(BotApiError):
    """There were too many calls; this one was not performed, and may be repeated after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BotApiUnreachable(BotApiError):
    """The server cannot be reached or is failing; the call was not performed, and may be repeated."""


class BotApiUnanswered(BotApiError):
    """The call was sent and no answer came: it may have been performed, and repeating it may do it twice."""
