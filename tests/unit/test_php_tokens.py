"""The tokens of PHP: what counts as code, and what is only written there."""

from __future__ import annotations

import pytest

from scalable.lib.runners.php.tokens import Kind, tokens_of


def code(source: str) -> list[str]:
    return [token.text for token in tokens_of(source)]


def texts(source: str) -> list[str]:
    return [token.text for token in tokens_of(source) if token.kind is Kind.TEXT]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "php://input <b>'</b>",
        "<?xml version='1.0' encoding='php://input'?>",
        "<?php // 'php://input'",
        "<?php # 'php://input'\r\n",
        "<?php /* 'php://input' \n ' */",
        "<?php /* never closed 'php://input'",
        "<?php // ?> 'php://input'",
        "<?php #[Route('php://input', ['a' => [1]])]\n",
        "<?php __halt_compiler(); 'php://input'",
    ],
)
def test_what_is_no_code_has_no_texts(source: str):
    assert texts(source) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"<?php 'it\'s \\ \n';", [r"it's \ \n"]),
        (r'<?php "a\tb\"c\$d";', ['a\tb"c$d']),
        ("<?php b'x' . B\"y\";", ["x", "y"]),
        ("<?php <<<'END'\n $no {$no} 'x'\n ENDING\nEND;", [" $no {$no} 'x'\n ENDING"]),
        ("<?php <<<END\nplain\n  END . 'after';", ["plain", "after"]),
        ('<?php <<<"END"\r\nplain\r\nEND;', ["plain"]),
        ("<?php <<<END\nEND;", [""]),
        ("<?= 'shown' ?> 'html' <?php 'again'", ["shown", "again"]),
        ("<? 'short tag'", ["short tag"]),
        ("<?PHP 'upper case'", ["upper case"]),
        ("<?php // a ?> x <?php 'after the comment'", ["after the comment"]),
        ("<?php #[A] 'behind an attribute';", ["behind an attribute"]),
        ("<?php 'never closed", ["never closed"]),
    ],
)
def test_texts_are_what_php_takes_them_for(source: str, expected: list[str]):
    assert texts(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('<?php "$_GET[s]";', ["$_GET[s]", "$_GET", "[", "s", "]", ";"]),
        ('<?php "{$a["k"]}b";', ['{$a["k"]}b', "$a", "[", "k", "]", ";"]),
        ('<?php "{$a["}"]}";', ['{$a["}"]}', "$a", "[", "}", "]", ";"]),
        ('<?php "$o->name!";', ["$o->name!", "$o", "->", "name", ";"]),
        ("<?php <<<E\n{$x['y']}\nE;", ["{$x['y']}", "$x", "[", "y", "]", ";"]),
    ],
)
def test_variables_in_a_text_are_code_behind_it(source: str, expected: list[str]):
    assert code(source) == [*expected, ";"]


def test_backticks_are_no_text():
    assert texts("<?php `cat php://input`;") == []


def test_operators_and_names_are_whole():
    assert code("<?php \\A\\b::c !== $d?->e ?? 1.5e3;") == [
        "\\A\\b", "::", "c", "!==", "$d", "?->", "e", "??", "1.5e3", ";", ";"
    ]  # fmt: skip


def test_a_place_is_where_the_token_begins():
    source = "<?php\n  'here';"

    assert next(source[token.at :] for token in tokens_of(source)) == "'here';"


def test_braces_nested_too_deep_end_without_an_error():
    tokens_of("<?php " + '"{$a[' * 500)
