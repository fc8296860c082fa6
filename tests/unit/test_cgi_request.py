"""What PHP is told about one webhook request, and what of the owner's environment reaches it."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import pytest

from scalable.lib.errors import BotMissing
from scalable.lib.runners.php.cgi_request import (
    WebRequest,
    check_php_bot,
    request_variables,
)
from scalable.lib.runners.php.public_address import PublicAddress

BOT = Path("/home/you/public_html/shop/bot.php")


def test_a_request_is_the_post_of_json_that_telegram_makes():
    variables = request_variables(BOT, WebRequest(), PublicAddress())

    assert variables["REQUEST_METHOD"] == "POST"
    assert variables["CONTENT_TYPE"] == "application/json"
    assert (variables["HTTPS"], variables["SERVER_PORT"]) == ("on", "443")
    assert (variables["GATEWAY_INTERFACE"], variables["SERVER_PROTOCOL"]) == ("CGI/1.1", "HTTP/1.1")
    assert variables["QUERY_STRING"] == ""
    assert variables["REDIRECT_STATUS"] == "200"
    assert "CONTENT_LENGTH" not in variables


def test_permission_to_compress_the_answer_is_not_passed_on():
    assert "HTTP_ACCEPT_ENCODING" not in request_variables(BOT, WebRequest(), PublicAddress())


@pytest.mark.parametrize(
    ("bot", "root", "address"),
    [
        ("/home/you/public_html/shop/bot.php", "/home/you/public_html", "/shop/bot.php"),
        ("/home/you/public_html/bot.php", "/home/you/public_html", "/bot.php"),
        ("/var/www/vhosts/example.com/httpdocs/b/t/bot.php", "/var/www/vhosts/example.com/httpdocs", "/b/t/bot.php"),
        ("/srv/htdocs/old/htdocs/x/bot.php", "/srv/htdocs/old/htdocs", "/x/bot.php"),
        ("/srv/bots/one/bot.php", "/srv/bots/one", "/bot.php"),
        ("/bot.php", "/", "/bot.php"),
    ],
)
def test_the_bot_finds_itself_where_the_panel_shows_it(bot: str, root: str, address: str):
    variables = request_variables(Path(bot), WebRequest(), PublicAddress())

    assert variables["SCRIPT_FILENAME"] == bot
    assert variables["DOCUMENT_ROOT"] == root
    assert variables["SCRIPT_NAME"] == variables["REQUEST_URI"] == address


def test_a_webhook_with_a_secret_brings_it_and_comes_from_telegram():
    variables = request_variables(BOT, WebRequest("s3cret_-"), PublicAddress())

    assert variables["HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN"] == "s3cret_-"
    assert ipaddress.ip_address(variables["REMOTE_ADDR"]) in ipaddress.ip_network("149.154.160.0/20")


def test_a_webhook_without_a_secret_could_be_called_by_anyone():
    variables = request_variables(BOT, WebRequest(), PublicAddress())

    assert "HTTP_X_TELEGRAM_BOT_API_SECRET_TOKEN" not in variables
    assert variables["REMOTE_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("name", ["bot.php", "bot.php8", "bot.phtml"])
def test_a_readable_php_script_is_a_bot(tmp_path: Path, name: str):
    (tmp_path / name).write_text("<?php")

    assert check_php_bot(tmp_path / name).st_size == 5


@pytest.mark.parametrize("name", ["bot.php", "x" * 300, "file/below", "."])
def test_a_missing_bot_is_told_with_its_path_and_the_setting(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")

    with pytest.raises(BotMissing, match=rf"^BOT_LEGACY_PATH: there is no bot at {tmp_path}"):
        check_php_bot(tmp_path / name)


@pytest.mark.parametrize("name", ["bot.py", "bot", "bot.php.bak"])
def test_a_file_that_php_would_only_show_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_text("print('hello')")

    with pytest.raises(BotMissing, match=r"is no \.php file, and the modes cgi and fastcgi run PHP only"):
        check_php_bot(tmp_path / name)


def test_a_bot_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By a stand-in for the question to the kernel: the tests may run as root, who may read everything."""
    bot = tmp_path / "bot.php"
    bot.write_text("<?php")
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (bot, os.R_OK))

    with pytest.raises(BotMissing, match=rf"bot\.php may not be read by user {os.geteuid()}"):
        check_php_bot(bot)


def test_the_query_and_the_address_are_those_of_the_bot_as_it_was():
    address = PublicAddress("https", "shop.example", 8443, Path("/home/you/www"), "/k ü/bot.php")

    variables = request_variables(Path("/home/you/www/shop/bot.php"), WebRequest(query="s=k&x=1"), address)

    assert variables["QUERY_STRING"] == "s=k&x=1"
    assert variables["REQUEST_URI"] == "/k%20%C3%BC/bot.php?s=k&x=1"
    assert (variables["SCRIPT_NAME"], variables["DOCUMENT_ROOT"]) == ("/k ü/bot.php", "/home/you/www")
    assert (variables["HTTP_HOST"], variables["SERVER_NAME"]) == ("shop.example:8443", "shop.example")
    assert (variables["SERVER_PORT"], variables["HTTPS"]) == ("8443", "on")
    plain = request_variables(BOT, WebRequest(), PublicAddress("http", "bot.test", 80))
    assert ("HTTPS" in plain, plain["REQUEST_SCHEME"], plain["HTTP_HOST"]) == (False, "http", "bot.test")
