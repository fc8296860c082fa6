"""What an expression of PHP says, as far as it is written there: literal texts, constants, `__DIR__`, `dirname`.

Knows nothing of bots. Whatever it cannot be certain of is None.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from scalable.lib.runners.php.tokens import Kind, Token

# Stands at the beginning of a path for the site's root, which only its web server knows.
DOCUMENT_ROOT = "\0"
_OPENING, _CLOSING = "([{", ")]}"
_BOUNDARIES = (",", ";", "&&", "||", "?", ":", "=", "=>", "!")
_WORDS = ("and", "or", "xor", "return", "echo", "if", "elseif", "while", "die", "exit")


@dataclass
class Values:
    """Texts by the names of constants and variables ($ included); a name given two different ones has none."""

    _texts: dict[str, Optional[str]] = field(default_factory=dict)

    def assign(self, name: str, text: Optional[str]) -> None:
        """Of a constant or a variable; None: something that is not known."""
        self._texts[name] = text if self._texts.get(name, text) == text else None

    def of(self, name: str) -> Optional[str]:
        """None: not known."""
        return self._texts.get(name)


def evaluate(tokens: Sequence[Token], file: str, values: Values) -> Optional[str]:
    """The text of an expression in `file`; None when it is not constant, or not of texts joined by dots."""
    expression = _Expression(tokens, file, values)
    text = expression.joined()
    return text if expression.is_at_the_end else None


def group_end(tokens: Sequence[Token], at: int) -> int:
    """Behind the bracket that closes the one at `at`; the end of the tokens when none does."""
    depth = 0
    for number in range(at, len(tokens)):
        if tokens[number].kind is Kind.OPERATOR:
            depth += (tokens[number].text in _OPENING) - (tokens[number].text in _CLOSING)
            if depth <= 0:
                return number + 1
    return len(tokens)


def arguments(tokens: Sequence[Token], at: int) -> list[Sequence[Token]]:
    """What is between the commas of the brackets that open at `at`."""
    end, parts, begin, depth = group_end(tokens, at), [], at + 1, 0
    for number in range(at, end):
        if tokens[number].kind is Kind.OPERATOR:
            depth += (tokens[number].text in _OPENING) - (tokens[number].text in _CLOSING)
            if (depth == 1 and tokens[number].text == ",") or depth == 0:
                parts.append(tokens[begin:number])
                begin = number + 1
    return parts


def statement_end(tokens: Sequence[Token], at: int) -> int:
    """The `;` that ends the expression beginning at `at`, or the bracket or comma around it."""
    number = at
    while number < len(tokens):
        token = tokens[number]
        if token.kind is Kind.OPERATOR and token.text in _OPENING:
            number = group_end(tokens, number)
            continue
        if token.kind is Kind.OPERATOR and (token.text in _CLOSING or token.text in (";", ",")):
            return number
        number += 1
    return number


def operands(tokens: Sequence[Token], at: int) -> tuple[Sequence[Token], Sequence[Token]]:
    """What stands to the left and to the right of the comparison at `at`."""
    left = at - 1
    depth = 0
    while left >= 0 and not (depth == 0 and _is_boundary(tokens[left], _OPENING)):
        if tokens[left].kind is Kind.OPERATOR:
            depth += (tokens[left].text in _CLOSING) - (tokens[left].text in _OPENING)
        left -= 1
    right = at + 1
    while right < len(tokens) and not _is_boundary(tokens[right], _CLOSING):
        opens = tokens[right].kind is Kind.OPERATOR and tokens[right].text in _OPENING
        right = group_end(tokens, right) if opens else right + 1
    return tokens[left + 1 : at], tokens[at + 1 : right]


def _is_boundary(token: Token, brackets: str) -> bool:
    if token.kind is Kind.NAME:
        return token.text.lower() in _WORDS
    return token.kind is Kind.OPERATOR and (token.text in brackets or token.text in _BOUNDARIES)


class _Expression:
    def __init__(self, tokens: Sequence[Token], file: str, values: Values) -> None:
        self._tokens = tokens
        self._file = file
        self._values = values
        self._at = 0

    @property
    def is_at_the_end(self) -> bool:
        return self._at >= len(self._tokens)

    def joined(self) -> Optional[str]:
        """Terms with dots between them."""
        parts = [self._term()]
        while self._takes("."):
            parts.append(self._term())
        return None if None in parts else "".join(part for part in parts if part is not None)

    def _takes(self, operator: str) -> bool:
        is_there = not self.is_at_the_end and self._tokens[self._at][:2] == (Kind.OPERATOR, operator)
        self._at += is_there
        return is_there

    def _term(self) -> Optional[str]:
        if self.is_at_the_end:
            return None
        token = self._tokens[self._at]
        self._at += 1
        if token.kind is Kind.TEXT:
            return token.text
        if token.kind is Kind.VARIABLE:
            return self._variable(token.text)
        if token.kind is Kind.NAME:
            return self._name(token.text)
        if token[:2] == (Kind.OPERATOR, "("):
            if [part.text for part in self._tokens[self._at : self._at + 2]] == ["string", ")"]:  # a cast
                self._at += 2
                return self._term()
            text = self.joined()
            return text if self._takes(")") else None
        return None

    def _variable(self, name: str) -> Optional[str]:
        if not self._takes("["):
            return self._values.of(name)
        key = self.joined()
        is_root = self._takes("]") and name == "$_SERVER" and key == "DOCUMENT_ROOT"
        return DOCUMENT_ROOT if is_root else None

    def _name(self, name: str) -> Optional[str]:
        short = name.rpartition("\\")[2]
        if short.upper() in ("__DIR__", "__FILE__"):
            return os.path.dirname(self._file) if short.upper() == "__DIR__" else self._file
        if short == "DIRECTORY_SEPARATOR":
            return "/"
        if short.lower() in ("dirname", "realpath", "rtrim") and self._takes("("):
            return self._called(short.lower())
        if self._takes("::"):
            short = self._tokens[self._at].text if not self.is_at_the_end else ""
            self._at += 1
        return self._values.of(short)

    def _called(self, function: str) -> Optional[str]:
        text, levels = self.joined(), 1
        if self._takes(",") and not self.is_at_the_end:
            number = self._tokens[self._at].text
            levels = int(number) if number.isdigit() and len(number) < 3 else 1
            self._at += 1
        if not self._takes(")") or text is None:
            return None
        for _ in range(levels if function == "dirname" else 0):
            text = os.path.dirname(text)
        return text
