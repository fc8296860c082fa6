"""One connection to a FastCGI server, and one request after the other on it: both directions moved together.

Every end of a request becomes an Answer. Does not decide whether a request may be repeated.
"""

from __future__ import annotations

import math
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from scalable.lib.captured_output import CHUNK_BYTES, CapturedOutput
from scalable.lib.deadline import TICK_SECONDS
from scalable.lib.runners.php.fastcgi_protocol import NotFastCgi, RecordReader, RecordType, read_end_request
from scalable.lib.runners.run_result import joined
from scalable.lib.runners.working_on import WHOLE_SECONDS


class RequestEnd(Enum):
    """How a request ended: the server said so, the time was over, the connection closed, or it was no FastCGI.

    ANSWERED: it has not ended, but all of its answer is there.
    """

    IN_ORDER = "in order"
    ANSWERED = "answered"
    TOO_LATE = "too late"
    CONNECTION_LOST = "connection lost"
    NOT_FASTCGI = "not FastCGI"


@dataclass
class Answer:
    """What came back for one request, as far as it came.

    `output` and `errors` are the streams STDOUT and STDERR, `printed` what the server process itself printed meanwhile.
    `protocol_status` is that of END_REQUEST. `nothing_sent`: the connection took no byte of the request.
    `nothing_received`: it brought none. `problem` says why it was no FastCGI.
    """

    ended: RequestEnd = RequestEnd.CONNECTION_LOST
    output: CapturedOutput = field(default_factory=CapturedOutput)
    errors: CapturedOutput = field(default_factory=CapturedOutput)
    printed: CapturedOutput = field(default_factory=CapturedOutput)
    protocol_status: int = 0
    is_reusable: bool = False
    nothing_sent: bool = True
    nothing_received: bool = True
    problem: str = ""

    def text(self) -> str:
        """The ends of all three, for a person."""
        return joined((self.output.text(), self.errors.text(), self.printed.text()))


class FastCgiConnection:
    """Takes over `link`, a connected stream socket, and closes it.

    `printed` is a descriptor that brings what the server process itself prints, when it is ours: it is read, so that
    the process is never kept waiting, and stays open. `is_gone` says whether that process has ended; it is asked now
    and then, because a child the bot left may hold the other end of the connection open.
    """

    def __init__(
        self, link: socket.socket, printed: Optional[int] = None, is_gone: Callable[[], bool] = lambda: False
    ) -> None:
        link.setblocking(False)
        self._link = link
        self._printed = printed
        self._is_gone = is_gone
        self._reader = RecordReader()
        self._selector = selectors.DefaultSelector()
        self._selector.register(link, selectors.EVENT_READ)
        if printed is not None:
            os.set_blocking(printed, False)
            self._selector.register(printed, selectors.EVENT_READ)

    def ask(
        self,
        request: bytes,
        deadline: float,
        tick: Callable[[], None],
        errors: Optional[CapturedOutput] = None,
        has_answered: Callable[[CapturedOutput], bool] = lambda _: False,
    ) -> Answer:
        """Send `request` and read the answer, until `deadline` (time.monotonic).

        `tick` is called about twice a second; what it raises is passed on, and the connection is then only to be
        closed. So it is after an answer that is not `is_reusable`. `errors` takes the stream STDERR. `has_answered`
        says of the output whether nothing is missing of it: then the request may go on, see `go_on`.
        """
        self._answer = Answer(errors=errors or CapturedOutput())
        self._has_answered = has_answered
        self._unsent = memoryview(request)
        self._has_end = False
        self._is_closed = False  # nothing more comes
        self._is_refused = False  # nothing more is taken
        return self._until(deadline, tick)

    def go_on(self, deadline: float, tick: Callable[[], None]) -> Answer:
        """Of a request that ended as ANSWERED: the same answer, once the request has ended. Otherwise as `ask`."""
        self._has_answered = lambda _: False
        return self._until(deadline, tick)

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._selector.close()
        self._link.close()

    def _until(self, deadline: float, tick: Callable[[], None]) -> Answer:
        try:
            self._answer.ended = self._exchange(deadline, tick)
        except NotFastCgi as error:
            self._answer.ended, self._answer.problem = RequestEnd.NOT_FASTCGI, str(error)
        is_done = self._reader.is_empty and not self._unsent and not self._is_refused
        self._answer.is_reusable = is_done and self._answer.ended is RequestEnd.IN_ORDER
        return self._answer

    def _exchange(self, deadline: float, tick: Callable[[], None]) -> RequestEnd:
        self._send()
        if self._unsent:
            self._selector.modify(self._link, selectors.EVENT_READ | selectors.EVENT_WRITE)
        now = time.monotonic()
        next_tick, tell_at = now + TICK_SECONDS, math.inf
        while now < deadline:
            moved = self._move(min(deadline, next_tick, tell_at) - now)
            if self._has_end:
                return RequestEnd.IN_ORDER
            if self._is_closed or (not moved and self._is_gone()):
                return RequestEnd.CONNECTION_LOST
            now = time.monotonic()
            if now >= tell_at:
                return RequestEnd.ANSWERED
            if moved and tell_at == math.inf and self._has_answered(self._answer.output):
                tell_at = now + WHOLE_SECONDS
            if now >= next_tick:
                tick()
                now = time.monotonic()
                next_tick = now + TICK_SECONDS
        return RequestEnd.TOO_LATE

    def _move(self, wait_seconds: float) -> bool:
        """Send and receive what is possible; False when nothing was until the wait was over."""
        ready = self._selector.select(max(wait_seconds, 0))
        for key, events in ready:
            if key.fileobj is not self._link:
                self._read_printed()
                continue
            if events & selectors.EVENT_WRITE:
                self._send()
                if not self._unsent:
                    self._selector.modify(self._link, selectors.EVENT_READ)
            if events & selectors.EVENT_READ:
                self._receive()
        return bool(ready)

    def _send(self) -> None:
        try:
            sent_bytes = self._link.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # the server closed, or reads no more; it may have answered before
            self._unsent = memoryview(b"")
            self._is_refused = True
            return
        self._answer.nothing_sent = False
        self._unsent = self._unsent[sent_bytes:]

    def _receive(self) -> None:
        """One piece at a time, so that a flood of output cannot delay the deadline."""
        try:
            data = self._link.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._is_closed = not data
        answer = self._answer
        answer.nothing_received = answer.nothing_received and not data
        for kind, content in self._reader.feed(data):
            if kind == RecordType.STDOUT:
                answer.output.add(content)
            elif kind == RecordType.STDERR:
                answer.errors.add(content)
            elif kind == RecordType.END_REQUEST:
                self._has_end = True
                answer.protocol_status = read_end_request(content)

    def _read_printed(self) -> None:
        """What the process itself printed: all that a pipe holds, so nothing is left when the answer is there."""
        assert self._printed is not None
        chunk = os.read(self._printed, CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(self._printed)
        self._answer.printed.add(chunk)
