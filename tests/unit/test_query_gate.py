"""F2: where a file does nothing without its query, and where a query only adds something."""

from __future__ import annotations

import pytest

from scalable.lib.runners.php.query_gate import query_gate
from scalable.lib.runners.php.tokens import tokens_of

WORK = "$u = file_get_contents('php://input');"


def is_gate(code: str) -> bool:
    return query_gate(tokens_of(f"<?php {code}")) is not None


@pytest.mark.parametrize(
    "code",
    [
        f"if ($_GET['s'] !== 'k') exit; {WORK}",
        f"if (!$u || !isset($_GET['s'])) {{ header('X: y'); return; }} {WORK}",
        f"$s = $_GET['s'] ?? ''; $t = trim($s); if ($t != 'k') die; {WORK}",
        f"isset($_GET['s']) or exit; {WORK}",
        f"!isset($_GET['s']) && exit; {WORK}",
        f"extract($_GET); if (!isset($s)) exit; {WORK}",
        f"parse_str($_SERVER['QUERY_STRING'], $q); empty($q['s']) and die; {WORK}",
        f"function may() {{ return isset($_GET['s']); }} if (!may()) exit; {WORK}",
        f"if (sha1($_GET['s']) !== $hash) exit; {WORK}",
        f"if ($_GET['s'] == 'k') {{ {WORK} }}",
        f"if ($_GET['s'] == 'k') run(); function run() {{ {WORK} }}",
        "if (isset($_GET['s'])) require 'bot.php';",
        f"switch ($_GET['do']) {{ case 'hook': {WORK} break; case 'x': y(); }}",
        f"echo match ($_GET['do'] ?? '') {{ 'hook' => run(), default => '' }}; function run() {{ {WORK} }}",
    ],
)
def test_f2_a_file_that_does_nothing_without_its_query(code: str) -> None:
    """F2: it ends, or its work is behind a condition."""
    assert is_gate(code)


@pytest.mark.parametrize(
    "code",
    [
        WORK,
        f"if (isset($_GET['setup'])) {{ setWebhook(); exit; }} {WORK}",
        "if (isset($_GET['setup'])) { require 'setup.php'; exit; } require 'bot.php';",
        f"$do = $_GET['do'] ?? 'bot'; if ($do !== 'bot') exit; {WORK}",
        f"if (isset($_GET['log'])) {{ save({WORK[5:-1]}); }} {WORK}",
        f"if (isset($_GET['s'])) {{ {WORK} }} else {{ {WORK} }}",
        f"switch ($_GET['do'] ?? '') {{ case 'info': echo 1; break; default: {WORK} }}",
        f"function number() {{ if (empty($_GET['n'])) return 1; return $_GET['n']; }} {WORK}",
        f"$_GET['off'] && exit; {WORK}",
        f"$s = $_GET['s']; $s = 'k'; if ($s !== 'k') exit; {WORK}",
        f"if (!$u) exit; {WORK} echo $_GET['x'];",
        f"if (($_GET['s'] ?? '') !== 'k') throw new Exception('no'); {WORK}",
    ],
)
def test_f2_a_file_that_takes_its_update_without_a_query(code: str) -> None:
    """F2: the other way round; what ends with an exception has failed, and is seen."""
    assert not is_gate(code)
