"""Whole installations on real parts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.apache import apache_available
from tests.support.databases import Servers
from tests.support.need import need
from tests.support.site import Site

# Short delays, so that a test of retries takes seconds; the documented ones are tested with an injected clock.
QUICK = {"BOT_JOB_RETRY_BASE": "1", "BOT_JOB_RETRY_MAX": "2", "BOT_WORKER_SLEEP": "0.1"}


def database_settings(servers: Servers, name: str) -> dict[str, str]:
    """The settings that put an installation's queue on a fresh database; none for SQLite."""
    if name == "sqlite":
        return {}
    address = servers.fresh_database(name)
    return {
        "BOT_DB_HOST": f"127.0.0.1:{address.port}",
        "BOT_DB_NAME": address.database,
        "BOT_DB_USER": address.user,
        "BOT_DB_PASS": address.password,
    }


@pytest.fixture
def make_site(servers: Servers) -> Iterator[Callable[..., Site]]:
    """Makes installations: make_site(bot, database, NAME=value …).

    Their folder is not tmp_path: pytest closes that to other users whenever another run of it begins.
    """
    need(apache_available(with_php=True))
    sites: list[Site] = []
    home = Path(tempfile.mkdtemp(prefix="hosts-"))
    home.chmod(0o711)

    def make(bot: Path, database: str, allow_override: str = "All", **settings: str) -> Site:
        folder = home / f"host{len(sites)}"
        folder.mkdir()
        sites.append(
            Site(folder, bot, {**QUICK, **database_settings(servers, database), **settings}, allow_override)
        )
        return sites[-1]

    yield make
    for site in sites:
        site.stop()
    shutil.rmtree(home)
