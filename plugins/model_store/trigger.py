"""The waiting of :class:`model_store.sensor.ModelVersionSensor`, in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from model_store.hook import ModelStoreHook
from modelyard.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from modelyard.store import Store


class ModelVersionTrigger(BaseTrigger):
    """Fires once, with ``{"version": number}``, when the version is there.

    A store that cannot be reached for a while is waited for: the sensor's timeout ends the wait.
    """

    def __init__(
        self, model: str, alias: str | None, version: int | None, model_store_conn_id: str, poll_seconds: float
    ) -> None:
        super().__init__()
        self.model = model
        self.alias = alias
        self.version = version
        self.model_store_conn_id = model_store_conn_id
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return this trigger as Airflow keeps it."""
        arguments = ("model", "alias", "version", "model_store_conn_id", "poll_seconds")
        return "model_store.trigger.ModelVersionTrigger", {name: getattr(self, name) for name in arguments}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look every ``poll_seconds``, in a thread: neither the driver nor a slow server holds the triggerer up."""
        from modelyard.store import Store

        # Airflow's own thread helper: a connection is asked for over the triggerer's one channel.
        address = await sync_to_async(ModelStoreHook(self.model_store_conn_id).address)()
        store = await asyncio.to_thread(Store.open, address)
        try:
            while True:
                await asyncio.sleep(self.poll_seconds)
                try:
                    found = await asyncio.to_thread(found_version, store, self.model, self.alias, self.version)
                except Unavailable as error:
                    self.log.warning("%s", error)
                    continue
                if found is not None:
                    yield TriggerEvent({"version": found})
                    return
        finally:
            await asyncio.to_thread(store.close)


def found_version(store: Store, model: str, alias: str | None, version: int | None) -> int | None:
    """Return the version that is waited for, None while it isn't there.

    Args:
        store: to look in.
        model: the model's name.
        alias: the alias that must point to it; None: it must only be registered.
        version: its number; None: any, the newest if no alias is named.
    """
    if alias is not None:
        kept = store.aliases.get(model, alias)
        current = None if kept is None else kept.version
        return current if version in (None, current) else None
    if version is None:
        newest = store.versions.find(name=model, limit=1).versions
        return newest[0].version if newest else None
    try:
        return store.versions.get(model, version).version
    except NotFound:
        return None
