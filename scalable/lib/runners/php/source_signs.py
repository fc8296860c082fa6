"""The signs by which a PHP bot shows what it needs: one after the other, from the tokens of its files.

Each sign is a place in the source, for messages. A sign that cannot be read for certain is not made up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Optional

from scalable.lib.runners.php.constant_text import (
    Values,
    arguments,
    evaluate,
    group_end,
    operands,
    statement_end,
)
from scalable.lib.runners.php.shell_branch import Branch, argument_branch, branch_at
from scalable.lib.runners.php.tokens import Kind, Token

SECRET_HEADERS = ("HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN", "X-TELEGRAM-BOT-API-SECRET-TOKEN")
# PHP's names of interfaces that a bot may ask for (php.net, php_sapi_name).
INTERFACES = frozenset(
    [
        "cli",
        "cli-server",
        "cgi",
        "cgi-fcgi",
        "fpm",
        "fpm-fcgi",
        "apache",
        "apache2handler",
        "apache2filter",
        "litespeed",
        "embed",
        "phpdbg",
    ]
)
# What a web server tells of a request; in `cli` it is in $_SERVER alone.
_TOLD = frozenset(
    ["CONTENT_LENGTH", "CONTENT_TYPE", "GATEWAY_INTERFACE", "REMOTE_ADDR", "REQUEST_METHOD", "REQUEST_URI"]
)
_STREAMS = ("STDIN", "STDOUT", "STDERR")
_HASHES = ("md5", "sha1", "hash", "hash_hmac", "crc32", "crypt", "base64_encode", "bin2hex")
_COMPARISONS = ("===", "!==", "==", "!=", "<>")
_COMPARING = ("hash_equals", "strcmp", "strcasecmp", "strncmp", "in_array")
_POLLING = re.compile(r"(?:^|/)getupdates(?![a-z])", re.IGNORECASE)
_SETTING = re.compile(r"(?:^|/)setwebhook(?![a-z])", re.IGNORECASE)
_BODY = re.compile(r"php://input", re.IGNORECASE)
_STDIN = re.compile(r"php://stdin", re.IGNORECASE)


class Place(NamedTuple):
    """A line of a file, as people call it."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass
class Signs:
    """What was seen first of each kind, None: nothing.

    `body`, `stdin`: it reads php://input, standard input. `query`: by key where in the query it looks, "" for all of
    it; `query_gate`: without the query it does nothing. `interface`: it asks which interface PHP has, or whether it
    runs in a shell, and `interfaces` are those it names. `console`: it asks whether it was started by hand, and what it
    does then cannot be told; `refuses_web`: it ends when it was not. `request`, `request_query`: it looks at its
    request, or at the query, in a way that finds none in PHP's `cli` (getenv, filter_input). `method`: it looks at
    REQUEST_METHOD. `polls`: it calls getUpdates. `sets_webhook`: it calls setWebhook. `secret`: it looks at the header
    with the secret token, and compares it with one of `secret_values`, if these are in the source. `names`: what it
    calls functions, classes and constants by, in lower case.
    """

    body: Optional[Place] = None
    stdin: Optional[Place] = None
    query: dict[str, Place] = field(default_factory=dict)
    query_gate: Optional[Place] = None
    interface: Optional[Place] = None
    interfaces: set[str] = field(default_factory=set)
    console: Optional[Place] = None
    refuses_web: Optional[Place] = None
    request: Optional[Place] = None
    request_query: Optional[Place] = None
    method: Optional[Place] = None
    polls: Optional[Place] = None
    sets_webhook: Optional[Place] = None
    secret: Optional[Place] = None
    secret_values: set[str] = field(default_factory=set, repr=False)
    names: set[str] = field(default_factory=set, repr=False)


def read_signs(
    signs: Signs,
    values: Values,
    file: str,
    place: Callable[[int], Place],
    is_own: bool,
    tokens: Sequence[Token],
    numbers: range,
) -> None:
    """Add what the tokens of these `numbers` show. `is_own`: of the bot itself, not of a library it brings along."""
    reader = _Reader(signs, values, file, place, is_own, tokens)
    for number in numbers:
        reader.read(number)


@dataclass
class _Reader:
    signs: Signs
    values: Values
    file: str
    place: Callable[[int], Place]
    is_own: bool
    tokens: Sequence[Token]

    def read(self, at: int) -> None:
        """The token `at`."""
        token = self.tokens[at]
        if token.kind is Kind.NAME:
            self._name(at, token.text.rpartition("\\")[2])
        elif token.kind is Kind.VARIABLE:
            self._variable(at, token.text)
        elif token.kind in (Kind.TEXT, Kind.PIECES):
            self._text(at, token.text)
        elif token.text in _COMPARISONS and self.is_own:
            self._compared(operands(self.tokens, at))

    # What is seen, and where

    def _see(self, sign: str, at: int, in_libraries: bool = False) -> None:
        if (self.is_own or in_libraries) and getattr(self.signs, sign) is None:
            setattr(self.signs, sign, self.place(self.tokens[at].at))

    def _see_query(self, at: int, key: str) -> None:
        if self.is_own:
            self.signs.query.setdefault(key, self.place(self.tokens[at].at))

    def _text(self, at: int, text: str) -> None:
        if _BODY.match(text):
            self._see("body", at, in_libraries=True)
        elif _STDIN.match(text):
            self._stdin(at)
        elif _names_header(self._joined(at)):
            self._see("secret", at)
        elif text == "REQUEST_METHOD":
            self._see("method", at)
        elif text in ("argv", "argc") and self._is(at - 1, "["):
            self._asks(at, argument_branch(self.tokens, at))
        elif text == "QUERY_STRING":
            self._see_query(at, "")
            if self._is(at - 2, "getenv"):
                self._see("request_query", at)
        elif text == "PHP_SAPI" or (text in _STREAMS and self._is(at - 2, "defined")) or self._is_shells(at):
            self._see("interface", at)
        elif _POLLING.search(text):
            self._see("polls", at)
        elif _SETTING.search(text):
            self._see("sets_webhook", at)
        if self._is(at - 2, "getenv", "apache_getenv") and (text in _TOLD or text.startswith("HTTP_")):
            self._see("request", at)

    def _joined(self, at: int) -> str:
        """The text there, with those that dots join to it."""
        text = self.tokens[at].text
        while self._is(at + 1, ".") and self._literal(at + 2) is not None:
            at += 2
            text += self.tokens[at].text
        return text

    def _is_shells(self, at: int) -> bool:
        """Whether the text is the key of `$_SERVER['argv']`."""
        is_key = self.tokens[at].text in ("argv", "argc") and self._is(at - 1, "[")
        return is_key and at > 1 and self.tokens[at - 2].text == "$_SERVER"

    def _variable(self, at: int, name: str) -> None:
        if name in ("$_GET", "$_REQUEST"):
            self._see_query(at, self._key(at + 1))
        elif name == "$HTTP_RAW_POST_DATA":
            self._see("body", at, in_libraries=True)
        elif name in ("$argv", "$argc"):
            self._asks(at, argument_branch(self.tokens, at))
        elif self._is(at + 1, "=") and not self._is(at - 1, "->", "?->", "::"):
            self._assigned(name, self.tokens[at + 2 : statement_end(self.tokens, at + 2)])
        elif self._is(at + 1, ".=", "+=", "??="):
            self.values.assign(name, None)

    def _name(self, at: int, name: str) -> None:
        word = name.lower()
        self.signs.names.add(word)
        is_called = self._is(at + 1, "(") and not self._is(at - 1, "function")
        if name == "STDIN":
            self._stdin(at)
        elif name == "PHP_SAPI" or (word == "php_sapi_name" and is_called):
            self._see("interface", at)
            self._interfaces(at)
            self._asks(at, branch_at(self.tokens, at))
        elif word == "defined" and is_called and self._literal(at + 2) == "STDIN":
            self._asks(at, branch_at(self.tokens, at))
        elif word in ("getupdates", "handlegetupdates") and is_called:
            self._see("polls", at)
        elif word == "setwebhook" and is_called:
            self._see("sets_webhook", at)
        elif name == "INPUT_GET":
            self._see_query(at, self._literal(at + 2) or "")
            self._see("request_query", at)
        elif name == "INPUT_SERVER":
            self._see("request", at)
        elif word == "http_response_code" and self._is(at + 2, ")"):
            if self._is(at - 2, "false") or self._is(at + 4, "false"):  # which it says in a shell
                self._see("interface", at)
        elif word in ("define", "const"):
            self._constant(at, word)
        elif word in _COMPARING and is_called and self.is_own:
            self._compared(arguments(self.tokens, at + 1)[:2])

    def _is(self, at: int, *texts: str) -> bool:
        if not 0 <= at < len(self.tokens):
            return False
        return self.tokens[at].kind in (Kind.OPERATOR, Kind.NAME) and self.tokens[at].text in texts

    def _literal(self, at: int) -> Optional[str]:
        return self.tokens[at].text if at < len(self.tokens) and self.tokens[at].kind is Kind.TEXT else None

    def _key(self, at: int) -> str:
        """Of `["key"]`, or of `['key']`; "" of anything else."""
        return (self._literal(at + 1) or "") if self._is(at, "[") and self._is(at + 2, "]") else ""

    # Constants and variables

    def _constant(self, at: int, word: str) -> None:
        if word == "const" and self._is(at + 2, "="):
            end = statement_end(self.tokens, at + 3)
            self._assigned(self.tokens[at + 1].text, self.tokens[at + 3 : end])
        elif word == "define" and self._is(at + 1, "("):
            parts = arguments(self.tokens, at + 1)
            if len(parts) > 1 and len(parts[0]) == 1:
                self._assigned(parts[0][0].text, parts[1])

    def _assigned(self, name: str, expression: Sequence[Token]) -> None:
        is_header = self._is_header(expression)
        self.values.assign(name, SECRET_HEADERS[0] if is_header else evaluate(expression, self.file, self.values))

    # Which interface of PHP

    def _interfaces(self, at: int) -> None:
        """Those named in the same statement, or in the cases of a switch or match."""
        begin = end = at
        while begin > 0 and not self._is(begin - 1, ";", "{", "}"):
            begin -= 1
        while end < len(self.tokens) and not self._is(end, ";", "{", "}"):
            end += 1
        if self._is(begin, "switch") or any(self._is(number, "match") for number in range(begin, at)):
            end = group_end(self.tokens, end) if self._is(end, "{") else end
        if self.is_own:
            words = {token.text for token in self.tokens[begin:end] if token.kind is Kind.TEXT}
            self.signs.interfaces |= words & INTERFACES

    def _asks(self, at: int, branch: Branch) -> None:
        if branch is Branch.REFUSES_WEB:
            self._see("refuses_web", at)
        elif branch is Branch.OTHER:
            self._see("console", at)

    # The secret token

    def _compared(self, sides: Sequence[Sequence[Token]]) -> None:
        """When one side is the header, the other may be the secret: a text, or texts of a list."""
        if len(sides) != 2 or self._is_header(sides[0]) == self._is_header(sides[1]):
            return
        header, other = sides if self._is_header(sides[0]) else (sides[1], sides[0])
        if any(token.kind is Kind.NAME and token.text.lower() in _HASHES for token in header):
            return
        if other and other[0].text in ("[", "array"):
            found = [evaluate(part, self.file, self.values) for part in arguments(other, other[0].text == "array")]
        else:
            found = [evaluate(other, self.file, self.values)]
        self.signs.secret_values |= {text for text in found if text}

    def _is_header(self, expression: Sequence[Token]) -> bool:
        """Whether it is made of the header itself, or of a variable that was set to it."""
        for token in expression:
            if token.kind is Kind.TEXT and _names_header(token.text):
                return True
            if token.kind is Kind.VARIABLE and self.values.of(token.text) == SECRET_HEADERS[0]:
                return True
        return False

    # Standard input

    def _stdin(self, at: int) -> None:
        """Where a person is asked for something, it is not the way of the updates."""
        if self.signs.stdin is None and not any(at in branch for branch in self._for_the_owner):
            self._see("stdin", at)

    @cached_property
    def _for_the_owner(self) -> list[range]:
        """What each `if` has that is about shells, ends the script, and takes no JSON."""
        found = []
        for at in range(len(self.tokens)):
            if not (self._is(at, "if", "elseif") and self._is(at + 1, "(")):
                continue
            behind = group_end(self.tokens, at + 1)
            if any(_is_of_shells(token) for token in self.tokens[at:behind]):
                is_block = self._is(behind, "{")
                end = group_end(self.tokens, behind) if is_block else statement_end(self.tokens, behind)
                words = {token.text.lower() for token in self.tokens[behind:end] if token.kind is Kind.NAME}
                if words & {"exit", "die"} and "json_decode" not in words:
                    found.append(range(behind, end))
        return found


def _is_of_shells(token: Token) -> bool:
    name = token.text.rpartition("\\")[2]
    return name in ("PHP_SAPI", "php_sapi_name", "$argv", "$argc", "argv", "argc", *_STREAMS)


def _names_header(text: str) -> bool:
    """However it is spelled: as a header, or as a variable of the request."""
    return text.upper().replace("-", "_").endswith("X_TELEGRAM_BOT_API_SECRET_TOKEN")
