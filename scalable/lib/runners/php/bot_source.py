"""What a PHP bot does, as far as its source says: how it takes its update, and what it asks of its web server.

Read from the tokens of its file and of those it includes by paths that can be told, so that comments and texts do not
count. What a library says of shells and queries (folder vendor) is not the bot's. Runs nothing and decides nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from scalable.lib.runners.php.constant_text import DOCUMENT_ROOT, Values, evaluate, statement_end
from scalable.lib.runners.php.named_files import LIBRARIES, class_names, php_files, texts
from scalable.lib.runners.php.query_gate import query_gate
from scalable.lib.runners.php.source_signs import Place, Signs, read_signs
from scalable.lib.runners.php.tokens import Kind, Token, tokens_of

# A larger bot is read in part, and then counts as incomplete.
MAX_FILES, MAX_BYTES = 100, 512 * 1024
_INCLUDES = ("require", "require_once", "include", "include_once")
# Whoever includes by these, includes files that cannot be told.
_LOADERS = ("spl_autoload_register", "eval")
_GETS_A_QUERY = re.compile(r"_GET|_REQUEST|QUERY_STRING")

Signature = Optional[tuple[int, int, int, int]]


@dataclass(frozen=True)
class BotSource:
    """A bot's source as it was read. `signs`: what was seen in it. `is_complete`: nothing it includes is unknown."""

    file: Path
    signs: Signs = field(repr=False)
    is_complete: bool
    _signatures: tuple[tuple[str, Signature], ...] = field(repr=False)

    @property
    def is_there(self) -> bool:
        """Whether there is a file at all."""
        return self._signatures[0][1] is not None

    @property
    def is_current(self) -> bool:
        """Whether its files, also those that were missing, still are what was read."""
        return all(_signature(path) == seen for path, seen in self._signatures)


def read_bot_source(file: Path) -> BotSource:
    """The source of the bot `file`. Files that cannot be read say nothing, which the check of the bot reports."""
    walk = _Walk(os.path.abspath(file))
    walk.read(os.path.abspath(file))
    walk.read_what_may_be_included()
    return BotSource(file, walk.signs, walk.is_complete, tuple(walk.signatures.items()))


def _signature(path: str) -> Signature:
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


class _Walk:
    """Reads a file, and at each include what that names, as PHP would: what a file defines is known behind it."""

    def __init__(self, bot: str) -> None:
        self.signs = Signs()
        self.is_complete = True
        self.signatures: dict[str, Signature] = {}
        self._folder = os.path.dirname(bot)
        self._values = Values()
        self._bytes_left = MAX_BYTES
        self._loads_by_name = False
        self._classes: set[str] = set()
        self._texts: set[str] = set()

    def read(self, path: str) -> None:
        """`path` is absolute. A file is read once."""
        if path in self.signatures:
            return
        self.signatures[path] = _signature(path)
        source = self._text(path)
        if source is None:
            return
        tokens = tokens_of(source)
        self._classes |= set(class_names(tokens))
        self._texts |= set(texts(tokens))
        begin = 0
        for at, token in enumerate(tokens):
            if token.kind is Kind.NAME and token.text.lower() in _INCLUDES and not _is_member(tokens, at):
                self._understand(path, source, tokens, begin, at)
                begin = at
                self._include(path, tokens, at)
            elif token.kind is Kind.NAME and token.text.lower() in _LOADERS:
                self.is_complete = False
        self._understand(path, source, tokens, begin, len(tokens))
        self._note_query_gate(path, source, tokens)

    def read_what_may_be_included(self) -> None:
        """Read the files that the bot's code names, when it includes some by ways that cannot be told.

        Not all of them may be its own: the folder may have other bots and pages. So it is not asked whether one polls,
        and of files that no class is named by, only for what a bot compares and asks of PHP.
        """
        if self.is_complete:
            return
        signs, polls, gate = self.signs, self.signs.polls, None
        files = php_files({self._folder, *self._beside_libraries()})
        left = {path for paths in files.values() for path in paths} - set(self.signatures)
        while left:
            of_classes = [path for name in self._classes for path in files.get(name, []) if path in left]
            of_texts = [path for name in self._texts for path in files.get(name, []) if path in left]
            path = min(of_classes or (of_texts if self._loads_by_name else []), default="")
            if not path:
                break
            left.discard(path)
            gate = signs.query_gate
            self.read(path)
            signs.query_gate = signs.query_gate if of_classes else gate
        signs.polls = polls

    def _beside_libraries(self) -> set[str]:
        """The folders whose `vendor` it includes something of."""
        roots = (path.partition(f"{os.sep}vendor{os.sep}") for path in self.signatures)
        return {root for root, vendor, _ in roots if vendor}

    def _note_query_gate(self, path: str, source: str, tokens: Sequence[Token]) -> None:
        where, is_own = self._where(path, source)
        may = is_own and self.signs.query_gate is None and _GETS_A_QUERY.search(source)
        gate = query_gate(tokens) if may else None
        if gate is not None:
            self.signs.query_gate = where.place(tokens[gate].at)

    def _text(self, path: str) -> Optional[str]:
        """Each byte is a character: PHP's names and quotes are ASCII, and the rest need not be UTF-8."""
        signature = self.signatures[path]
        if signature is None:
            self.is_complete = False
            return None
        if signature[2] > self._bytes_left or len(self.signatures) > MAX_FILES:
            self.is_complete = False
            return None
        self._bytes_left -= signature[2]
        try:
            with open(path, "rb") as stream:
                return stream.read(MAX_BYTES).decode("latin-1")
        except OSError:
            self.is_complete = False
            return None

    def _understand(self, path: str, source: str, tokens: Sequence[Token], begin: int, end: int) -> None:
        """The tokens from `begin` to `end`; the others are there to be looked back at, and forward."""
        where, is_own = self._where(path, source)
        read_signs(self.signs, self._values, path, where.place, is_own, tokens, range(begin, end))

    def _where(self, path: str, source: str) -> tuple[PlaceOf, bool]:
        """What makes places of the file, and whether it is the bot's own."""
        name = os.path.relpath(path, self._folder)
        is_own = not any(part in LIBRARIES for part in Path(name).parts[:-1])
        return PlaceOf(os.path.basename(path) if name.startswith("..") else name, source), is_own

    def _include(self, path: str, tokens: Sequence[Token], at: int) -> None:
        named = evaluate(tokens[at + 1 : statement_end(tokens, at + 1)], path, self._values)
        found = None if not named else self._found(named, path)
        if found is None:
            self.is_complete, self._loads_by_name = False, True
        else:
            self.read(found)

    def _found(self, named: str, path: str) -> Optional[str]:
        """The file that an include means (php.net, "include"), and where it would be when it is missing."""
        name = os.fsdecode(named.encode("latin-1"))
        if "\0" in name[1:] or "://" in name:
            return None
        if name.startswith(DOCUMENT_ROOT):
            places: Iterable[str] = [str(folder) for folder in (Path(self._folder), *Path(self._folder).parents)]
            name = name[1:].lstrip("/")
        else:
            places = [self._folder, os.path.dirname(path)]
        candidates = [os.path.normpath(os.path.join(place, name)) for place in places]
        return next((candidate for candidate in candidates if os.path.isfile(candidate)), candidates[0])


@dataclass(frozen=True)
class PlaceOf:
    """Makes places of one file, which people know by `name`."""

    name: str
    source: str

    def place(self, at: int) -> Place:
        """Where a token is that begins `at` this character."""
        return Place(self.name, self.source.count("\n", 0, at) + 1)


def _is_member(tokens: Sequence[Token], at: int) -> bool:
    """Whether a name is that of a method or a function's own, rather than a word of the language."""
    before = tokens[at - 1].text if at else ""
    return before in ("->", "?->", "::", "function", "const")
