"""All that runs leave behind, place by place: in Airflow, in the model store, and in a registry."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import httpx
from tests.searching import Place

from modelyard.demo.rest import AirflowApi
from modelyard.images import ImageStore
from modelyard.store import Store


def in_airflow(api: AirflowApi, dag_id: str, run: str) -> Iterator[Place]:
    """Yield what a run's tasks have shown to whoever may look at it: logs, XComs, rendered fields, links."""

    def place(what: str, shown: Any) -> Place:
        return f"{dag_id} {what}", json.dumps(shown).encode()

    yield place("run", api.run(dag_id, run))
    for task in api.tasks(dag_id, run):
        path = f"/dags/{dag_id}/dagRuns/{run}/taskInstances/{task.task_id}"
        for number in range(1, task.try_number + 1):
            yield place("log", api.log(dag_id, run, task.task_id, number))
        yield place("task", [api.get(path), api.get(f"{path}/links")])
        for entry in api.get(f"{path}/xcomEntries")["xcom_entries"]:
            yield place("XCom", [entry["key"], api.xcom(dag_id, run, task.task_id, entry["key"])])


def in_database(file: Path) -> Iterator[Place]:
    """Yield every value in Airflow's own database, by its table: in the file, a value may lie in pieces."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for name in names:
            for row in database.execute(f'select * from "{name}"'):  # noqa: S608 - the database's own names
                for value in row:
                    yield f"table {name}", value if isinstance(value, bytes) else str(value).encode()


def in_records(store: Store) -> Iterator[Place]:
    """Yield every document of a store's database, by its collection."""
    database = store.mongo[store.address.database]
    for name in database.list_collection_names():
        for batch in database[name].find_raw_batches():
            yield f"collection {name}", cast("bytes", batch)  # pymongo's types say otherwise


def in_bucket(client: Any, bucket: str) -> Iterator[Place]:
    """Yield every artifact."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            yield "artifact", client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()


def in_images(
    images: ImageStore, url: str, prefix: str, login: tuple[str, str] | None, besides: Iterable[str]
) -> Iterator[Place]:
    """Yield configuration and layers of every image below a prefix of a registry, and what is attached to it.

    Args:
        images: of that prefix.
        url: of the registry.
        prefix: without the slash at its end.
        login: user and password, if it asks for them.
        besides: digests of layers that were there before.
    """
    known = set(besides)
    with httpx.Client(base_url=f"{url}/v2", auth=login) as registry:
        names = registry.get(f"/_catalog?n=100&last={prefix}/").raise_for_status().json()["repositories"]
        for name in (name for name in names if name.startswith(f"{prefix}/")):
            repository = name.removeprefix(f"{prefix}/")
            for tag in registry.get(f"/{name}/tags/list").raise_for_status().json()["tags"] or ():
                if tag.startswith("sha256-"):  # what is attached to the image of that digest
                    subject = tag.removesuffix(".sig").replace("-", ":", 1)
                    for payload, signature in images.signatures(repository, subject):
                        yield f"attached to {repository}", payload + signature.encode()
                    for referrer in images.referrers(repository, subject):
                        yield f"attached to {repository}", images.read_referrer(repository, referrer.digest)
                    continue
                image = images.pull(repository, tag)
                yield f"image {repository}", image.manifest + image.config
                for layer in image.layers:
                    if layer.digest not in known:
                        known.add(layer.digest)
                        with layer.open() as stream:
                            yield f"layer {layer.kind}", stream.read()
