"""A project's data come from where its user keeps them; what they are is recorded, and bad ones go nowhere."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.yard import EXAMPLES, Yard, ask

DATA = EXAMPLES / "houses" / "data"
DIGEST = f"sha256:{hashlib.sha256((DATA / 'houses.csv').read_bytes()).hexdigest()}"
HOUSE = {"district": "station", "area": 45.0, "rooms": 2, "year": 1971, "garden": "no"}


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server that has the example's data."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(DATA))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_data_come_by_http_and_from_a_bucket(yard: Yard, project: Callable[[str], Path], web: str, s3: Any) -> None:
    houses = project("houses")
    with closing(s3.client()) as client:
        client.upload_file(str(DATA / "houses.csv"), s3.bucket, "2026/houses.csv")
    # The account is that of the store's own address, wherever the artifacts are.
    account = {"s3_access_key": s3.access_key, "s3_secret_key": s3.secret_key}
    yard.address = replace(yard.address, s3_endpoint_url=s3.endpoint_url, s3_region=s3.region, **account)
    uris = {f"{web}/houses.csv": "?signature=hunter2", f"s3://{s3.bucket}/2026/houses.csv": ""}
    for version, (uri, query) in enumerate(uris.items(), start=1):
        assert yard.run(houses, release=False, data__houses=uri + query) == 0, yard.said
        assert f"train: data.houses: {uri}: 800 rows, {DIGEST[:19]}" in yard.said
        assert s3.secret_key not in yard.said
        assert "hunter2" not in yard.said
        with yard.open() as store:
            made = store.versions.get("houses", version)
            kept = store.artifacts.read(DIGEST)
            run = store.runs.get(made.run_id)
            database = store.mongo[yard.address.database]
            # Of all that is kept, the run's own Params alone have the whole address: `train` fetches by them.
            whole = {name for name in database.list_collection_names() if "hunter2" in str(list(database[name].find()))}
        assert whole == {"pipelines"}
        (data,) = [item for item in made.data if item.name == "houses"]
        assert (data.uri, data.digest, data.rows, data.target, data.role) == (uri, DIGEST, 800, "price", "train")
        assert data.columns == ("district", "area", "rooms", "year", "garden", "price")
        assert kept == (DATA / "houses.csv").read_bytes()
        referred = {file["name"]: file["digest"] for file in run["info"]["modelyard"]["artifacts"]}
        assert referred["data/houses"] == DIGEST

    missing = {
        f"{web}/hauses.csv": f"{web}/hauses.csv answered 404",
        f"s3://{s3.bucket}/hauses.csv": f"'s3://{s3.bucket}/hauses.csv' cannot be had: Bucket '{s3.bucket}' at ",
    }
    for uri, told in missing.items():
        assert yard.run(houses, release=False, data__houses=uri) == 65
        assert f"train: Step 'train' failed: data.houses: {told}" in yard.said
    assert yard.run(houses, data__houses=web.replace("//", "//me:hunter2@")) == 65
    assert "prepare: Step 'prepare' failed: The Param data.houses is no address of data: it holds a user" in yard.said
    assert "hunter2" not in yard.said


def test_bad_data_are_refused_with_what_was_found(yard: Yard, project: Callable[[str], Path], tmp_path: Path) -> None:
    houses = project("houses")
    assert yard.run(houses) == 0, yard.said
    header, first, *rest = (DATA / "houses.csv").read_text().splitlines()
    columns, cells = header.split(","), first.split(",")
    cells[columns.index("price")] = "-1"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([header, ",".join(cells), *rest]))

    assert yard.run(houses, data__houses=bad.as_uri()) == 65
    told = yard.said.partition("Step 'validate' failed: ")[2]
    assert told.startswith("houses:2 is refused: 1 of 6 gates failed")
    assert "FAILED  data houses              11 expectations met  10 met" in told
    assert "'price' values must be greater than or equal to 20000" in told
    assert "1 of 800 are not, such as -1 (row 1)" in told
    with yard.open() as store:
        version = store.versions.get("houses", 2)
        live = store.deployments.live("houses", "production")
        alias = store.aliases.get("houses", "production")
        assert version.report is not None
        docs = store.artifacts.read(version.report["data_docs"]).decode()
    assert version.image_digest is None
    assert "20000" in docs
    assert live is not None
    assert live.address is not None
    assert alias is not None
    assert (live.version, alias.version) == (1, 1)
    prediction, headers = ask(live.address, HOUSE)
    assert 76_000 < prediction["prediction"] < 116_000
    assert headers["modelyard-model-version"] == "1"
