import asyncio
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import TaskDeferred
from tests.released_models import version
from tests.unit.model_store.contexts import context

from model_store.sensor import ModelVersionSensor
from model_store.trigger import ModelVersionTrigger
from modelyard.provider_info import connections
from modelyard.store import Store, StoreAddress


def connect(monkeypatch: pytest.MonkeyPatch, address: StoreAddress) -> None:
    for conn_id, connection in connections(address).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)


def deferred(monkeypatch: pytest.MonkeyPatch, address: StoreAddress, wanted: int) -> ModelVersionTrigger:
    """The trigger of a sensor that has to wait, as Airflow makes it anew in the triggerer."""
    connect(monkeypatch, address)
    sensor = ModelVersionSensor(task_id="wait", model="wine", version=wanted, deferrable=True, poke_interval=0.05)
    with pytest.raises(TaskDeferred) as raised:
        sensor.execute(context())
    path, arguments = raised.value.trigger.serialize()
    assert path == f"{ModelVersionTrigger.__module__}.{ModelVersionTrigger.__qualname__}"
    trigger = ModelVersionTrigger(**arguments)
    assert getattr(sensor, raised.value.method_name)(context(), {"version": wanted}) == wanted
    return trigger


async def first_event(trigger: ModelVersionTrigger) -> object:
    async for event in trigger.run():
        return event.payload
    return None


def test_the_trigger_fires_once_the_version_is_there(monkeypatch: pytest.MonkeyPatch, store: Store):
    trigger = deferred(monkeypatch, store.address, wanted=1)

    async def wait() -> object:
        waiting = asyncio.create_task(first_event(trigger))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(version, store, "wine", 1)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(wait()) == {"version": 1}


def test_a_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch, store: Store):
    trigger = deferred(monkeypatch, store.address, wanted=1)
    away = replace(store.address, mongo_uri="mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=50")
    connect(monkeypatch, away)

    async def wait() -> bool:
        waiting = asyncio.create_task(first_event(trigger))
        done, _ = await asyncio.wait([waiting], timeout=1)
        waiting.cancel()
        return bool(done)

    assert not asyncio.run(wait())
