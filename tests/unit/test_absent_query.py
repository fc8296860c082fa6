"""F2: what a condition of PHP is worth when the request has no query."""

from __future__ import annotations

import pytest

from scalable.lib.runners.php.absent_query import UNKNOWN, Variables, worth
from scalable.lib.runners.php.tokens import tokens_of


def of(expression: str) -> tuple[object, bool]:
    """Its truth, and whether the query had a part in it."""
    found = worth(tokens_of(f"<?php {expression}")[:-1], Variables())
    return found.truth, found.is_of_query


@pytest.mark.parametrize(
    ("expression", "is_true"),
    [
        ("$_GET['s'] !== 'k'", True),
        ("$_GET['s'] == ''", True),
        ("$_GET['s'] === ''", False),
        ("($_GET['s'] ?? '') === ''", True),
        ("$_GET['s'] === null", True),
        ("$_GET == []", True),
        ("!$_GET", True),
        ("@$_REQUEST['s'] != KEY", True),
        ("$_GET['s'] === $config['key']", False),
        ("isset($_GET['s'], $x)", False),
        ("!isset($_GET['s']) || $_GET['s'] !== 'k'", True),
        ("isset($_GET['s']) and $_GET['s'] === 'k'", False),
        ("empty($_GET['s'])", True),
        ("!($_GET['s'] ?? false)", True),
        ("$_GET['s'] ? true : false", False),
        ("$_GET['s'] ?: 'k'", True),
        ("hash_equals('k', (string) ($_GET['s'] ?? ''))", False),
        ("in_array($_GET['s'] ?? '', ['a', 'b'], true)", False),
        ("strcmp('k', $_GET['s'])", True),
        ("strlen(trim($_GET['s'])) < 1", True),
        ("count($_GET) > 0", False),
        ("array_key_exists('s', $_GET)", False),
        ("is_null($_GET['s'])", True),
        ("password_verify($_GET['s'] ?? '', $hash)", False),
        ("filter_input(INPUT_GET, 's') === 'k'", False),
        ("filter_has_var(INPUT_GET, 's')", False),
        ("getenv('QUERY_STRING') === 's=k'", False),
        ("$_SERVER['QUERY_STRING'] == 's=k'", False),
        ("$GLOBALS['_GET']['s'] == 'k'", False),
        ("($s = $_GET['s'] ?? '') !== 'k' && !$s", True),
        ("$update && $_GET['s']", False),
        ("!$update && !isset($_GET['s'])", None),
        ("md5($_GET['s']) === $hash", None),
        ("my_own($_GET['s'])", None),
        ("\"x$_GET[s]\" === 'xk'", None),
        ("new Key($_GET['s'])", None),
        ("$_GET['s'] ===", None),
        ("(" * 3000 + "$_GET['s']", None),
    ],
)
def test_f2_what_a_condition_with_the_query_is_worth_without_one(expression: str, is_true: object) -> None:
    """F2: the keys that people compare, in the ways they do."""
    assert of(expression) == (is_true, True)


@pytest.mark.parametrize(
    "expression",
    ["$update['message'] === ''", "empty($x)", "$_POST['s'] == 'k'", "getenv('KEY')", "$_SERVER['HTTP_HOST']"],
)
def test_a_condition_without_the_query_is_none_of_it(expression: str) -> None:
    assert not of(expression)[1]


def test_a_variable_that_is_set_anew_is_of_the_query_no_more() -> None:
    variables = Variables()
    for code in ("$s = $_GET['s']", "$t = $s . 'x'", "$s = 'k'"):
        worth(tokens_of(f"<?php {code}")[:-1], variables)

    assert variables.values == {"$t": UNKNOWN}
