"""Who else can replace the bot or the settings: the check looks at the bot's file and at every folder above."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalable.lib.setup.finding import Finding, Verdict
from scalable.lib.setup.place_check import check_places
from tests.support.other_user import as_another_user, public_folder


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a site in it: home/site/bot.php beside home/site/scalable."""
    with public_folder() as folder:
        (folder / "site" / "scalable").mkdir(parents=True)
        (folder / "site" / "bot.php").write_text("<?php")
        yield folder


def found(home: Path) -> list[Finding]:
    site = home / "site"
    return check_places(site / "bot.php", site / "scalable", [site / "scalable" / ".htdata"])


def test_a_site_that_only_its_owner_may_write_is_well(home: Path) -> None:
    assert found(home) == []


@pytest.mark.parametrize(
    ("open_one", "mode"),
    [("site/bot.php", 0o666), ("site", 0o777), (".", 0o777), ("site", 0o773), ("site/bot.php", 0o602)],
)
def test_what_a_stranger_can_replace_is_named_with_the_command_that_helps(home: Path, open_one: str, mode: int) -> None:
    path = home / open_one
    path.chmod(mode)
    assert as_another_user(lambda: replace_bot(home)) == "replaced"

    [finding] = found(home)

    assert finding.verdict is Verdict.ERROR
    assert f"{path}, mode {mode:o}: others may write here" in finding.line
    assert f"chmod go-w {path}" in finding.line


def replace_bot(home: Path) -> str:
    """By whatever way is open; what is renamed gets its name back."""
    site, bot = home / "site", home / "site" / "bot.php"
    for way in (
        lambda: os.close(os.open(bot, os.O_WRONLY)),
        lambda: bot.rename(site / "was.php").rename(bot),
        lambda: site.rename(home / "was").rename(site),
    ):
        try:
            way()
        except PermissionError:
            continue
        return "replaced"
    return "nothing helped"


def test_where_the_group_may_write_it_is_a_warning(home: Path) -> None:
    """As every home where each user has a group of his own."""
    (home / "site").chmod(0o775)

    [finding] = found(home)

    assert (finding.verdict, "its group may write here" in finding.line) == (Verdict.WARNING, True)


def test_a_folder_with_the_sticky_bit_lets_nobody_replace_what_is_ours(home: Path) -> None:
    home.chmod(0o1777)
    assert as_another_user(lambda: replace_bot(home)) == "nothing helped"

    assert found(home) == []


def test_a_folder_of_somebody_else_above_is_named(home: Path) -> None:
    os.chown(home, 1, 1)

    [finding] = found(home)

    assert f"{home} belongs to daemon" in finding.line


def test_a_link_on_the_way_is_looked_at_from_both_ends(home: Path) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    (home / "site" / "bot.php").rename(elsewhere / "bot.php")
    (home / "site" / "bot.php").symlink_to(elsewhere / "bot.php")

    assert [str(elsewhere) in finding.line for finding in found(home)] == [True]


def test_a_bot_that_is_missing_is_told_by_another_check(home: Path) -> None:
    (home / "site" / "bot.php").unlink()

    assert found(home) == []
    assert check_places(None, home / "site" / "scalable") == []
