"""How much is done in the short form, which every `make test` runs, and in the long one of `make stress`."""

from __future__ import annotations

from tests.stress.play import Plan


def short_plan(seed: int) -> Plan:
    """About 30 seconds of arrivals, and at most a lease more until all is done."""
    return Plan(
        updates=2_500, rate=100.0, every=1.5, calm_seconds=6.0, seed=seed, disk_megabytes=16, database_megabytes=320
    )


def long_plan(seed: int, updates: int) -> Plan:
    """Nine minutes of arrivals for 100,000 updates."""
    return Plan(
        updates=updates,
        rate=180.0,
        every=6.0,
        calm_seconds=15.0,
        seed=seed,
        disk_megabytes=96,
        database_megabytes=1_024,
    )


def calm_plan(seed: int) -> Plan:
    """A few seconds in which nothing goes wrong."""
    return Plan(
        updates=600,
        rate=100.0,
        every=1.0,
        calm_seconds=0.0,
        seed=seed,
        disk_megabytes=16,
        database_megabytes=320,
        troubles=(),
    )
