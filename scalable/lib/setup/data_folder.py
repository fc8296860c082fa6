"""The data folder: private, writable, with the files that all processes of one installation share.

Every name in it starts with `.ht`, which web servers refuse to serve even where they ignore `.htaccess`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Optional

from scalable.lib.errors import ConfigurationError
from scalable.lib.ingest.pool_notification import NotificationSocket, notify_pool, open_notification_socket
from scalable.lib.runners.php.public_address import ADDRESS_NOTE, noted_addresses
from scalable.lib.setup.files import mode_of, user_name, write_file
from scalable.lib.setup.private_folder import FOR_OTHERS, make_private


class DataFolder:
    """One installation's folder. Safe to use from many processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.embedded_database = path / ".ht-queue.sqlite3"
        self.database_note = path / ".ht-database"
        self.pool_lock = path / ".ht-pool.lock"
        self.drain_lock = path / ".ht-tick.lock"
        self.finishing_lock = path / ".ht-finishing.lock"
        self.drain_log = path / ".ht-drain.log"
        self.notification_socket = path / ".ht-poke.sock"
        self.login_attempts = path / ".ht-logins"
        self.address_note = path / ADDRESS_NOTE
        self.monitor_token_file = path / ".ht-monitor-token"
        self._secret_file = path / ".ht-secret"
        self.secret_files = (self._secret_file.name, self.monitor_token_file.name)

    def prepare(self) -> None:
        """Make the folder, private to this user, or check the one that is there. Raises ConfigurationError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"BOT_DATA_DIR={str(self.path)!r}: the folder cannot be made ({error.strerror}); "
                f"make it yourself, owned by user {user_name(os.geteuid())}, or name another one"
            ) from error
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"BOT_DATA_DIR={str(self.path)!r}: user {user_name(os.geteuid())} may not write here; "
                "the web server, cron and the shell must all run as the folder's owner"
            )
        make_private(self.path)

    def others_may_enter(self) -> bool:
        """Whether other users of the machine can look into the folder, which is left so when it holds other things."""
        return bool(mode_of(self.path) & FOR_OTHERS)

    def remember_database(self, identity: str) -> None:
        """Note `identity` as this installation's database, or compare it with what is noted.

        Raises ConfigurationError naming both when they differ: one process would enqueue here and another work there.
        """
        noted = (self._read(self.database_note) or self._write_once(self.database_note, identity + "\n")).strip()
        if noted != identity:
            raise ConfigurationError(
                f"this process would use {identity}, but this installation uses {noted}: give every process the same "
                "BOT_DB_* settings (the settings file reaches the web server, cron and the shell alike; variables of "
                f"one of them do not). If you changed the database on purpose, delete {self.database_note}"
            )

    def remember_address(self, **urls: str) -> None:
        """Note addresses for the bot's request, by their names in public_address.ADDRESSES; an empty one tells nothing.

        Without their queries, which may be secrets. Raises OSError.
        """
        noted = noted_addresses(self.address_note)
        known = {**noted, **{name: url.partition("?")[0] for name, url in urls.items() if url}}
        if known != noted:
            write_file(self.address_note, json.dumps(known).encode())

    def notify_pool(self) -> None:
        """Tell the pool of this installation, if it runs on this machine, that there are new jobs."""
        notify_pool(self.notification_socket)

    def open_notifications(self) -> Optional[NotificationSocket]:
        """The socket the pool is notified through, for the pool itself; None when it cannot be opened."""
        return open_notification_socket(self.notification_socket)

    def secret(self) -> bytes:
        """32 random bytes, the same for every process of this installation, made at first use.

        Raises ConfigurationError when the file cannot be read or written, or holds something else.
        """
        kept = self._read(self._secret_file) or self._write_once(self._secret_file, secrets.token_hex(32))
        if not re.fullmatch("[0-9a-f]{64}", kept):
            raise ConfigurationError(f"{self._secret_file}: expected 64 hexadecimal digits; delete it, it is made anew")
        return bytes.fromhex(kept)

    def monitor_token(self, invent: bool = False) -> str:
        """The dashboard's password that this installation invented for its owner; empty when it has none.

        `invent`: make one now, if there is none. Raises ConfigurationError when the file cannot be read or written,
        or holds something else.
        """
        file = self.monitor_token_file
        kept = self._read(file)
        if kept is None and not invent:
            return ""
        if kept is None:
            kept = self._write_once(file, secrets.token_urlsafe(24) + "\n")
        if not re.fullmatch(r"[A-Za-z0-9_-]{16,256}\n?", kept, re.ASCII):
            raise ConfigurationError(
                f"{file}: expected 16 or more of A-Z a-z 0-9 _ -; delete it, it is made anew, or set BOT_MONITOR_TOKEN"
            )
        return kept.strip()

    def _read(self, path: Path) -> Optional[str]:
        """What the file holds; None when there is none yet."""
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read ({error})") from error

    def _write_once(self, path: Path, text: str) -> str:
        """What the file holds: `text` if this is the first process to write it, else what the first one wrote."""
        try:
            write_file(path, text.encode(), put_in_place=os.link)
        except FileExistsError:
            pass
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be written ({error.strerror})") from error
        return self._read(path) or ""
