"""The documents say what the program does: names, defaults, commands, links and files in them exist as written."""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scalable import __version__
from scalable.config import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
SCALABLE = ROOT / "scalable"
ENGLISH, INDONESIAN = ROOT / "README.md", ROOT / "README.id.md"
READMES = (ENGLISH, INDONESIAN)
SETTINGS_EXAMPLE = SCALABLE / ".htenv.example"
ACCESS_FILE = SCALABLE / ".htaccess"
GROWING = ROOT / "docs" / "growing.md"
DOCUMENTS = (
    *READMES, GROWING, ROOT / "CHANGELOG.md", ROOT / "docs" / "stress.md", ROOT / "examples" / "README.md",
    ROOT / "examples" / "updates" / "README.md",
)  # fmt: skip
ALL_TEXTS = (*DOCUMENTS, SETTINGS_EXAMPLE, ACCESS_FILE)
EMPTY = {ENGLISH: "empty", INDONESIAN: "kosong"}
# Made by the owner or the program; a fresh copy has none of them.
MADE_LATER = {"scalable/.htenv", "scalable/.htdata", "scalable/.htdata/.ht-database", "scalable/vendor"}
HOSTS = {"127.0.0.1", "example.com", "api.telegram.org", "core.telegram.org"}

each_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
each_text = pytest.mark.parametrize("document", ALL_TEXTS, ids=lambda path: str(path.relative_to(ROOT)))


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def split_code(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text without its fenced blocks, and the blocks as (language, content)."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), blocks


def headings(path: Path) -> list[tuple[int, str]]:
    found = re.findall(r"^(#+) (.+)$", split_code(read(path))[0], re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def slug(title: str) -> str:
    """The anchor a heading gets when the page is shown: lower case, no punctuation, spaces as hyphens."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def settings_rows(path: Path) -> list[tuple[str, str, str]]:
    """Name, default and meaning of every row of the settings table, as written."""
    return re.findall(r"^\| `(BOT_\w+)` \| (.*?) \| (.*) \|$", read(path), re.MULTILINE)


# The settings


def test_settings_table_of_the_readme_is_the_table_of_the_program() -> None:
    expected = [(s.name, f"`{s.default}`" if s.default else EMPTY[ENGLISH], s.help) for s in SETTINGS]
    assert settings_rows(ENGLISH) == expected


def test_settings_table_in_indonesian_has_the_same_names_and_defaults() -> None:
    expected = [(s.name, f"`{s.default}`" if s.default else EMPTY[INDONESIAN]) for s in SETTINGS]
    rows = settings_rows(INDONESIAN)
    assert [row[:2] for row in rows] == expected
    assert all(meaning for _, _, meaning in rows)


@each_text
def test_no_document_names_a_setting_that_does_not_exist(document: Path) -> None:
    of_the_example_bots = {"BOT_JOURNAL"}
    named = set(re.findall(r"\bBOT_[A-Z]+(?:_[A-Z]+)*\b(?!_)", read(document)))
    assert named <= {setting.name for setting in SETTINGS} | of_the_example_bots


def test_example_of_the_settings_file_names_every_setting_with_its_default_and_nothing_else() -> None:
    lines = read(SETTINGS_EXAMPLE).splitlines()
    assert all(line == "" or line.startswith("#") for line in lines)
    named = [line[1:].split("=", 1) for line in lines if re.match(r"#\w+=", line)]
    assert named == [[setting.name, setting.default] for setting in SETTINGS]


def test_example_of_the_settings_file_explains_each_setting_in_the_line_above() -> None:
    lines = read(SETTINGS_EXAMPLE).splitlines()
    for setting in SETTINGS:
        above = lines[lines.index(f"#{setting.name}={setting.default}") - 1]
        assert above.startswith("# " + setting.help.replace("`", ""))


# The version, and what goes into a release


@each_readme
def test_version_is_written_in_one_place_and_the_documents_name_that_one(readme: Path) -> None:
    assert "version" in re.findall(r"^dynamic = (.*)$", read(ROOT / "pyproject.toml"), re.MULTILINE)[0]
    assert re.search(rf"^## {re.escape(__version__)} ", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert set(re.findall(r"scalable-mode-([\d.]+)\.zip", read(readme))) == {__version__}
    assert re.search(rf"\b{re.escape(__version__)}\b", read(readme).partition("\n## ")[0])


def test_packages_of_a_release_are_those_of_the_requirements() -> None:
    def pinned(name: str) -> set[str]:
        return set(re.findall(r"^[\w-]+==[\w.]+", read(ROOT / name), re.MULTILINE))

    assert pinned("requirements-dist.txt") == pinned("requirements.txt") != set()


# Two languages, one content


def test_both_languages_have_the_same_sections_in_the_same_order() -> None:
    assert [level for level, _ in headings(INDONESIAN)] == [level for level, _ in headings(ENGLISH)]


def test_both_languages_show_the_same_commands() -> None:
    def shown(path: Path) -> list[tuple[str, str]]:
        return [block for block in split_code(read(path))[1] if block[0] != "text"]

    assert shown(INDONESIAN) == shown(ENGLISH)


def test_both_languages_link_to_the_same_files_and_places() -> None:
    def places(path: Path) -> list[object]:
        """Links within the page as the number of the section they lead to, others as they are."""
        order = [f"#{slug(title)}" for _, title in headings(path)]
        found = re.findall(r"\]\(([^)]+)\)", split_code(read(path))[0])
        return [order.index(target) if target in order else target for target in found][1:]  # first: the other language

    assert places(INDONESIAN) == places(ENGLISH)


# What is named exists


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", split_code(read(document))[0]):
        if urlsplit(target).scheme:
            continue
        file_name, _, anchor = target.partition("#")
        file = document.parent / file_name if file_name else document
        assert file.exists(), target
        if anchor:
            assert anchor in [slug(title) for _, title in headings(file)], target


@each_text
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = {name.rstrip("./") for name in re.findall(r"\b(?:scalable|examples|tests)/[\w./*-]*", read(document))}
    named |= set(re.findall(r"\b(?:requirements\.txt|Makefile|LICENSE|CHANGELOG\.md)", read(document)))
    for name in named - MADE_LATER:
        assert list(ROOT.glob(name)), name


@each_readme
def test_map_of_the_folders_is_complete(readme: Path) -> None:
    [tree] = [text for _, text in split_code(read(readme))[1] if text.startswith("scalable/\n")]
    named = re.findall(r"^  (\S+)  ", tree, re.MULTILINE)
    assert all((SCALABLE / name).exists() for name in named), named
    scripts = {path.name for path in SCALABLE.glob("*.py")} - {"__init__.py"}
    folders = {f"lib/{path.parent.name}/" for path in SCALABLE.glob("lib/*/__init__.py")}
    assert scripts | folders <= set(named)


@pytest.mark.parametrize("page", [*READMES, GROWING], ids=lambda path: path.name)
def test_every_command_names_a_script_and_options_it_has(page: Path, tmp_path: Path) -> None:
    commands = re.findall(r"python3 \S*scalable/(\w+\.py)([^\n`>&]*)", read(page))
    assert commands
    for script, rest in set(commands):
        assert (SCALABLE / script).is_file(), script
        for option in re.findall(r"--[a-z-]+", rest):
            subcommand = re.findall(r"^[a-z-]+", rest.strip())[:1] if not rest.strip().startswith("-") else []
            assert re.search(rf"{option}(?![\w-])", help_of(script, subcommand, tmp_path)), (script, option)


def help_of(script: str, subcommand: list[str], folder: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    done = subprocess.run(
        [sys.executable, str(SCALABLE / script), *subcommand, "--help"], capture_output=True, text=True, timeout=60,
        env={**clean, "BOT_DATA_DIR": str(folder), "BOT_LEGACY_PATH": "../examples/bot.py"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", read(document), re.MULTILINE)) <= targets


# What must not be there


@each_text
def test_no_document_holds_anything_that_could_be_a_real_token(document: Path) -> None:
    assert not re.search(r"\d{8,10}:[A-Za-z0-9_-]{35}", read(document))


@each_text
def test_no_document_names_a_machine_but_this_one_telegram_and_the_invented_one(document: Path) -> None:
    text = read(document)
    assert {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"`<>)]+", text)} <= HOSTS
    for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text):
        assert ipaddress.ip_address(address).is_loopback, address


@each_text
def test_document_is_utf8_with_unix_line_ends_and_no_line_ends_in_a_space(document: Path) -> None:
    raw = document.read_bytes()
    assert b"\r" not in raw
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert raw.endswith(b"\n")
    assert not re.search(rb"[ \t]$", raw, re.MULTILINE)


def test_names_the_web_server_may_serve_occur_only_once_below_the_folder() -> None:
    # FilesMatch looks at a file's name alone, in every subfolder.
    [pattern] = set(re.findall(r'<FilesMatch "([^"]+)">', read(ACCESS_FILE)))
    below = (path.relative_to(SCALABLE) for path in SCALABLE.rglob("*") if "vendor" not in path.parts)
    shown = {str(path) for path in below if re.search(pattern, path.name)}
    assert shown == {"webhook_queue.py", "dashboard.py", "worker.py"}
