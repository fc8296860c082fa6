"""Processes of a test that do the same at the same moment: many of them, up within milliseconds."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import ForkServerContext

# Whose functions they run. One process imports them, once in a run, and each of the others is forked from it; started
# one by one, a dozen of them would import for longer than a busy machine is waited for.
MODULES = ["tests.contract.test_claim_races", "tests.contract.test_counters", "tests.contract.test_lane_races"]


def context() -> ForkServerContext:
    """Where such processes, their queues and barriers come from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context
