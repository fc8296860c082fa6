"""What an expression of PHP is worth when the request has no query: a text, true or false, or not known.

Knows the operators and the functions that people compare a key with. What it cannot follow is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Optional, Union

from scalable.lib.runners.php.constant_text import arguments, group_end
from scalable.lib.runners.php.tokens import Kind, Token


class Vague(Enum):
    """SOME is not of the query, and what a key is compared with: not empty. UNKNOWN may be anything."""

    UNKNOWN = "unknown"
    SOME = "some"


# None is PHP's null, a tuple its empty array.
Value = Union[None, bool, float, str, "tuple[()]", Vague]
UNKNOWN, SOME = Vague.UNKNOWN, Vague.SOME
QUERY = ("$_GET", "$_REQUEST")
_LITERALS: dict[str, Value] = {"true": True, "false": False, "null": None}
_TEXTS = ("trim", "strtolower", "strtoupper", "strval", "htmlspecialchars", "strip_tags", "urldecode", "string")
_NUMBERS = ("strlen", "mb_strlen", "count", "sizeof", "intval", "int", "integer")
_OF_THE_REQUEST: dict[str, Value] = {"filter_has_var": False, "getenv": ""}
_FALSE_OF_NOTHING = frozenset(
    [
        *("hash_equals", "in_array", "array_key_exists", "key_exists", "password_verify", "is_numeric", "bool"),
        *("strpos", "stripos", "str_contains", "str_starts_with", "str_ends_with", "ctype_digit"),
    ]
)
_ORDERS = ("strcmp", "strcasecmp", "strncmp")
_NOT_FOLLOWED = ("exit", "die", "new", "fn", "function", "match", "throw", "include", "require", "clone", "list")
_EQUALITY = {"===": (True, True), "!==": (True, False), "==": (False, True), "!=": (False, False), "<>": (False, False)}
# The weakest first (php.net, "Operator Precedence").
_LEVELS = (
    *(("or",), ("xor",), ("and",), ("?",), ("??",), ("||",), ("&&",)),
    *((*_EQUALITY, "<", ">", "<=", ">="), (".", "+", "-", "*", "/", "%")),
)
_OF_AN_ASSIGNMENT = _LEVELS.index(("?",))


class NotFollowed(Exception):
    """The expression has a form that is not known here."""


@dataclass
class Variables:
    """What variables and functions are worth that were made of the query. `assigned`: all that were given a value.

    `is_extracted`: extract($_GET) gave a value to variables of any name.
    """

    values: dict[str, Value] = field(default_factory=dict)
    functions: dict[str, Value] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    is_extracted: bool = False


@dataclass(frozen=True)
class Worth:
    """`is_of_query`: the query had a part in it."""

    value: Value
    is_of_query: bool

    @property
    def truth(self) -> Optional[bool]:
        """As a condition; None: not known."""
        return _truth(self.value)


def worth(tokens: Sequence[Token], variables: Variables) -> Worth:
    """Of an expression. What is assigned in it is kept in `variables`."""
    reader = _Reader(tokens, variables)
    try:
        value = reader.level(0)
    except (NotFollowed, RecursionError):
        value = UNKNOWN
    if not reader.is_at_the_end:
        value = UNKNOWN
        reader.saw_query |= any(_is_of_query(token, variables) for token in tokens)
    return Worth(value, reader.saw_query)


def _is_of_query(token: Token, variables: Variables) -> bool:
    if token.kind is Kind.VARIABLE:
        return token.text in QUERY or token.text in variables.values
    if token.kind is Kind.NAME:
        return token.text == "INPUT_GET" or token.text.lower() in variables.functions
    return token.kind is Kind.TEXT and token.text == "QUERY_STRING"


def _truth(value: Value) -> Optional[bool]:
    return None if isinstance(value, Vague) else bool(value) and value != "0"


def _as_value(truth: Optional[bool]) -> Value:
    return UNKNOWN if truth is None else truth


def _equal(left: Value, right: Value, strictly: bool) -> Optional[bool]:
    """None: not known. SOME differs from all that is empty."""
    if UNKNOWN in (left, right):
        return None
    if isinstance(left, Vague) or isinstance(right, Vague):
        other = right if isinstance(left, Vague) else left
        return None if isinstance(other, Vague) or other else False
    if strictly or type(left) is type(right):
        return type(left) is type(right) and left == right
    if isinstance(left, bool) or isinstance(right, bool) or None in (left, right):
        return _truth(left) == _truth(right)
    return None


class _Reader:
    """Reads an expression from the left, operators by their precedence."""

    def __init__(self, tokens: Sequence[Token], variables: Variables) -> None:
        self._tokens = tokens
        self._variables = variables
        self._at = 0
        self.saw_query = False

    @property
    def is_at_the_end(self) -> bool:
        """Whether nothing is left to be read."""
        return self._at >= len(self._tokens)

    def level(self, number: int) -> Value:
        """What is joined by operators of this level and stronger ones."""
        if number == len(_LEVELS):
            return self._one()
        value = self.level(number + 1)
        while operator := self._takes(*_LEVELS[number]):
            value = self._joined(operator, value, number)
        return value

    def _takes(self, *texts: str) -> str:
        """The next token when it is one of these, and it is behind us then; else nothing."""
        if self.is_at_the_end:
            return ""
        token = self._tokens[self._at]
        text = token.text.lower() if token.kind in (Kind.OPERATOR, Kind.NAME) else ""
        self._at += text in texts
        return text if text in texts else ""

    def _joined(self, operator: str, left: Value, number: int) -> Value:
        if operator == "?":
            return self._choice(left, number)
        right = self.level(number if operator == "??" else number + 1)
        if operator == "??":
            return right if left is None else left
        if operator in _EQUALITY:
            strictly, wanted = _EQUALITY[operator]
            is_equal = _equal(left, right, strictly)
            return _as_value(None if is_equal is None else is_equal is wanted)
        if operator in ("or", "||", "and", "&&"):
            deciding, truths = operator in ("or", "||"), (_truth(left), _truth(right))
            return deciding if deciding in truths else _as_value(None if None in truths else not deciding)
        if isinstance(left, float) and isinstance(right, float) and operator in ("<", ">", "<=", ">="):
            return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[operator]
        return UNKNOWN

    def _choice(self, condition: Value, number: int) -> Value:
        chosen = condition if self._takes(":") else self.level(_OF_AN_ASSIGNMENT)
        if self._tokens[self._at - 1].text != ":" and not self._takes(":"):
            raise NotFollowed
        other, truth = self.level(number + 1), _truth(condition)
        return UNKNOWN if truth is None else chosen if truth else other

    def _one(self) -> Value:
        if self._takes("!"):
            truth = _truth(self._one())
            return _as_value(None if truth is None else not truth)
        if self._takes("@"):
            return self._one()
        if self._takes("("):
            return self._bracket()
        if self.is_at_the_end:
            raise NotFollowed
        token = self._tokens[self._at]
        self._at += 1
        if token.kind is Kind.TEXT:
            return token.text
        if token.kind is Kind.NUMBER and token.text.isdigit():
            return float(token.text)
        if token.kind is Kind.VARIABLE:
            return self._variable(token.text)
        if token.kind is Kind.NAME:
            return self._name(token.text.rpartition("\\")[2])
        if token.text == "[":
            return () if self._takes("]") else self._rest(SOME, self._at - 1)
        raise NotFollowed

    def _bracket(self) -> Value:
        cast = self._takes("string", "int", "integer", "bool") if self._closes(self._at + 1) else ""
        if cast:
            self._at += 1
            return self._function(cast, [self._one()])
        value = self.level(0)
        if not self._takes(")"):
            raise NotFollowed
        return value

    def _closes(self, at: int) -> bool:
        return at < len(self._tokens) and self._tokens[at].text == ")"

    def _variable(self, name: str) -> Value:
        if self._takes("="):
            return self._assigned(name)
        variables, value = self._variables, self._of_the_request(name)
        if name in QUERY or value is not None:
            self.saw_query = True
        elif name in variables.values:
            self.saw_query, value = True, variables.values[name]
        elif variables.is_extracted and name not in variables.assigned:
            self.saw_query = True
        else:
            value = SOME
        return self._followed(() if name in QUERY else value)

    def _of_the_request(self, name: str) -> Value:
        """`$GLOBALS['_GET']` and `$_SERVER['QUERY_STRING']`; None: another."""
        key = self._tokens[self._at + 1] if self._at + 2 < len(self._tokens) else None
        if key is None or key.kind is not Kind.TEXT:
            return None
        found: Value = None
        if (name, key.text) in (("$GLOBALS", "_GET"), ("$GLOBALS", "_REQUEST")):
            found = ()
        elif (name, key.text) == ("$_SERVER", "QUERY_STRING"):
            found = ""
        self._at += 0 if found is None else 3
        return found

    def _assigned(self, name: str) -> Value:
        before, self.saw_query = self.saw_query, False
        value = self.level(_OF_AN_ASSIGNMENT)
        self._variables.values.pop(name, None)
        if self.saw_query:
            self._variables.values[name] = value
        self.saw_query |= before
        return value

    def _followed(self, value: Value) -> Value:
        """What is taken out of a value: by a key, a property, a method."""
        while True:
            if not self.is_at_the_end and self._tokens[self._at].text == "[":
                value = self._rest(None if value is None or value == () else SOME, self._at)
            elif self._takes("->", "?->", "::"):
                self._at += 1
                value = SOME
            elif not self.is_at_the_end and self._tokens[self._at].text == "(":
                value = self._rest(SOME, self._at)
            else:
                return value

    def _rest(self, value: Value, opening: int) -> Value:
        """The bracket is behind us then."""
        self._at = group_end(self._tokens, opening)
        return value

    def _name(self, name: str) -> Value:
        word = name.lower()
        if word in _NOT_FOLLOWED:
            raise NotFollowed
        if self.is_at_the_end or self._tokens[self._at].text != "(":
            self.saw_query |= name == "INPUT_GET"
            return _LITERALS[word] if word in _LITERALS else self._followed(SOME)
        before, self.saw_query = self.saw_query, False
        parts = arguments(self._tokens, self._at)
        of_request = [token.text for part in parts[:1] for token in part]
        values = [self._argument(part) for part in parts]
        self._at = group_end(self._tokens, self._at)
        if word in self._variables.functions or of_request in (["QUERY_STRING"], ["INPUT_GET"]):
            self.saw_query = True
            values, word = [_OF_THE_REQUEST.get(word, self._variables.functions.get(word))], ""
        value = self._function(word, values) if self.saw_query else SOME
        self.saw_query |= before
        return self._followed(value)

    def _argument(self, tokens: Sequence[Token]) -> Value:
        inner = _Reader(tokens, self._variables)
        value = inner.level(0) if tokens else SOME
        self.saw_query |= inner.saw_query
        return value if inner.is_at_the_end else UNKNOWN

    def _function(self, word: str, values: Sequence[Value]) -> Value:
        """Of what the query had a part in."""
        first = values[0] if values else UNKNOWN
        is_nothing = any(not isinstance(value, Vague) and not value for value in values)
        if word == "":
            return first
        if word == "isset":
            return False if None in values else _as_value(None if UNKNOWN in values or SOME in values else True)
        if word == "is_null":
            return UNKNOWN if isinstance(first, Vague) else first is None
        if word == "empty":
            truth = _truth(first)
            return _as_value(None if truth is None else not truth)
        if word in _TEXTS and is_nothing:
            return ""
        if word in _NUMBERS and is_nothing:
            return 0.0
        if word in _ORDERS and is_nothing and not all(not value for value in values if not isinstance(value, Vague)):
            return -1.0
        return False if word in _FALSE_OF_NOTHING and is_nothing else UNKNOWN
