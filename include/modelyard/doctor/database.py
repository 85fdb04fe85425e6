"""MongoDB: version, rights, round trip."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from modelyard.doctor import clock
from modelyard.doctor.finding import Finding
from modelyard.errors import Unavailable
from modelyard.store import Store, StoreAddress

SUBJECT = "MongoDB"
_PINGS = 5


def look(address: StoreAddress) -> Iterator[Finding]:
    """Log in, then write, read and delete a document in a collection of its own, as the pipeline's steps write."""
    with Store.open(address) as store, store.errors():
        client = store.mongo
        database = client[address.database]
        before = datetime.now(UTC)
        hello: dict[str, Any] = client.admin.command("hello")
        after = datetime.now(UTC)
        version = client.server_info()["version"]
        took = min(_timed_ping(database) for _ in range(_PINGS))

        probe = database[f"doctor_{secrets.token_hex(4)}"]
        try:
            probe.insert_one({"_id": 1, "text": "modelyard doctor"})
            probe.update_one({"_id": 1}, {"$set": {"read": True}})
            kept = probe.find_one({"_id": 1})
            probe.delete_one({"_id": 1})
        finally:
            probe.drop()
        place = f"{address.mongo_hosts}, database {address.database}"
        if kept is None or not kept["read"]:
            yield Finding(
                "failed",
                SUBJECT,
                f"{place} does not return what was written to it",
                "read from the primary: take readPreference and the like out of the MongoDB options",
            )
            return
        yield Finding(
            "ok",
            SUBJECT,
            f"{version} at {place}: written, read, deleted; {_kind(hello)}; round trip {took * 1e3:.1f} ms",
        )
        yield from clock.compare(SUBJECT, hello["localTime"].replace(tzinfo=UTC), before, after)


def servers(address: StoreAddress) -> set[tuple[str, int]]:
    """Return host and port of each server as clients see them: a replica set tells them, whatever the address says.

    Where none answers, those of the address are all there is.

    Raises:
        StoreError: the address cannot be one.
    """
    with Store.open(address) as store:
        try:
            with store.errors():
                store.mongo.admin.command("hello")
        except Unavailable:
            pass
        return {(host, port) for host, port in store.mongo.topology_description.server_descriptions() if port}


def _timed_ping(database: Any) -> float:
    before = time.perf_counter()
    database.command("ping")
    return time.perf_counter() - before


def _kind(hello: dict[str, Any]) -> str:
    if "setName" in hello:
        return f"replica set {hello['setName']} of {len(hello.get('hosts', ()))}"
    if hello.get("msg") == "isdbgrid":
        return "sharded"
    return "standalone: nothing takes over when it fails"
