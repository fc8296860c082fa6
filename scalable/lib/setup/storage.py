"""Opens what an installation stores, its data folder and its queue, the same way in every process."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Optional

from scalable.lib.logs import event
from scalable.lib.queue.bare_rows import adopt_bare_rows
from scalable.lib.queue.bot_identity import BotIdentity, confirm_bot
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.setup.config import Config
from scalable.lib.setup.data_folder import DataFolder
from scalable.lib.setup.left_behind import LeftBehind, find_left_behind

log = logging.getLogger(__name__)


class Storage:
    """Opens the queue once per process. Safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self.data_folder = DataFolder(config.data_dir)
        self._config = config
        self._queue: Optional[DatabaseQueue] = None
        self._lock = threading.Lock()
        self._is_own = False

    def queue(self) -> DatabaseQueue:
        """The queue, not connected yet.

        Raises ConfigurationError when the data folder is unusable or when this installation uses another
        database.
        """
        with self._lock:
            if self._queue is None:
                config = self._config
                database = open_database(config.database)
                self.data_folder.prepare()
                self.data_folder.remember_database(f"table {config.queue_table} in {database.identity}")
                self._queue = DatabaseQueue(database, config.queue_table, config.retry_policy)
            return self._queue

    def own_queue(self) -> DatabaseQueue:
        """The same for a process that stores updates or runs the bot: its table is not that of another bot.

        Makes the tables if need be, and adopts what the door in PHP has stored by itself. Raises ConfigurationError
        naming both bots, and DatabaseUnavailable.
        """
        queue = self.queue()
        if not self._is_own:
            doubt = confirm_bot(queue.table, self.bot_identity())
            if doubt is not None:
                log.warning(event("bot of the table looked at", cause=doubt))
            adopt_bare_rows(queue.table, self._config.queue_order)
            self._is_own = True
        return queue

    def left_behind(self) -> Optional[LeftBehind]:
        """Updates that wait where nobody looks any more, since the queue was moved to a server."""
        return find_left_behind(self.data_folder.embedded_database, self._config.database, self._config.queue_table)

    def bot_identity(self) -> BotIdentity:
        """Which bot this installation is for, as far as its settings say."""
        number = self._config.bot_token.partition(":")[0]
        return BotIdentity(number, str(self._config.scalable_folder), socket.gethostname())
