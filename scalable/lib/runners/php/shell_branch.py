"""What a bot does where it asks whether it was started by hand: take its update, refuse the web, or another thing.

Of the tokens of one file. Another thing may be a menu for its owner, so such a bot is not to be run in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Optional

from scalable.lib.runners.php.constant_text import group_end, statement_end
from scalable.lib.runners.php.tokens import Kind, Token

# An `if` that ends the script does so within so many tokens: a status, a header, a text.
SOON = 40
_STDIN = re.compile(r"php://stdin", re.IGNORECASE)
_BODY = re.compile(r"php://input", re.IGNORECASE)
# These take all of standard input, as an update is taken. A menu reads lines.
_TAKES_ALL = frozenset(("file_get_contents", "stream_get_contents"))
_NOT_WITH_THAT = frozenset(("exit", "die", "fgets"))
_ENDS = frozenset(("exit", "die"))
# Where the web is refused, there are these words alone.
_REFUSES = _ENDS | {"header", "http_response_code", "echo", "print", "fwrite", "stderr", "php_eol"}
_QUESTIONS = [{name, sign, "cli"} for name in ("PHP_SAPI", "\\PHP_SAPI", "php_sapi_name") for sign in ("===", "==")] + [
    {"defined", "STDIN"}
]
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_BRACKETS = _OPENING + _CLOSING


class Branch(Enum):
    """What follows such a question.

    NONE: nothing depends on it. TAKES_UPDATE: standard input is taken, all of it, for what the bot then works on.
    REFUSES_WEB: without a shell the bot ends. OTHER: what it is cannot be told.
    """

    NONE = "none"
    TAKES_UPDATE = "takes its update"
    REFUSES_WEB = "refuses the web"
    OTHER = "other"


def branch_at(tokens: Sequence[Token], at: int) -> Branch:
    """Of the question for the interface, such as `PHP_SAPI`, that is the token `at`."""
    begin = _statement_begin(tokens, at)
    condition = _condition(tokens, begin, at)
    if condition is None:
        statement = tokens[begin : statement_end(tokens, begin)]
        if _refuses_else(statement) and _is_outermost(tokens, begin):
            return Branch.REFUSES_WEB
        return Branch.TAKES_UPDATE if _takes_update(statement) else Branch.OTHER
    behind = condition.stop
    if _is(tokens, behind, "{"):
        block = tokens[behind + 1 : group_end(tokens, behind) - 1]
    else:
        block = tokens[behind : statement_end(tokens, behind)]
    if _takes_update(block):
        return Branch.TAKES_UPDATE
    is_refusal = _names_no_shell(tokens[condition.start : behind]) and _only_refuses(block)
    is_refusal = is_refusal and _is_outermost(tokens, begin)
    return Branch.REFUSES_WEB if is_refusal else Branch.OTHER


def argument_branch(tokens: Sequence[Token], at: int) -> Branch:
    """Of `$argv`, `$argc`, or the text of `$_SERVER['argv']`, that is the token `at`.

    A program that is given nothing but its update has no first argument, so what depends on that does not happen.
    """
    behind = at + 2 if tokens[at].kind is Kind.TEXT else at + 1  # of ['argv'] there is a bracket to pass
    is_element = _is(tokens, behind, "[") and behind + 1 < len(tokens) and tokens[behind + 1].kind is Kind.NUMBER
    if is_element and tokens[behind + 1].text != "0":
        return Branch.NONE
    return branch_at(tokens, at)


def _statement_begin(tokens: Sequence[Token], at: int) -> int:
    """Where its statement begins, out of every bracket that it is in."""
    depth, number = 0, at
    while number > 0:
        before = tokens[number - 1]
        if before.kind is Kind.OPERATOR:
            if before.text in _CLOSING and (before.text != "}" or depth):
                depth += 1
            elif before.text in _OPENING and depth:
                depth -= 1
            elif before.text in (";", "{", "}") and not depth:
                return number
        number -= 1
    return 0


def _condition(tokens: Sequence[Token], begin: int, at: int) -> Optional[range]:
    """The brackets of the `if` that begins there, when the token `at` is in them."""
    start = begin
    while start < at and tokens[start].kind is Kind.NAME and tokens[start].text.lower() in ("else", "elseif", "if"):
        start += 1
    if start == begin or not _is(tokens, start, "("):
        return None
    end = group_end(tokens, start)
    return range(start, end) if at < end else None


def _is_outermost(tokens: Sequence[Token], at: int) -> bool:
    """Whether it is in no function and no block."""
    braces = [token.text for token in tokens[:at] if token.kind is Kind.OPERATOR and token.text in ("{", "}")]
    return braces.count("{") == braces.count("}")


def _takes_update(statements: Sequence[Token]) -> bool:
    """Whether it is one statement, which keeps or returns all of standard input."""
    body = statements[:-1] if _is(statements, len(statements) - 1, ";") else statements
    if not body or _has(body, ";", "{", "}"):
        return False
    words = {token.text.lower() for token in body if token.kind is Kind.NAME}
    texts = [token.text for token in body if token.kind is Kind.TEXT]
    takes_all = words & _TAKES_ALL or ("fopen" in words and any(map(_BODY.match, texts)))
    is_of_stdin = "stdin" in words or any(map(_STDIN.match, texts))
    keeps = body[0].text.lower() == "return" or _has(body, "=", "??=")
    return bool(takes_all and is_of_stdin and keeps and not words & _NOT_WITH_THAT)


def _names_no_shell(condition: Sequence[Token]) -> bool:
    """`PHP_SAPI !== 'cli'`, `php_sapi_name() != "cli"`, `!defined('STDIN')`, and nothing else that would count."""
    operators = [token.text for token in condition if token.kind is Kind.OPERATOR and token.text not in _BRACKETS]
    texts = [token.text for token in condition if token.kind is Kind.TEXT]
    names = [token for token in condition if token.kind in (Kind.NAME, Kind.VARIABLE)]
    if len(names) != 1 or len(texts) != 1:
        return False
    return (operators in (["!=="], ["!="], ["<>"]) and texts == ["cli"]) or (operators == ["!"] and texts == ["STDIN"])


def _refuses_else(statement: Sequence[Token]) -> bool:
    """`PHP_SAPI === 'cli' or die('…');`."""
    for at in range(len(statement)):
        if _is(statement, at, "or", "OR", "||"):
            asked = {token.text for token in statement[:at] if token.text not in _BRACKETS}
            return asked in _QUESTIONS and _only_refuses(statement[at + 1 :])
    return False


def _only_refuses(block: Sequence[Token]) -> bool:
    """Whether it ends the script, and does nothing but say so before."""
    words = {token.text.lower() for token in block if token.kind is Kind.NAME}
    is_short = len(block) <= SOON and all(token.kind is not Kind.VARIABLE for token in block)
    return is_short and words <= _REFUSES and bool(words & _ENDS)


def _has(tokens: Sequence[Token], *texts: str) -> bool:
    return any(token.kind is Kind.OPERATOR and token.text in texts for token in tokens)


def _is(tokens: Sequence[Token], at: int, *texts: str) -> bool:
    if not 0 <= at < len(tokens):
        return False
    return tokens[at].kind in (Kind.OPERATOR, Kind.NAME) and tokens[at].text in texts
