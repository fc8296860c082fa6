"""Where the tests keep what they downloaded, and how a program of another Debian release runs from there.

Knows folders and the dynamic loader only: not which programs there are, where they come from or how they are started.
Standard library only, because tests/install.py uses it before anything is installed.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS_CACHE = REPOSITORY / ".cache" / "servers"


def private_root(name: str) -> Path:
    """The folder that holds the unpacked packages of the private server `name`; it exists only once complete."""
    return SERVERS_CACHE / name / "root"


def private_command(root: Path, program: str, loader_options: tuple[str, ...] = ()) -> list[str]:
    """The command that runs `program` (a path relative to `root`) with the C library and loader of that root.

    The program sees the ordinary file system, so it needs no chroot and no root rights, and nothing is put into the
    environment that its own children would inherit. `--inhibit-cache` keeps the machine's libraries out (ld.so(8)).
    Raises FileNotFoundError when the root has no dynamic loader.
    """
    libraries = [folder for base in ("usr/lib", "lib") for folder in sorted((root / base).glob("*-linux-gnu*"))]
    loaders = [file for folder in libraries for file in sorted(folder.glob("ld-linux*.so.*"))]
    if not loaders:
        raise FileNotFoundError(f"{root}: no dynamic loader usr/lib/*-linux-gnu/ld-linux*.so.*; delete the folder")
    search_path = ":".join(str(folder) for folder in libraries)
    options = ["--inhibit-cache", "--library-path", search_path, *loader_options]
    return [str(loaders[0]), *options, str(root / program)]
