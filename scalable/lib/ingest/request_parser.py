"""How the pool's own server reads requests that are not an update to be stored at once: waitress, with limits of ours.

Knows nothing of connections and of what answers.
"""

from __future__ import annotations

from waitress.parser import HTTPRequestParser


class RequestParser(HTTPRequestParser):
    """One request of a waitress server."""

    def received(self, data: bytes) -> int:
        """As waitress has it, but empty lines before a request are a part of it (RFC 9112, 2.2).

        Waitress takes them for a request that is over, and a client that sends nothing else would never be late.
        """
        consumed = int(super().received(data))
        if self.empty:
            self.empty = self.completed = self.headers_finished = False
            self.header_plus = b""
        return consumed
