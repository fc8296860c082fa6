"""The documents as data: which there are, their headings and anchors, their blocks of code, and the commands in those.

Knows Markdown as far as these documents use it, and nothing of what they say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import REPOSITORY

ENGLISH, INDONESIAN = REPOSITORY / "README.md", REPOSITORY / "README.id.md"
READMES = (ENGLISH, INDONESIAN)
PAGES = tuple(sorted((REPOSITORY / "docs").glob("*.md")))
DOCUMENTS = (
    *sorted(REPOSITORY.glob("*.md")), *PAGES, *sorted((REPOSITORY / "examples").rglob("*.md")),
    *sorted((REPOSITORY / "benchmarks").glob("*.md")),
)  # fmt: skip
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SETTING = re.compile(r"BOT_[A-Z_]+=.*")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of code in the document, `place` names both."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """One for each line, continued lines as one."""
        return [line for line in self.text.replace("\\\n", "").splitlines() if line.strip()]

    @property
    def is_settings(self) -> bool:
        """Lines for scalable/.htenv, and no commands."""
        return all(_SETTING.fullmatch(line) for line in self.commands)


def name_of(document: Path) -> str:
    """Its path in the project."""
    return document.relative_to(REPOSITORY).as_posix()


def read(document: Path) -> str:
    """Its text, line ends as they are."""
    return document.read_bytes().decode("utf-8")


def blocks(document: Path) -> list[Block]:
    """All its fenced blocks, in their order; the indentation of a list is taken off."""
    text = read(document)
    return [
        Block(
            name_of(document), text.count("\n", 0, found.start(3)) + 1, found[2],
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in _BLOCK.finditer(text)
    ]  # fmt: skip


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", read(document))


def headings(document: Path) -> list[tuple[int, str]]:
    """Level and text of each."""
    return [(len(marks), title) for marks, title in re.findall(r"^(#+) (.+)$", prose(document), re.MULTILINE)]


def anchors(document: Path) -> list[str]:
    """What each heading is reached by when the page is shown: lower case, no punctuation, spaces as hyphens.

    A second one of the same name gets a number.
    """
    given: list[str] = []
    for _, title in headings(document):
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        again = given.count(slug)
        given.append(f"{slug}-{again}" if again else slug)
    return given


def links(document: Path) -> list[str]:
    """The targets of all links and pictures, in their order."""
    return re.findall(r"\]\(([^)]+)\)", prose(document))


def settings_rows(document: Path) -> list[tuple[str, str, str]]:
    """Name, default and meaning of every row of the settings table, as written."""
    return re.findall(r"^\| `(BOT_\w+)` \| (.*?) \| (.*) \|$", read(document), re.MULTILINE)
