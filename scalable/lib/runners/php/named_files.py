"""Which files a bot may include by ways that its source does not tell: an autoloader, a path made of a variable.

A class has a file of its name, as autoloaders want it (PSR-4, PSR-0), and so has a part that is included by a name in a
text. Reads no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from scalable.lib.runners.php.tokens import Kind, Token

LIBRARIES = ("vendor", "node_modules")
# Of our own folder, which lies beside the bot.
_OURS = "worker_pool.py"
# A bot has fewer files; where there are more, the folder is that of a whole site.
MAX_ENTRIES = 3000
_BEFORE_A_CLASS = ("new", "use", "extends", "implements", "instanceof")


def class_names(tokens: Sequence[Token]) -> Iterator[str]:
    """The classes that the tokens name, in lower case, without their namespaces."""
    for at, token in enumerate(tokens):
        if token.kind is not Kind.NAME:
            continue
        before = tokens[at - 1].text.lower() if at else ""
        after = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if before in _BEFORE_A_CLASS or after == "::":
            yield token.text.rpartition("\\")[2].lower()


def texts(tokens: Iterable[Token]) -> Iterator[str]:
    """The texts that may be the name of a file, in lower case, without folders and ending."""
    for token in tokens:
        if token.kind is Kind.TEXT and 0 < len(token.text) <= 100:
            yield _stem(token.text)


def _stem(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].partition(".")[0].lower()


def php_files(folders: Iterable[str]) -> dict[str, list[str]]:
    """The PHP files in and below these folders by their names in lower case, but those of libraries, and ours."""
    found: dict[str, list[str]] = {}
    seen = 0
    for top in folders:
        for folder, inner, files in os.walk(top):
            seen += len(files) + len(inner)
            if _OURS in files or seen > MAX_ENTRIES:
                inner.clear()
                continue
            inner[:] = sorted(name for name in inner if name not in LIBRARIES and not name.startswith("."))
            for name in sorted(files):
                if name.lower().endswith(".php"):
                    found.setdefault(_stem(name), []).append(os.path.join(folder, name))
    return found
