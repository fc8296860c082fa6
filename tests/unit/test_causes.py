"""What of an error is shown to those who may not see people: the listed beginnings, and nothing else."""

from __future__ import annotations

import random
import re

import pytest

from scalable.lib.causes import HIDDEN, kind_of_cause
from scalable.lib.queue import maintenance, operator_actions
from scalable.lib.runners.judgement import judge
from scalable.lib.runners.run_result import End, RunResult, ScriptEnd, ran_too_long


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("exit code 1", "exit code 1"),
        ("exit code 65: the bot refuses this update\nAna 4711", "exit code 65"),
        ("exit code 0, HTTP status 500\nAna", "exit code 0"),
        ("HTTP status 500\nAna", "HTTP status 500"),
        ("PHP fatal error: Uncaught Exception: Ana in /home/x/bot.php:3 (exit code 255)", "PHP fatal error"),
        ("PHP recoverable fatal error: Ana", "PHP recoverable fatal error"),
        ("killed by SIGSEGV\nAna", "killed by SIGSEGV"),
        ("killed by signal 35", "killed by signal 35"),
        ("ValueError: no such chat 4711 (bot.py:17 in handle)", "ValueError"),
        ("ValueError (bot.py:17 in handle)", "ValueError"),
        ("KeyError", "KeyError"),
        ("reply not sent: Bad Request: chat not found", "reply not sent"),
        ("reply perhaps not sent: x; answered after 0.1 s, and worked on", "reply perhaps not sent"),
        ("reply refused: sendMessage to another chat than the update's (see BOT_REPLY_ANY)", "reply refused"),
        ("answered after 0.1 s, and worked on", "answered after 0.1 s"),
        ("worker srv1.example.com:99-ab/1 died or lost its database during attempt 2", "worker died"),
        ("BOT_LEGACY_PATH: there is no bot at /home/ana/bot.php", "the bot could not be started"),
        ("php-cgi died of SIGKILL while running the bot", "php-cgi"),
        (maintenance.TOO_LATE, "not run"),
        (operator_actions.SKIPPED, "skipped by hand"),
        (operator_actions.DELETED, "deleted by hand"),
    ],
)
def test_what_is_ours_is_told(error: str, kind: str):
    assert kind_of_cause(error) == kind
    assert kind_of_cause(kind) == kind, "shown once more it stays the same"


@pytest.mark.parametrize(
    "error",
    [
        "",
        "Ana: hello",
        "Hello Ana 4711",
        "[2026-01-01] INFO handled 4711",
        "AnaError: x",
        "exit codex Ana",
        "exit code 5550100123",
        "HTTP status 5550100",
        "ValueErrorAna: x",
        "the bot Ana",
        "stopped after 5550100123 s",
        "killed by Ana",
        "killed by SIGANA4711",
        "reply from Ana",
        "4711 exit code 1",
        "\u202eexit code 1",
        HIDDEN,
    ],
)
def test_whatever_else_an_error_begins_with_is_hidden(error: str):
    assert kind_of_cause(error) == HIDDEN


@pytest.mark.parametrize("end", list(End))
def test_every_way_a_run_ends_says_nothing_the_bot_printed(end: End):
    secret = "Ana-4711"
    for code, status, fatal in ((1, 500, ""), (255, 302, f"PHP fatal error: Uncaught {secret}"), (65, 400, "")):
        report = ScriptEnd(fatal_error=fatal)
        result = RunResult(end, 1.0, f"{secret}: x", code, status, output=secret, report=report)
        assert "Ana" not in kind_of_cause(judge(result).explanation())
    assert kind_of_cause(judge(ran_too_long(60, 60.0, secret)).explanation()) == "stopped after 60 s"


def test_of_texts_of_chance_nothing_is_shown_that_is_not_listed():
    chance = random.Random(20260101)
    starts = (
        "exit code ",
        "HTTP status ",
        "killed by ",
        "reply ",
        "worker ",
        "PHP ",
        "ValueError",
        "stopped after ",
        "",
    )
    shape = re.compile(
        rf"{HIDDEN}|exit code -?\d{{1,4}}|HTTP status \d{{3}}|killed by (SIG[A-Z]{{3,6}}|signal \d{{1,3}})"
        r"|reply (refused|not sent|perhaps not sent)|worker died|PHP (recoverable )?(fatal|parse) error|ValueError"
        r"|stopped after [\d.]{1,8} s",
        re.ASCII,
    )
    for _ in range(5000):
        text = "".join(chance.choice("aAna 4711:\n\t-.é😀SIGs()") for _ in range(chance.randrange(20)))
        assert shape.fullmatch(kind_of_cause(chance.choice(starts) + text))
