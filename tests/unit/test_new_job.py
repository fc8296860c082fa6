"""What a job about to be enqueued may say about its deadlines."""

from __future__ import annotations

import pytest

from scalable.lib.queue.job import NewJob


@pytest.mark.parametrize(("urgent", "expires"), [(None, 30), (31, 30)])
def test_a_job_that_expires_must_be_urgent_first(urgent: float | None, expires: float) -> None:
    """Expiry would not find it: it would never run, never expire, and stop its lane for ever."""
    with pytest.raises(ValueError, match=f"urgent_seconds={urgent}, expires_seconds={expires}"):
        NewJob("{}", lane="chat:1", urgent_seconds=urgent, expires_seconds=expires)


@pytest.mark.parametrize(("urgent", "expires"), [(None, None), (30, None), (30, 30), (30, 60)])
def test_every_other_pair_of_deadlines_is_taken(urgent: float | None, expires: float | None) -> None:
    assert NewJob("{}", urgent_seconds=urgent, expires_seconds=expires).expires_seconds == expires
