"""The list of files that cached settings depend on: every file that takes part is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scalable.lib.ingest.fast_cgi.cached_settings import DEPENDS_ON
from tests.support.places import REPOSITORY

IMPORTED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import scalable.lib.start, scalable.lib.ingest.fast_cgi.direct_insert, scalable.lib.ingest.pipeline
import scalable.lib.queue.dialects.minimal_mysql
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.startswith("scalable.")]))
"""
TAKES_PART = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
from scalable.lib.installation import Installation
from scalable.lib.setup.config import load_config
ran = set()
def note(frame, happening, argument):
    if happening == "call" and frame.f_code.co_name != "<module>":
        ran.add(frame.f_code.co_filename)
sys.setprofile(note)
Installation(load_config({"BOT_DATA_DIR": sys.argv[2]}, pathlib.Path(sys.argv[2]))).cache_settings("seen")
sys.setprofile(None)
print(json.dumps(sorted(ran)))
"""
# They run while settings are cached, but nothing of what is written down comes from them.
NO_PART = {
    "lib/queue/notes.py",
    "lib/queue/lane_walk.py",
    "lib/queue/dialects/connection_pool.py",
    "lib/runners/choose.py",
}


@pytest.mark.parametrize("code", [IMPORTED, TAKES_PART], ids=["imported", "takes part"])
def test_all_that_matters_is_in_the_list(tmp_path: Path, code: str):
    done = subprocess.run(
        [sys.executable, "-c", code, str(REPOSITORY), str(tmp_path)],
        capture_output=True,
        env={},
        timeout=60,
        check=True,
    )

    scalable = REPOSITORY / "scalable"
    files = [Path(name) for name in json.loads(done.stdout) if name.startswith(f"{scalable}/")]
    names = {file.relative_to(scalable).as_posix() for file in files if file.name != "__init__.py"}
    assert len(names) > 10
    assert names - NO_PART - set(DEPENDS_ON) == set()
