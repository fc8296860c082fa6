"""Opens what an installation stores, its data folder and its queue, the same way in every process."""

from __future__ import annotations

import threading
from typing import Optional

from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.setup.config import Config
from scalable.lib.setup.data_folder import DataFolder


class Storage:
    """Opens the queue once per process. Safe to share between threads."""

    def __init__(self, config: Config) -> None:
        self.data_folder = DataFolder(config.data_dir)
        self._config = config
        self._queue: Optional[DatabaseQueue] = None
        self._lock = threading.Lock()

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
