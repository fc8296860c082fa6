"""Finding PHP: which program is taken, by name or without, and what is said when there is none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.runners.php.find_php import (
    CGI,
    CLI,
    Php,
    ask_php,
    extensions_of,
    find_php,
    forget_php,
    mysql_socket,
    names_in,
    php_cgi_like,
)
from scalable.lib.runners.php.php_ini import can_read, forget_settings, ini_values
from tests.support.generators.bots import shell_bot
from tests.support.need import need

VERSION = "8.1.2"


def fake_php(folder: Path, name: str, interface: str, version: str = VERSION) -> str:
    """A program that introduces itself as PHP; serving a request, php-cgi would take the question for one."""
    folder.mkdir(exist_ok=True, parents=True)
    says = f"PHP {version}-1ubuntu ({interface}) (built: Jan  1 2025)"
    return str(shell_bot(folder, f'[ -z "$REQUEST_METHOD" ] && [ "$1" = -v ] && echo "{says}"', name))


@pytest.fixture(autouse=True)
def _php_is_looked_for_anew() -> None:
    find_php.cache_clear()


def test_each_interface_finds_the_program_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cli, cgi = fake_php(tmp_path, "php", CLI), fake_php(tmp_path, "php-cgi", CGI)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_php() == Php(cli, VERSION, CLI)
    assert find_php(interface=CGI) == Php(cgi, VERSION, CGI)


def test_a_php_cgi_that_is_called_php_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on hosts whose `php` is no command-line program."""
    fake_php(tmp_path, "php-cgi", "litespeed")
    php = fake_php(tmp_path, "php", CGI)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PLACES", ())
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PATTERNS", ())

    assert find_php(interface=CGI).path == php


@pytest.mark.parametrize(
    "place",
    [
        "opt/cpanel/ea-php82/root/usr/bin/php-cgi",
        "opt/alt/php82/usr/bin/php-cgi",
        "opt/plesk/php/8.2/bin/php-cgi",
        "usr/local/php82/bin/php-cgi",
        "usr/local/php82/bin/php-cgi82",
        "usr/bin/php-cgi8.2",
    ],
)
def test_php_cgi_is_found_where_hosts_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    folder, _, name = place.rpartition("/")
    newest = fake_php(tmp_path / folder, name, CGI)
    fake_php(tmp_path / folder.replace("82", "74").replace("8.2", "7.4"), name.replace("2", "1"), CGI)
    patterns = tuple(
        f"{str(tmp_path).lstrip('/')}/{pattern}"
        for pattern in (
            "opt/cpanel/ea-php*/root/usr/bin/{name}",
            "opt/alt/php*/usr/bin/{name}",
            "opt/plesk/php/*/bin/{name}",
            "usr/local/php*/bin/{name}",
            "usr/local/php*/bin/{name}[0-9]*",
            "usr/bin/{name}[0-9]*",
        )
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PLACES", ())
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PATTERNS", patterns)

    assert find_php(interface=CGI).path == newest


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("php", "php-cgi"),
        ("php8.2", "php-cgi8.2"),
        ("php82", "php-cgi82"),
    ],
)
def test_the_name_of_the_command_line_program_leads_to_the_php_cgi_beside_it(tmp_path: Path, name: str, beside: str):
    named, wanted = fake_php(tmp_path, name, CLI), fake_php(tmp_path, beside, CGI)

    assert find_php(named, CGI) == Php(wanted, VERSION, CGI)


def test_it_leads_there_behind_a_symbolic_link_too(tmp_path: Path):
    wanted = fake_php(tmp_path / "ea-php82", "php-cgi", CGI)
    link = tmp_path / "php"
    link.symlink_to(fake_php(tmp_path / "ea-php82", "php", CLI))

    assert find_php(str(link), CGI).path == wanted


def test_a_php_cgi_of_another_version_beside_it_is_not_the_one_that_was_named(tmp_path: Path):
    named = fake_php(tmp_path, "php", CLI)
    fake_php(tmp_path, "php-cgi", CGI, "7.4.33")

    with pytest.raises(BotMissing) as raised:
        find_php(named, CGI)

    assert str(raised.value) == (
        f"BOT_PHP_BINARY='{named}': expected php-cgi, "
        "it is cli of PHP 8.1.2, and no php-cgi of that version is beside it"
    )


@pytest.mark.parametrize(
    ("interface", "words"),
    [
        (CLI, "PHP was not found: set BOT_PHP_BINARY to its command-line program"),
        (CGI, "php-cgi was not found: install it (apt install php-cgi, dnf install php-cgi), or set BOT_PHP_BINARY"),
    ],
)
def test_when_there_is_none_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interface: str, words: str
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PLACES", ())
    monkeypatch.setattr("scalable.lib.runners.php.find_php.PATTERNS", ())

    with pytest.raises(BotMissing) as raised:
        find_php(interface=interface)

    assert str(raised.value).startswith(words)


def test_it_is_asked_outside_of_the_request_this_process_may_be_serving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Given a worker started by a URL: php-cgi would take the question for a request of that URL."""
    monkeypatch.setenv("REQUEST_METHOD", "GET")

    assert ask_php(fake_php(tmp_path, "php-cgi", CGI)) is not None


def test_the_answer_is_kept_and_a_failure_is_not(tmp_path: Path):
    named = str(tmp_path / "php")
    with pytest.raises(BotMissing):
        find_php(named)
    fake_php(tmp_path, "php", CLI)

    found = find_php(named)
    (tmp_path / "php").unlink()

    assert find_php(named) == found


# A folder where somebody else may have left a php.ini, such as /tmp: php-cgi loads what that names


@pytest.mark.parametrize(
    "ask",
    [
        lambda php: ask_php(php.path),
        extensions_of,
        lambda php: names_in(php, frozenset({"date"})),
        mysql_socket,
        lambda php: ini_values(php.path, ()),
        lambda php: can_read(php, "/", Path(__file__), ()),
        lambda _: find_php("php-cgi", CGI),
        lambda php: php_cgi_like(Php("/no/php", php.version, CLI)),
    ],
    ids=["version", "extensions", "names", "socket", "settings", "may read", "by name", "like another"],
)
def test_a_php_ini_in_the_working_directory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Php], object]
):
    need(None if shutil.which("php-cgi") else "php-cgi is not installed")
    php = ask_php(str(shutil.which("php-cgi")))
    assert php is not None
    marker = tmp_path / "planted"
    (tmp_path / "php.ini").write_text(f"log_errors=1\nerror_log={marker}\nextension={tmp_path}/planted.so\n")
    monkeypatch.chdir(tmp_path)
    subprocess.run([php.path, "-v"], capture_output=True, check=True)
    assert "planted.so" in marker.read_text(), "this PHP reads no php.ini of the working directory"
    marker.unlink()
    forget_php()
    forget_settings()

    ask(php)

    assert not marker.exists()


def test_a_php_that_is_named_from_the_working_directory_is_found_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    php = fake_php(tmp_path / "bin", "php", CLI)
    monkeypatch.chdir(tmp_path)

    assert find_php("bin/php").path == php
