"""The overview as metrics, in Prometheus' text format 0.0.4 (prometheus.io, exposition formats).

All of them are gauges: the numbers come from a table that is pruned, so each of them may decrease.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from scalable import __version__
from scalable.lib.dashboard.overview import EVENTS, Overview
from scalable.lib.queue.views.minutes import percentile
from scalable.lib.queue.views.verdict import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Sample = tuple[str, Optional[float]]


def as_metrics(overview: Overview) -> str:
    """All metrics for an owner; those without a value are left out."""
    waiting, hour, rates = overview.vitals.waiting, overview.vitals.last_hour, overview.rates
    families = [
        public_metrics(overview),
        _family("scalable_paused", "1 while no job is given out.", [("", overview.paused is not None)]),
        _family(
            "scalable_bot_down",
            "1 while updates wait because the bot's side is down.",
            [("", overview.outage is not None)],
        ),
        _family(
            "scalable_oldest_waiting_seconds", "How long the oldest due job has waited.", [("", waiting.seconds or 0.0)]
        ),
        _family(
            "scalable_oldest_blocked_seconds",
            "The same of jobs that wait for an earlier one of their lane.",
            [("", waiting.blocked_seconds or 0.0)],
        ),
        _family("scalable_workers", "Workers that are alive.", [("", len(overview.vitals.workers))]),
        _family(
            "scalable_jobs_per_minute",
            "Jobs that came in and that ended, lately.",
            [('{event="came"}', rates.came), ('{event="ended"}', rates.ended)],
        ),
        _family("scalable_build_info", "Which version answers.", [(f'{{version="{__version__}"}}', 1)]),
    ]
    if hour is not None:
        ended = [(f'{{event="{name}"}}', getattr(hour, name)) for name in EVENTS]
        families += [
            _family("scalable_last_hour_jobs", "What happened in the last hour.", ended),
            _family("scalable_last_hour_wait_seconds", "From due to begun.", _quantiles(hour.waits)),
            _family("scalable_last_hour_run_seconds", "How long the bot took.", _quantiles(hour.runs)),
        ]
    return "".join(families)


def public_metrics(overview: Overview) -> str:
    """The part of it that strangers may see."""
    counts = {f'{{state="{name}"}}': count for name, count in overview.counts.items() if name != "total"}
    states = [(label, count.number) for label, count in counts.items()]
    exact = [(label, count.is_exact) for label, count in counts.items()]
    verdict = overview.verdict
    words = [(f'{{state="{state.value}"}}', state is verdict.state) for state in State]
    reasons = [(f'{{code="{reason.code}"}}', 1.0) for reason in verdict.reasons]
    return (
        _family("scalable_jobs", "Jobs in each state; a lower bound or some minutes old where not exact.", states)
        + _family("scalable_jobs_exact", "1 where scalable_jobs is the number of this moment.", exact)
        + _family("scalable_healthy", "1 when the verdict is working.", [("", verdict.is_well)])
        + _family("scalable_state", "1 for the verdict, 0 for the other words.", words)
        + _family("scalable_reason", "1 for every reason of the verdict.", reasons)
    )


def _family(name: str, explanation: str, samples: Iterable[_Sample]) -> str:
    lines = [f"{name}{labels} {float(value):.12g}\n" for labels, value in samples if value is not None]
    return "".join([f"# HELP {name} {explanation}\n# TYPE {name} gauge\n", *lines]) if lines else ""


def _quantiles(histogram: tuple[int, ...]) -> list[_Sample]:
    return [(f'{{quantile="{share}"}}', percentile(histogram, share)) for share in (0.5, 0.95)]
