"""Where a PHP file decides to do nothing because its request has no query: a bot's key in the address of its webhook.

A query that only adds something, such as `?setup`, is none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from scalable.lib.runners.php.absent_query import UNKNOWN, Variables, Worth, worth
from scalable.lib.runners.php.constant_text import arguments, group_end, statement_end
from scalable.lib.runners.php.tokens import Kind, Token

# An `if` that ends the script does so within so many tokens: a status, a header, a text.
_SOON = 40
_ENDS = ("exit", "die", "return")
_INCLUDES = ("require", "require_once", "include", "include_once")
_NEGATIONS = ("!", "!==", "!=", "<>")


def query_gate(tokens: Sequence[Token]) -> Optional[int]:
    """The number of the token where the first such decision begins; None: there is none."""
    return _Gate(tokens).found()


class _Gate:
    """`work` is where the file takes its update, or calls a function of its own that does; else what it includes."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._variables = Variables()
        self._bodies = self._functions()
        self._takes = [at for at, token in enumerate(tokens) if _takes_the_update(token)]
        self._workers = {
            name for name, (begin, end) in self._bodies.items() if any(begin <= at < end for at in self._takes)
        }
        includes = [at for at in range(len(tokens)) if self._is(at, *_INCLUDES)]
        self._work = self._work_places() or includes

    def found(self) -> Optional[int]:
        for at, token in enumerate(self._tokens):
            if token.kind is Kind.VARIABLE and self._is(at + 1, "="):
                self._assign(token.text, at)
            elif token.kind is Kind.NAME and self._decides(at, token.text.rpartition("\\")[2].lower()):
                return at
        return None

    def _decides(self, at: int, word: str) -> bool:
        if word in ("if", "elseif") and self._is(at + 1, "("):
            return self._is_gate(at)
        if word in ("switch", "match") and self._is(at + 1, "("):
            return self._has_no_case(at)
        if word in _ENDS and self._is(at - 1, "or", "||", "and", "&&"):
            return self._ends_statement(at)
        if word in ("parse_str", "extract") and self._is(at + 1, "("):
            self._made_of_the_query(word, arguments(self._tokens, at + 1))
        return False

    def _is(self, at: int, *texts: str) -> bool:
        if not 0 <= at < len(self._tokens):
            return False
        return self._tokens[at].kind in (Kind.OPERATOR, Kind.NAME) and self._tokens[at].text.lower() in texts

    def _assign(self, name: str, at: int) -> None:
        is_of_query = self._value(at, statement_end(self._tokens, at)).is_of_query
        self._variables.assigned.add(name)
        if is_of_query:
            self._variables.values.setdefault(name, UNKNOWN)
        else:
            self._variables.values.pop(name, None)

    def _value(self, begin: int, end: int) -> Worth:
        return worth(self._tokens[begin:end], self._variables)

    # Functions, and the work of the file

    def _functions(self) -> dict[str, tuple[int, int]]:
        """The body of each function by its name; one that returns something of the query is known by its worth."""
        bodies = {}
        for at in range(len(self._tokens) - 2):
            if self._is(at, "function") and self._is(at + 2, "(") and self._tokens[at + 1].kind is Kind.NAME:
                begin = group_end(self._tokens, at + 2)
                while begin < len(self._tokens) and not self._is(begin, "{", ";"):  # the type of what it returns
                    begin += 1
                bodies[self._tokens[at + 1].text.lower()] = (begin, group_end(self._tokens, begin))
        for name, (begin, end) in bodies.items():
            returns = [at for at in range(begin, end) if self._is(at, "return")]
            value = self._value(returns[0] + 1, statement_end(self._tokens, returns[0] + 1)) if returns else None
            if value is not None and value.is_of_query:
                self._variables.functions[name] = value.value if len(returns) == 1 else UNKNOWN
        return bodies

    def _work_places(self) -> list[int]:
        inside = [range(*self._bodies[name]) for name in self._workers]
        calls = [
            at
            for at, token in enumerate(self._tokens)
            if token.kind is Kind.NAME and token.text.lower() in self._workers and self._is(at + 1, "(")
            if not self._is(at - 1, "function")
        ]
        return [at for at in (*self._takes, *calls) if not any(at in body for body in inside)]

    def _is_all_work_in(self, begin: int, end: int) -> bool:
        """Whether the file does its work there, and nowhere else."""
        return bool(self._work) and all(begin <= at < end for at in self._work)

    # Decisions

    def _is_gate(self, at: int) -> bool:
        """`if (… !== $_GET[…]) exit;`, or `if ($_GET[…] == …) { … php://input … }`."""
        behind = group_end(self._tokens, at + 1)
        condition = self._value(at + 2, behind - 1)
        if not condition.is_of_query:
            return False
        end = group_end(self._tokens, behind) if self._is(behind, "{") else statement_end(self._tokens, behind)
        is_true = condition.truth
        if is_true is None:  # what it asks for is denied by whoever wrote a negation
            is_true = any(self._is(number, *_NEGATIONS, "empty") for number in range(at, behind))
        if is_true:
            return any(self._ends_it(number) for number in range(behind, min(end, behind + _SOON)))
        return self._is_all_work_in(behind, end)

    def _ends_it(self, at: int) -> bool:
        """Whether the script ends there, or a function that would do its work."""
        if self._is(at, "exit", "die"):
            return True
        if not self._is(at, "return"):
            return False
        around = [name for name, (begin, end) in self._bodies.items() if begin <= at < end]
        return not around or not self._workers.isdisjoint(around)

    def _ends_statement(self, at: int) -> bool:
        """`$_GET[…] === … or exit;`."""
        begin = at - 1
        while begin > 0 and not self._is(begin - 1, ";", "{", "}"):
            begin -= 1
        condition = self._value(begin, at - 1)
        return condition.is_of_query and condition.truth is self._is(at - 1, "and", "&&")

    def _has_no_case(self, at: int) -> bool:
        """`switch ($_GET[…])`, or match, whose default does not do the work."""
        behind = group_end(self._tokens, at + 1)
        end = group_end(self._tokens, behind)
        if not self._value(at + 2, behind - 1).is_of_query or not self._is_all_work_in(behind, end):
            return False
        default = next((number for number in range(behind, end) if self._is(number, "default")), end)
        after = next((number for number in range(default, end) if self._is(number, "case")), end)
        return not any(default <= place < after for place in self._work)

    def _made_of_the_query(self, word: str, parts: Sequence[Sequence[Token]]) -> None:
        if not parts or not worth(parts[0], self._variables).is_of_query:
            return
        if word == "extract":
            self._variables.is_extracted = True
        elif len(parts) == 2 and len(parts[1]) == 1:
            self._variables.values[parts[1][0].text] = ()


def _takes_the_update(token: Token) -> bool:
    if token.kind is Kind.VARIABLE:
        return token.text == "$HTTP_RAW_POST_DATA"
    return token.kind is Kind.TEXT and token.text.lower() == "php://input"
