"""The API server's one open store."""

from __future__ import annotations

import threading

from model_store.hook import ModelStoreHook
from modelyard.store import Store, StoreAddress


class SharedStore:
    """Keeps a store open between requests, and opens another one when the connection names another address."""

    def __init__(self, conn_id: str) -> None:
        self._hook = ModelStoreHook(conn_id)
        self._lock = threading.Lock()
        self._open: tuple[StoreAddress, Store] | None = None

    def get(self) -> Store:
        """Return the store; safe for threads.

        Raises:
            AirflowNotFoundException: the connection does not exist; StoreError: one of its fields can't be right.
        """
        address = self._hook.address()
        with self._lock:
            if self._open is None or self._open[0] != address:
                self.close()
                self._open = (address, Store.open(address))
            return self._open[1]

    def close(self) -> None:
        """Close it, if it is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None
