"""How many inputs of chance a test gets: a bounded number in every run, many times that under `make fuzz`, and a tenth
of it under `make test-quick`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.generators.long_tests import quick, sized


def fuzzed(examples: int, *, times: int = 20) -> settings:
    """Settings for a test that is given `examples` inputs, and `times` as many in the long form."""
    return settings(
        max_examples=sized(quick(examples), examples * times),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
