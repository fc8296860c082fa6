"""How many inputs of chance a fuzz test gets: a bounded number in every run, many times that under `make fuzz`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.support.generators.long_tests import sized


def fuzzed(examples: int, *, times: int = 20) -> settings:
    """Settings for a test that is given `examples` inputs, and `times` as many in the long form."""
    return settings(
        max_examples=sized(examples, examples * times),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
