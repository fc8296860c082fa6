"""`make stress`: the long form. `SEED=…` and `UPDATES=…` in the environment choose another run."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.stress.hosts import cannot_run
from tests.stress.outage import outage
from tests.stress.plans import long_plan
from tests.stress.play import play
from tests.stress.report import report


def main() -> int:
    """0 when every promise was kept, 1 when one was broken, 2 when it cannot be tried here."""
    reason = cannot_run()
    if reason is not None:
        print(f"make stress: {reason}", file=sys.stderr)
        return 2
    plan = long_plan(int(os.environ.get("SEED") or random.randrange(10**6)), int(os.environ.get("UPDATES") or 100_000))
    print(
        f"seed {plan.seed}: {plan.updates:,} updates at {plan.rate:g} a second; the same again: "
        f"make stress SEED={plan.seed}",
        flush=True,
    )
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that its disks are unmounted
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        outcome = play(plan, Path(folder))
        print(report(outcome), flush=True)
        calm = Path(folder) / "outage"
        calm.mkdir()
        wrongs = [*outcome.wrongs, *outage(calm)]
    print("\n".join(f"WRONG: {wrong}" for wrong in wrongs[len(outcome.wrongs) :]))
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
