"""Builds the release, one zip to unpack beside a bot: `make dist`. It is used without pip.

The same commit gives the same bytes: the files are those git knows, in the order of their names, with the time of the
commit, fixed modes and packages of known hashes. (The time is not a constant, because Python keeps compiled files by
time and size: with one time for all releases it could run the old code of a file that kept its size.)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import posixpath
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = "scalable"
DOCUMENTS = ("README.md", "README.id.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")
PAGES = "docs/*.md"
SUMS = "SHA256SUMS"
PACKAGES = ROOT / "requirements-dist.txt"
FILE_MODE, PROGRAM_MODE, FOLDER_MODE = 0o644, 0o755, 0o755
# Programs that pip would put into a folder of the PATH.
_NOT_VENDORED = re.compile(r"[^/]+\.data/")
_BINARY = re.compile(r"\.(so|pyd|dll|dylib)\b")
_LINK = re.compile(r"!?\[([^\]]+)\]\((?!https?://|#)([^)#]+)(#[^)]*)?\)")


class CannotBuild(Exception):
    """A reason why there is no release; the text says what to put right."""


@dataclass(frozen=True)
class File:
    """One file of the release; `mode` are its permission bits."""

    content: bytes = field(repr=False)
    mode: int = FILE_MODE


def main(arguments: Sequence[str]) -> int:
    """Write the zip and its hash into a folder, and print where."""
    parser = argparse.ArgumentParser(prog="tools/dist.py", description="Builds the release.")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", metavar="FOLDER", help="where to (default: dist)")
    parser.add_argument(
        "--wheels",
        type=Path,
        default=ROOT / ".cache" / "wheels",
        metavar="FOLDER",
        help="where downloaded packages are kept",
    )
    options = parser.parse_args(arguments)
    try:
        path = build(options.to, options.wheels)
    except CannotBuild as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name in _git("ls-files", "--others", "--exclude-standard", "--", PLUGIN).splitlines():
        print(f"note: {name} is not in it, because git does not know it", file=sys.stderr)
    print(f"{path}: {path.stat().st_size // 1024} KB")
    return 0


def build(folder: Path, wheels: Path) -> Path:
    """The path of the zip in `folder`. Raises CannotBuild."""
    files = {**_of_the_project(), **_packages(wheels)}
    _check(files)
    files[SUMS] = File(sums(files))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scalable-mode-{version()}.zip"
    write_zip(path, files, _commit_time())
    (folder / f"{path.name}.sha256").write_text(f"{_sha256(path.read_bytes())}  {path.name}\n", encoding="ascii")
    return path


def version() -> str:
    """The version in scalable/__init__.py, the only place where it is written. Raises CannotBuild."""
    text = (ROOT / PLUGIN / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise CannotBuild(f'{PLUGIN}/__init__.py: expected a line __version__ = "…"')
    return found.group(1)


def _of_the_project() -> dict[str, File]:
    """What git knows below scalable/, and the documents beside it. A file git does not know may be a secret."""
    names = [name for name in _git("ls-files", "-z", "--", PLUGIN, *DOCUMENTS, PAGES).split("\0") if name]
    shipped = {_place(name) for name in names}
    files = {}
    for name in names:
        content = (ROOT / name).read_bytes()
        if name.endswith(".md"):
            content = _without_dead_links(content.decode("utf-8"), _place(name), shipped).encode("utf-8")
        files[_place(name)] = File(content, _mode(name, content))
    return files


def _place(name: str) -> str:
    """Where a file of the project is in the release: what is in scalable/ at its root, other files as they are."""
    return name[len(PLUGIN) + 1 :] if name.startswith(f"{PLUGIN}/") else name


def _mode(name: str, content: bytes) -> int:
    is_program = content.startswith(b"#!") and PurePosixPath(name).parent == PurePosixPath(PLUGIN)
    return PROGRAM_MODE if is_program else FILE_MODE


def _without_dead_links(text: str, document: str, shipped: set[str]) -> str:
    """Links and pictures that lead to files outside the release become their text."""

    def shown(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(document), link.group(2)))
        return link.group(0) if target in shipped else link.group(1)

    return _LINK.sub(shown, text)


def _packages(wheels: Path) -> dict[str, File]:
    """The packages, as they are in the package index."""
    pinned = re.findall(r"^([\w-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$", PACKAGES.read_text("utf-8"), re.MULTILINE)
    files: dict[str, File] = {}
    for name, number, expected in pinned:
        files.update(_unpack(_wheel(wheels, name, number, expected)))
    return files


def _wheel(wheels: Path, name: str, number: str, expected: str) -> Path:
    """The file with that hash, downloaded by pip when it is not there yet, which checks the hash."""
    kept = wheels / f"{expected}.whl"
    if kept.exists() and _sha256(kept.read_bytes()) == expected:
        return kept
    wheels.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheels) as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{name}=={number} --hash=sha256:{expected}\n", encoding="ascii")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        files = ["--dest", folder, "--requirement", str(wanted)]
        _run([sys.executable, "-m", "pip", "download", *options, *files])
        [wheel] = Path(folder).glob("*.whl")
        wheel.replace(kept)
    return kept


def _unpack(wheel: Path) -> dict[str, File]:
    """What is in a wheel, below vendor/; its RECORD names only that."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not _NOT_VENDORED.match(name)]
        files = {f"vendor/{name}": File(archive.read(name)) for name in names}
    for name, file in files.items():
        if name.endswith(".dist-info/RECORD"):
            lines = file.content.decode("utf-8").splitlines(keepends=True)
            kept = "".join(line for line in lines if not _NOT_VENDORED.match(line))
            files[name] = File(kept.encode("utf-8"))
    return files


def _check(files: Mapping[str, File]) -> None:
    """Raises CannotBuild naming a file that would not work, or should not be public."""
    for name, file in files.items():
        if _BINARY.search(name):
            raise CannotBuild(f"{name}: is not pure Python")
        if file.content.startswith(BOM_UTF8) or (b"\r" in file.content and not name.startswith("vendor/")):
            raise CannotBuild(f"{name}: expected text with Unix line ends and without a byte order mark")
    for name in DOCUMENTS:
        if name not in files:
            raise CannotBuild(f"{name}: git does not know it")
    if not re.search(rf"^## {re.escape(version())}\b", files["CHANGELOG.md"].content.decode("utf-8"), re.MULTILINE):
        raise CannotBuild(f"CHANGELOG.md: expected a section ## {version()}")


def sums(files: Mapping[str, File]) -> bytes:
    """The hash of every file, in the form `sha256sum --check` reads."""
    return "".join(f"{_sha256(files[name].content)}  {name}\n" for name in sorted(files)).encode("utf-8")


def write_zip(path: Path, files: Mapping[str, File], seconds: int) -> None:
    """A zip of `files` in the folder scalable/, every time in it the same; written as a whole or not at all."""
    stamp = time.gmtime(max(seconds, 315532800))[:6]  # zip knows no time before 1980
    folders = {parent.as_posix() for name in files for parent in PurePosixPath(name).parents if parent.name}
    entries = {f"{PLUGIN}/": File(b"", FOLDER_MODE)}
    entries.update({f"{PLUGIN}/{name}/": File(b"", FOLDER_MODE) for name in folders})
    entries.update({f"{PLUGIN}/{name}": file for name, file in files.items()})
    unfinished = path.with_name(path.name + ".part")
    with zipfile.ZipFile(unfinished, "w") as archive:
        for name in sorted(entries):
            archive.writestr(_entry(name, entries[name].mode, stamp), entries[name].content, compresslevel=9)
    unfinished.replace(path)


def _entry(name: str, mode: int, stamp: tuple[int, ...]) -> zipfile.ZipInfo:
    year, month, day, hour, minute, second = stamp
    info = zipfile.ZipInfo(name, (year, month, day, hour, minute, second))
    info.create_system = 3  # Unix: the upper half of external_attr is st_mode (APPNOTE.TXT 4.4.2, 4.4.15)
    is_folder = name.endswith("/")
    info.external_attr = (0o040000 if is_folder else 0o100000) << 16 | mode << 16 | (0x10 if is_folder else 0)
    info.compress_type = zipfile.ZIP_STORED if is_folder else zipfile.ZIP_DEFLATED
    return info


def _commit_time() -> int:
    """Seconds since 1970; SOURCE_DATE_EPOCH wins (reproducible-builds.org)."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given and not given.isdigit():
        raise CannotBuild(f"SOURCE_DATE_EPOCH={given!r}: expected seconds since 1970")
    return int(given or _git("log", "-1", "--format=%ct").strip())


def _git(*arguments: str) -> str:
    return _run(["git", "-C", str(ROOT), *arguments])


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
        )
    except FileNotFoundError as error:
        raise CannotBuild(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"{command[0]} took more than 300 seconds") from error
    if done.returncode:
        raise CannotBuild(f"{' '.join(command[:4])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
