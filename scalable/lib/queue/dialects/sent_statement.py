"""A statement that was sent and whose answer is not there yet, for a thread that does not wait for the database.

The usual case only. Where a connection has to be made or a statement to be repeated, FastPathUnavailable is raised: let
`Database.run` have it then. What became of the statement is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


class SendingSession(Protocol):
    """A connection that a statement can be sent by without waiting for the answer."""

    def fileno(self) -> int:
        """Readable when there is an answer."""

    def answer(self) -> tuple[list[tuple[Any, ...]], int]:
        """The rows, and the id of a row that was inserted."""


class SentStatement:
    """One statement on a connection that nobody else uses meanwhile; `answer` or `give_up` ends it.

    The connection is disposed of by `answered`, by `failed`, which returns the error to raise for one of `errors`, or
    by `given_up`.
    """

    def __init__(
        self,
        session: SendingSession,
        answer_seconds: float,
        errors: tuple[type[Exception], ...],
        answered: Callable[[], None],
        failed: Callable[[Exception], Exception],
        given_up: Callable[[], None],
    ) -> None:
        self._session = session
        self._deadline = time.monotonic() + answer_seconds
        self._errors = errors
        self._answered = answered
        self._failed = failed
        self.give_up = given_up

    def fileno(self) -> int:
        """Of its connection: readable when `answer` does not have to wait."""
        return self._session.fileno()

    @property
    def is_overdue(self) -> bool:
        """Whether the server has had longer for its answer than it may take."""
        return time.monotonic() > self._deadline

    def answer(self) -> tuple[list[tuple[Any, ...]], int]:
        """The rows, and the id of a row that was inserted.

        Raises what Database.run raises, and FastPathUnavailable where that would repeat the statement.
        """
        try:
            answer = self._session.answer()
        except self._errors as error:
            raise self._failed(error) from error
        self._answered()
        return answer
