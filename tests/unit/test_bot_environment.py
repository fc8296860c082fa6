"""Which variables of the owner's environment a bot gets: its own, and none of our passwords."""

from __future__ import annotations

import pytest

from scalable.lib.runners.bot_environment import (
    ALL,
    OURS,
    bot_variables,
    php_environment,
    program_environment,
    take_out_ours,
)
from scalable.lib.setup.settings_table import SETTINGS

USUAL = {
    "PATH": "/opt/bin",
    "HOME": "/home/you",
    "LANG": "C.UTF-8",
    "TZ": "Asia/Jakarta",
    "BOT_TOKEN": "1:x",
    "PHP_INI_SCAN_DIR": "/ini",
}
UNUSUAL = {
    "HTTP_PROXY": "http://evil",
    "REQUEST_METHOD": "GET",
    "PHP_FCGI_CHILDREN": "4",
    "LD_PRELOAD": "/x.so",
    "QUERY_STRING": "-s",
    "SHOP_DB_PASSWORD": "the bot's own",
}
PASSWORDS = dict.fromkeys(OURS, "hush")
EVERYTHING = {**USUAL, **UNUSUAL, **PASSWORDS}
OF_PHP = {"BOT_WEBHOOK_SECRET": "hush"}  # in the header of its request as well


def test_all_our_passwords_are_known_here_but_the_bots_own_token() -> None:
    assert {setting.name for setting in SETTINGS if setting.secret} - set(OURS) == {"BOT_TOKEN"}


def test_a_program_gets_everything_but_our_passwords_as_it_always_did() -> None:
    assert program_environment(EVERYTHING) == {**USUAL, **UNUSUAL}
    assert program_environment(EVERYTHING, is_php=True) == {**USUAL, **UNUSUAL, **OF_PHP}


@pytest.mark.parametrize("is_php", [True, False])
def test_with_names_it_gets_those_and_what_every_program_needs(is_php: bool) -> None:
    passed = program_environment(EVERYTHING, ("SHOP_DB_PASSWORD", "ABSENT"), is_php)

    assert passed == {**USUAL, "SHOP_DB_PASSWORD": "the bot's own", **(OF_PHP if is_php else {})}


def test_php_under_a_web_server_gets_what_php_and_the_bot_need() -> None:
    assert php_environment(EVERYTHING, (ALL,)) == {**USUAL, **OF_PHP}
    assert bot_variables(EVERYTHING, (ALL,)) == {"BOT_TOKEN": "1:x", **OF_PHP}


def test_php_under_a_web_server_gets_what_its_owner_names() -> None:
    own = {"SHOP_DB_PASSWORD": "the bot's own"}

    assert php_environment(EVERYTHING, tuple(own)) == {**USUAL, **own, **OF_PHP}
    assert bot_variables(EVERYTHING, tuple(own)) == {"BOT_TOKEN": "1:x", **own, **OF_PHP}


@pytest.mark.parametrize("name", OURS)
def test_a_password_of_ours_passes_when_it_is_named(name: str) -> None:
    for passed in (
        program_environment(EVERYTHING, (ALL, name)),
        program_environment(EVERYTHING, (name,)),
        php_environment(EVERYTHING, (name,)),
    ):
        assert passed[name] == "hush"


def test_what_a_bot_in_our_own_process_inherits_has_them_taken_out() -> None:
    environment = dict(EVERYTHING)

    take_out_ours(environment, (ALL, "BOT_DB_PASS"))
    take_out_ours(environment, (ALL, "BOT_DB_PASS"))

    assert environment == {**USUAL, **UNUSUAL, "BOT_DB_PASS": "hush"}


def test_a_bot_always_has_a_path() -> None:
    for passed in (php_environment({}), program_environment({})):
        assert passed == {"PATH": "/usr/local/bin:/usr/bin:/bin"}
