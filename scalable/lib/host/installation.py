"""An installation: its data folder and its queue, opened the same careful way by every process."""

from __future__ import annotations

import threading
from typing import Optional

from scalable.lib.host.data_folder import DataFolder
from scalable.lib.queue.address import DatabaseAddress
from scalable.lib.queue.database_queue import DatabaseQueue, open_database
from scalable.lib.queue.retry_policy import RetryPolicy


class Installation:
    """Opens the queue once per process. Safe to share between threads."""

    def __init__(
        self, data_folder: DataFolder, address: DatabaseAddress, table: str, retry_policy: RetryPolicy
    ) -> None:
        self.data_folder = data_folder
        self.address = address
        self._table = table
        self._retry_policy = retry_policy
        self._queue: Optional[DatabaseQueue] = None
        self._lock = threading.Lock()

    def queue(self) -> DatabaseQueue:
        """The queue, not connected yet. Raises ConfigurationError when the data folder is unusable or when this
        installation is known to use another database."""
        with self._lock:
            if self._queue is None:
                database = open_database(self.address)
                self.data_folder.prepare()
                self.data_folder.remember_database(f"table {self._table} in {database.identity}")
                self._queue = DatabaseQueue(database, self._table, self._retry_policy)
            return self._queue
