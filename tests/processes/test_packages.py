"""Which of two packages a script imports, in a real Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCALABLE = Path(__file__).resolve().parents[2] / "scalable"


def test_the_vendored_one_is_what_a_script_imports_also_when_this_python_has_a_newer(tmp_path: Path) -> None:
    """Given both as importable modules: the decision that the line of the checks is about."""
    plugin, host = tmp_path / "scalable", tmp_path / "site-packages"
    for folder, version in ((plugin / "vendor", "1"), (host, "9")):
        folder.mkdir(parents=True)
        (folder / "bottle.py").write_text(f"__version__ = '{version}'\n")
    text = (SCALABLE / "config.py").read_text(encoding="utf-8")
    block = text[: text.index("# --- end of the start block ---")]
    (plugin / "config.py").write_text(block + "import bottle\nprint(bottle.__version__)\n")
    for name in ("__init__.py", "lib"):
        (plugin / name).symlink_to(SCALABLE / name)

    done = subprocess.run(
        [sys.executable, "-B", str(plugin / "config.py")],
        env={"PYTHONPATH": str(host)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("1\n", "")
