"""F7 for real: a bot whose database is away for three minutes, with the product's own delays and attempts.

Two chats write before, one of them and others during the outage, and one after it.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.fakes.outage_scene import OutageScene
from tests.support.servers.children import tail

SECONDS = 180
USUAL = {"BOT_JOB_MAX_ATTEMPTS": "6", "BOT_JOB_RETRY_BASE": "5", "BOT_JOB_RETRY_MAX": "300"}
STEPS = (2, 4, 8, 16, 32, *(60,) * 100)


def outage(folder: Path, seconds: float = SECONDS, **settings: str) -> list[str]:
    """What was wrong with it; empty when every update was done, in order, with one probe in a step."""
    scene = OutageScene(folder, **{**USUAL, "BOT_LEGACY_MODE": "cli", "BOT_WORKER_POOL_SIZE": "4", **settings})
    with scene.site as site:
        scene.down.touch()
        began = time.time()
        scene.post(7, 8)
        time.sleep(seconds / 2)
        scene.post(7, 9, 8, 7, first=3)
        time.sleep(max(0.0, began + seconds - time.time()))
        outage = site.overview()["bot_down"]
        during = [at for at in scene.tried_at() if at < began + seconds]
        scene.down.unlink()
        time.sleep(2.0)
        scene.post(7, first=7)
        scene.wait_until_done(7)
        scene.assert_in_order_and_without_loss(7)
        failed = site.counts()["failed"]
        log = tail(site.log, 60)
    wrongs = [] if failed == 0 else [f"{failed} updates failed for good"]
    if outage is None:
        return [*wrongs, f"nobody noticed that it was down: {log}"]
    probes = outage["failed_probes"]
    pauses = [later - earlier for earlier, later in zip(during[-probes:], during[-probes + 1 :])] if probes > 1 else []
    wrongs += [
        f"a probe came {pause:.1f} s after the last one, in a step of {step} s"
        for pause, step in zip(pauses, STEPS[1:])
        if pause < step - 0.5
    ]
    print(f"outage of {seconds:g} s: {len(during)} runs in vain, {probes} of them probes; 7 of 7 updates done")
    return wrongs
