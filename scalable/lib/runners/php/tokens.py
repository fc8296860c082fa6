"""The tokens of a PHP file, without comments, attributes and text outside of PHP (php.net, "List of Parser Tokens").

Does not know what they mean. Made for files that PHP accepts: of others it gives some tokens, and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

_NAME = r"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*"
_OPEN = re.compile(r"<\?(?:php(?=\s|$)|=|(?=\s))", re.IGNORECASE)
_CODE = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<end>\?>\n?)
    | (?P<comment>/\*.*?(?:\*/|\Z) | (?://|\#(?!\[))[^\r\n]*?(?=\?>|[\r\n]|\Z))
    | (?P<attribute>\#\[)
    | (?P<single>[bB]?'(?P<single_text>(?:[^'\\]|\\.)*)(?:'|\Z))
    | (?P<quote>[bB]?["`])
    | (?P<heredoc>[bB]?<<<[ \t]*(?P<mark>['"]?)(?P<label>{_NAME})(?P=mark)(?:\r\n|\r|\n))
    | (?P<variable>\${_NAME})
    | (?P<name>\\?{_NAME}(?:\\{_NAME})*)
    | (?P<number>\.?[0-9][0-9A-Za-z_.]*)
    | (?P<operator>===|!==|<=>|\?\?=|\?->|\.\.\.|==|!=|<>|<=|>=|=>|->|::|\?\?|&&|\|\||\.=|\+=|-=|\*=|/=|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_INTERPOLATED = re.compile(
    rf"\\.|(?P<braces>\{{(?=\$)|\$\{{)|(?P<variable>\${_NAME})(?:\[(?P<key>'?[^\]'\s]*'?)\]|(?:\?->|->)(?P<part>{_NAME}))?",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "$": "$", '"': '"', "`": "`"}
# Deeper than people write, and far from the depth at which Python stops.
_MAX_DEPTH = 20


class Kind(Enum):
    """What a token is; TEXT is a string without variables, PIECES one with some, whose parts follow it."""

    TEXT = "text"
    PIECES = "pieces"
    VARIABLE = "variable"
    NAME = "name"
    NUMBER = "number"
    OPERATOR = "operator"


class Token(NamedTuple):
    """`text`: of a string what it holds, of anything else as it is written. `at`: where in the file it begins."""

    kind: Kind
    text: str
    at: int


def tokens_of(source: str) -> list[Token]:
    """The tokens of a whole file that begins outside of PHP. `?>` is a `;`, as it is for PHP."""
    found: list[Token] = []
    at = 0
    while (opening := _OPEN.search(source, at)) is not None:
        code = _Code(source, opening.end())
        found += code.tokens()
        found.append(Token(Kind.OPERATOR, ";", code.at))
        at = code.at
    return found


class _Code:
    """Reads on from `at`, which is inside of PHP; `at` is then behind what was read."""

    def __init__(self, source: str, at: int, depth: int = 0) -> None:
        self.at = at
        self._source = source
        self._depth = depth

    def tokens(self, until: str = "") -> Iterator[Token]:
        """To the end of the PHP part, or to the bracket `until` that closes what was opened before."""
        opened = 0
        opening = {"}": "{", "]": "["}.get(until, "")
        while (match := _CODE.match(self._source, self.at)) is not None:
            at, kind, text = self.at, match.lastgroup, match.group()
            self.at = match.end()
            if kind == "end" or (kind == "name" and text.lower() == "__halt_compiler"):
                self.at = self.at if kind == "end" else len(self._source)
                return
            opened += (text == opening) - (text == until) if until else 0
            if opened < 0:
                return
            yield from self._read(match, at)

    def _read(self, match: re.Match[str], at: int) -> Iterator[Token]:
        """What this part of the code is; a longer string moves `at`."""
        if match.group("attribute"):
            for _ in _Code.tokens(self, "]"):
                pass
        elif match.group("single"):
            yield Token(Kind.TEXT, re.sub(r"\\([\\'])", r"\1", match.group("single_text")), at)
        elif match.group("quote"):
            yield from self._quoted(match.group()[-1], at)
        elif match.group("heredoc"):
            yield from self._heredoc(match, at)
        elif match.group("variable"):
            yield Token(Kind.VARIABLE, match.group(), at)
        elif match.group("name"):
            yield Token(Kind.NAME, match.group(), at)
        elif match.group("number"):
            yield Token(Kind.NUMBER, match.group(), at)
        elif match.group("operator"):
            yield Token(Kind.OPERATOR, match.group(), at)

    def _quoted(self, quote: str, at: int) -> Iterator[Token]:
        """A string in double quotes, or a command in backticks, which is no text."""
        start, parts = self.at, list(self._parts(re.compile(r"[^\\${" + quote + r"]+|" + quote), quote))
        text = self._source[start : self.at - 1]
        is_text = quote == '"' and not parts
        yield Token(Kind.TEXT if is_text else Kind.PIECES, _unescaped(text), at)
        yield from parts

    def _heredoc(self, opening: re.Match[str], at: int) -> Iterator[Token]:
        closing = re.compile(rf"^[ \t]*{opening.group('label')}(?![A-Za-z0-9_\x80-\xff])", re.MULTILINE)
        found = closing.search(self._source, self.at)
        end, after = (found.start(), found.end()) if found else (len(self._source), len(self._source))
        body = self._source[self.at : end]
        self.at = after
        if opening.group("mark") == "'":
            yield Token(Kind.TEXT, body.strip("\r\n"), at)
            return
        parts = list(_Code(body, 0, self._depth + 1)._parts(re.compile(r"[^\\${]+"), ""))
        yield Token(Kind.PIECES if parts else Kind.TEXT, _unescaped(body).strip("\r\n"), at)
        yield from (Token(part.kind, part.text, at) for part in parts)

    def _parts(self, plain: re.Pattern[str], quote: str) -> Iterator[Token]:
        """The variables and expressions in a string, to the `quote` that ends it, or to the end of the source."""
        while self.at < len(self._source):
            passed = plain.match(self._source, self.at)
            if passed is not None:
                self.at = passed.end()
                if quote and passed.group() == quote:
                    return
                continue
            inner = _INTERPOLATED.match(self._source, self.at)
            at, self.at = self.at, inner.end() if inner else self.at + 1
            if inner is None:
                continue
            if inner.group("braces"):
                yield from self._expression(inner.group("braces"), at)
            elif inner.group("variable"):
                yield from _simple(inner, at)

    def _expression(self, braces: str, at: int) -> Iterator[Token]:
        """`{$name["key"]}` or `${name}`: code, in which quotes begin strings of their own."""
        if self._depth >= _MAX_DEPTH:
            return
        code = _Code(self._source, self.at, self._depth + 1)
        if braces == "${":
            yield Token(Kind.OPERATOR, "$", at)
        yield from code.tokens("}")
        self.at = code.at


def _simple(inner: re.Match[str], at: int) -> Iterator[Token]:
    """`$name`, `$name[key]` or `$name->part` in a string, as if it were code."""
    yield Token(Kind.VARIABLE, inner.group("variable"), at)
    if inner.group("key") is not None:
        yield Token(Kind.OPERATOR, "[", at)
        yield Token(Kind.TEXT, inner.group("key").strip("'"), at)
        yield Token(Kind.OPERATOR, "]", at)
    if inner.group("part"):
        yield Token(Kind.OPERATOR, "->", at)
        yield Token(Kind.NAME, inner.group("part"), at)


def _unescaped(text: str) -> str:
    return re.sub(r'\\([nrt\\$"`])', lambda found: _ESCAPES[found.group(1)], text)
