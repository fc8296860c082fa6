"""How long a lease lasts, and what its worker and everybody else may rely on. All processes of a queue use the same.

Nobody can tell a database that is away for all from one that is away for one machine. So a lease is taken from a worker
only when it has run out, was found so, and its worker was still not heard for the grace time after that: however long
the database was away, who lives comes first. And a worker that cannot renew stops its bot before all of that can be
over elsewhere, so that no bot runs beside another run of the same update.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeaseTerms:
    """Seconds. The defaults let a bot with the default time limit of 60 s end by itself, however long the outage.

    `lease_seconds` from claim or renewal; renewed every `renew_seconds`. While the database is away a worker tries
    again after `retry_seconds` at most; `grace_seconds` is longer than that and one try, which may have to wait for
    two answers that do not come (mysql.READ_SECONDS). `margin_seconds` is longer than one try and the end of a bot.
    """

    lease_seconds: float = 60.0
    renew_seconds: float = 10.0
    retry_seconds: float = 5.0
    grace_seconds: float = 30.0
    margin_seconds: float = 25.0

    @property
    def unrenewed_seconds(self) -> float:
        """How long after the last renewal the bot may go on: no other worker can have the job before that."""
        return self.lease_seconds + self.grace_seconds - self.margin_seconds


USUAL_TERMS = LeaseTerms()
