"""The documents say what the program does: names, defaults, commands, links and files in them exist as written."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scalable import __version__
from scalable.lib.setup.settings_table import SETTINGS
from tests.support.judges.documents import (
    DOCUMENTS,
    ENGLISH,
    INDONESIAN,
    PAGES,
    READMES,
    anchors,
    blocks,
    headings,
    links,
    name_of,
    read,
    settings_rows,
)
from tests.support.places import REPOSITORY

ROOT = REPOSITORY
SCALABLE = ROOT / "scalable"
SETTINGS_EXAMPLE = SCALABLE / ".htenv.example"
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
ACCESS_FILE = SCALABLE / ".htaccess"
ALL_TEXTS = (*DOCUMENTS, SETTINGS_EXAMPLE, ACCESS_FILE)
# Made by the owner, the program or the builder; a fresh copy has none of them.
MADE_LATER = {"scalable/.htenv", "scalable/.htdata", "scalable/.htdata/.ht-database", "scalable/vendor"}
HOSTS = {"127.0.0.1", "example.com", "api.telegram.org", "core.telegram.org"}
# Whose own pages README names for what it says of them.
COMPARED = {"docs.celeryq.dev", "huey.readthedocs.io", "laravel.com", "symfony.com"}

each_readme = pytest.mark.parametrize("readme", READMES, ids=name_of)
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
each_text = pytest.mark.parametrize("document", ALL_TEXTS, ids=name_of)


# The settings


def test_settings_table_of_the_page_is_the_table_of_the_program() -> None:
    expected = [(s.name, f"`{s.default}`" if s.default else "empty", s.help) for s in SETTINGS]
    assert settings_rows(SETTINGS_PAGE) == expected


def test_settings_of_the_readme_are_ten_rows_of_that_table() -> None:
    rows = settings_rows(ENGLISH)

    assert len(rows) == 10
    assert rows == [row for row in settings_rows(SETTINGS_PAGE) if row in rows]


def test_settings_in_indonesian_are_the_same_ten_with_the_same_defaults() -> None:
    rows = settings_rows(INDONESIAN)

    assert [(name, default.replace("kosong", "empty")) for name, default, _ in rows] == [
        (name, default) for name, default, _ in settings_rows(ENGLISH)
    ]
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


@pytest.mark.parametrize("readme", [*READMES, ROOT / "docs" / "hosting.md"], ids=name_of)
def test_version_is_written_in_one_place_and_the_documents_name_that_one(readme: Path) -> None:
    assert "version" in re.findall(r"^dynamic = (.*)$", read(ROOT / "pyproject.toml"), re.MULTILINE)[0]
    assert re.search(rf"^## {re.escape(__version__)} ", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert set(re.findall(r"scalable-mode-([\d.]+)\.zip", read(readme))) == {__version__}
    assert readme not in READMES or re.search(rf"\b{re.escape(__version__)}\b", read(readme).partition("\n## ")[0])


def test_packages_of_a_release_are_those_of_the_requirements() -> None:
    def pinned(name: str) -> set[str]:
        return set(re.findall(r"^[\w-]+==[\w.]+", read(ROOT / name), re.MULTILINE))

    assert pinned("requirements-dist.txt") == pinned("requirements.txt") != set()


# Two languages, one content


def test_both_languages_have_the_same_sections_in_the_same_order() -> None:
    assert [level for level, _ in headings(INDONESIAN)] == [level for level, _ in headings(ENGLISH)]


def test_both_languages_show_the_same_commands() -> None:
    def shown(path: Path) -> list[tuple[str, str]]:
        return [(block.language, block.text) for block in blocks(path) if block.language != "text"]

    assert shown(INDONESIAN) == shown(ENGLISH)


def test_the_readme_is_short() -> None:
    assert len(read(ENGLISH).splitlines()) <= 250


def test_both_languages_link_to_the_same_files_and_places() -> None:
    def places(path: Path) -> list[object]:
        """Links within the page as the number of the section they lead to, others as they are."""
        order = [f"#{anchor}" for anchor in anchors(path)]
        found = [order.index(target) if target in order else target for target in links(path)]
        return found[1:]  # first: the other language

    assert places(INDONESIAN) == places(ENGLISH)


# What is named exists


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for target in links(document):
        if urlsplit(target).scheme:
            continue
        file_name, _, anchor = target.partition("#")
        file = document.parent / file_name if file_name else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_page_is_reached_from_the_readme_or_is_for_contributors(page: Path) -> None:
    start = ROOT / "CONTRIBUTING.md" if page.name == "glossary.md" else ENGLISH
    assert name_of(page) in {target.partition("#")[0] for target in links(start)}


@each_text
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = {name.rstrip("./") for name in re.findall(r"\b(?:scalable|examples|tests)/[\w./*-]*", read(document))}
    named |= set(re.findall(r"\b(?:requirements\.txt|Makefile|LICENSE|CHANGELOG\.md)", read(document)))
    for name in named - MADE_LATER:
        assert list(ROOT.glob(name)), name


def test_map_of_the_folders_is_complete() -> None:
    [tree] = [block.text for block in blocks(ROOT / "docs" / "architecture.md") if block.text.startswith("scalable/\n")]
    named = re.findall(r"^  (\S+)  ", tree, re.MULTILINE)
    assert all((SCALABLE / name).exists() for name in named), named
    scripts = {path.name for pattern in ("*.py", "*.php") for path in SCALABLE.glob(pattern)} - {"__init__.py"}
    assert scripts | {"lib/"} <= set(named)


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
    allowed = HOSTS | COMPARED if document in READMES else HOSTS
    assert {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"`<>)]+", text)} <= allowed
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
    patterns = set(re.findall(r'<FilesMatch "([^"]+)">', read(ACCESS_FILE)))
    below = (path.relative_to(SCALABLE) for path in SCALABLE.rglob("*") if "vendor" not in path.parts)
    shown = {str(path) for path in below if any(re.search(pattern, path.name) for pattern in patterns)}
    doors = {f"{name}.{ending}" for name in ("webhook_queue", "dashboard", "worker") for ending in ("py", "php")}
    assert shown == {*doors, "doctor.php"}


# A command line can be read by every user of the machine, and is kept in the history of a shell.

SECRET_ON_A_LINE = re.compile(
    r"\b(?:curl|wget|mysql|mysqldump|mariadb|mariadb-dump|python3?|php)[ \t][^\n`]*"
    r"(?:token[=:]|/bot\d|secret(?!s\b)|api.?key|[Bb]earer|pass(?:word|wd)?=|(?<=\s)-p\S|(?<=\s)-u\s?\S+:)"
    r"|\bBOT_(?:DB_PASS|\w*TOKEN|WEBHOOK_SECRET)=\S+[ \t]+(?:BOT_\w+=\S*[ \t]+)*"
    r"(?:python|php|make|sh|bash|exec|env|\.?/)",
)
EVERY_TEXT = [
    path
    for pattern in ("*.md", "docs/*.md", "examples/**/*", "benchmarks/*.md", "Makefile", "scalable/**/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and path.suffix in (".md", ".py", ".php", ".sh", ".conf", ".json", ".html", ".example", "")
    if not {"vendor", ".htdata", "__pycache__"} & set(path.parts)
]


def secrets_on_lines(text: str) -> list[str]:
    """Commands in a document, a help text or a message that have a secret in them."""
    return [found.group(0) for found in SECRET_ON_A_LINE.finditer(text.replace("\\\n", " "))]


@pytest.mark.parametrize("path", EVERY_TEXT, ids=name_of)
def test_nothing_that_we_say_puts_a_secret_on_a_command_line(path: Path) -> None:
    assert secrets_on_lines(read(path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "curl 'https://api.telegram.org/bot123456:YOUR-BOT-TOKEN/getWebhookInfo'",
        "curl 'https://example.com/dashboard.py?token=…&format=json'",
        "curl https://example.com/x \\\n  -d secret_token=invent-one",
        "curl -H 'Authorization: Bearer …' https://example.com",
        "curl -u you:password https://example.com",
        "wget -q -O /dev/null https://example.com/worker.py?token=…",
        "mysql -u you -pthe-password",
        "mysqldump --password=the-password you_bot",
        "BOT_TOKEN=123456:YOUR-BOT-TOKEN python3 examples/bot.py",
        "python3 scalable/config.py init --bot-token=123456",
    ],
)
def test_a_secret_on_a_command_line_would_be_found(text: str) -> None:
    assert secrets_on_lines(f"Type `{text}`.\n")
