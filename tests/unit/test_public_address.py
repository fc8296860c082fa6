"""Where people reach the bot, made out from addresses that were noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalable.lib.runners.php.public_address import ADDRESS_NOTE, AddressNote, PublicAddress, public_address
from scalable.lib.setup.data_folder import DataFolder

SCRIPT = Path("/home/you/www/shop/scalable/webhook_queue.py")
BOT = Path("/home/you/www/shop/bot.php")
WWW = Path("/home/you/www")
WEBHOOK = "https://shop.example/shop/scalable/webhook_queue.py"


@pytest.mark.parametrize(
    ("urls", "address"),
    [
        ([], PublicAddress()),
        ([WEBHOOK], PublicAddress("https", "shop.example", 443, WWW)),
        (
            ["https://shop.example:8443/scalable/webhook_queue.py"],
            PublicAddress("https", "shop.example", 8443, BOT.parent),
        ),
        (["https://shop.example/other/webhook_queue.py"], PublicAddress("https", "shop.example")),
        (["http://bot.test/x"], PublicAddress("http", "bot.test", 80)),
        (["https://[2001:db8::1]:88/x"], PublicAddress("https", "2001:db8::1", 88)),
        (
            [WEBHOOK, "https://old.example/shop/bot.php"],
            PublicAddress("https", "shop.example", 443, WWW, "/shop/bot.php"),
        ),
        (["https://old.example/shop/bot.php"], PublicAddress("https", "old.example", 443, WWW, "/shop/bot.php")),
        (["https://old.example/alias/bot.php"], PublicAddress("https", "old.example", 443, None, "/alias/bot.php")),
        (["https://old.example/alias/other.php"], PublicAddress("https", "old.example")),
    ],
)
def test_addresses_tell_host_site_and_path(urls: list[str], address: PublicAddress):
    assert public_address(urls, SCRIPT, BOT) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "ftp://shop.example/",
        "https:///x",
        "https://a:b:c/",
        "https://a b/",
        "https://a\r\nX: y/",
        "{",
    ],
)
def test_what_is_no_address_tells_nothing(url: str):
    assert public_address([url], SCRIPT, BOT) == PublicAddress()
    assert public_address([url, WEBHOOK], SCRIPT, BOT).host == "shop.example"


@pytest.mark.parametrize(
    ("address", "authority"),
    [
        (PublicAddress(host="a.b"), "a.b"),
        (PublicAddress("https", "a.b", 8443), "a.b:8443"),
        (PublicAddress("http", "a.b", 80), "a.b"),
        (PublicAddress("https", "2001:db8::1", 443), "[2001:db8::1]"),
    ],
)
def test_the_host_header_has_a_port_only_when_it_is_not_the_usual_one(address: PublicAddress, authority: str):
    assert address.authority == authority


def test_a_note_is_read_again_when_it_was_written_again(tmp_path: Path):
    folder = DataFolder(tmp_path)
    note = AddressNote(folder.address_note, SCRIPT, BOT)
    assert note.read() == PublicAddress()

    folder.remember_address(request="https://seen.example/x?secret=hush", before="")
    assert note.read().host == "seen.example"
    folder.remember_address(webhook=WEBHOOK)
    assert note.read() == PublicAddress("https", "shop.example", 443, WWW)

    assert "hush" not in folder.address_note.read_text()
    assert folder.address_note.stat().st_mode & 0o077 == 0


def test_the_same_addresses_are_not_written_again(tmp_path: Path):
    folder = DataFolder(tmp_path)
    folder.remember_address(webhook=WEBHOOK)
    before = folder.address_note.stat().st_ino

    folder.remember_address(webhook=WEBHOOK, before="")

    assert folder.address_note.stat().st_ino == before


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"webhook": 7}', "\xff"])
def test_a_note_that_holds_something_else_tells_nothing(tmp_path: Path, text: str):
    (tmp_path / ADDRESS_NOTE).write_bytes(text.encode("latin-1"))

    assert AddressNote(tmp_path / ADDRESS_NOTE, SCRIPT, BOT).read() == PublicAddress()
