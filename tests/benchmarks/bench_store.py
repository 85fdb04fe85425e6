"""How long the store takes to answer, with many versions in it: `python tests/benchmarks/bench_store.py [VERSIONS]`.

On the embedded database, or on the server that MONGO_URI names. Every row is a whole call from Python, 20 times after a
first one that is not counted; milliseconds. Versions are spread over a year and 50 models.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelyard import embedded
from modelyard.store import ArtifactFile, Claim, ModelVersion, Store, StoreAddress, search
from modelyard.store.codec import now, to_document

MODELS = 50
ROUNDS = 20
DIGEST = f"sha256:{'0' * 64}"
YEAR = timedelta(days=365)


def version(number: int, all_of_them: int, chance: random.Random) -> ModelVersion:
    """Return the ``number``-th version ever, of one of the models, with ordinary facts."""
    columns = [{"name": f"column {i}", "datatype": "FP64", "shape": [-1]} for i in range(13)]
    return ModelVersion(
        name=f"model-{number % MODELS:02d}",
        version=number // MODELS + 1,
        run_id=number,
        commit=f"{chance.getrandbits(160):040x}",
        dirty=False,
        diff_digest=None,
        project_digest=DIGEST,
        lock_digest=DIGEST,
        environment={"lock_digest": DIGEST, "python": "3.11"},
        package_differences=(),
        data=(),
        model=(ArtifactFile("model.joblib", DIGEST, 10_000), ArtifactFile("modelyard.json", DIGEST, 5_000)),
        signature={"kind": "columns", "inputs": columns, "outputs": []},
        metrics={"accuracy": chance.random(), "loss": chance.random()},
        config={"model": {"C": chance.choice([0.1, 0.5, 1.0, 2.0]), "depth": chance.randrange(20)}, "seed": 42},
        created_by="anna",
        pipeline_run=None,
        created_at=now() - YEAR + YEAR * (number / all_of_them),
        tags=(chance.choice(["demo", "nightly", "tuning"]),),
    )


def fill(store: Store, count: int) -> None:
    """Put ``count`` versions in as ``register`` would, a thousand at a time."""
    chance = random.Random(42)
    kept = store.mongo[store.address.database]["model_versions"]
    store.versions.register(version(0, count, chance))  # makes the indexes
    for start in range(1, count, 1000):
        some = [version(number, count, chance) for number in range(start, min(start + 1000, count))]
        kept.insert_many(
            {
                "_id": f"{one.name}:{one.version}",
                "order": search.order(one, one.version),
                **to_document(one),
                **search.fields(one),
            }
            for one in some
        )


def questions(store: Store) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is measured: its name, and the call."""
    find = store.versions.find
    some = store.versions.get("model-07", 3)
    second = find().after
    new = replace(some, name="new", version=0)
    run_ids = iter(range(10**6))
    yield "one version", lambda: store.versions.get("model-07", 3)
    yield "newest 50", find
    yield "the 50 after those", lambda: find(after=second)
    yield "of one model", lambda: find(name="model-07")
    yield "of 25 models of 50", lambda: find(name=[f"model-{number:02d}" for number in range(25)])
    yield "of 2 models, by tag", lambda: find(name=["model-07", "model-08"], tag="nightly")
    yield "by tag", lambda: find(tag="nightly")
    yield "by parameter", lambda: find(parameter={"model.C": 0.5})
    yield "by metric, half match", lambda: find(metric={"accuracy": (0.5, None)})
    yield "by metric, 1 in 100 match", lambda: find(metric={"accuracy": (0.99, None)}, limit=5)
    yield "of one model, by metric", lambda: find(name="model-07", metric={"accuracy": (0.9, None)})
    yield "by commit", lambda: find(commit=(some.commit or "")[:8])
    yield "of one week", lambda: find(since=datetime.now(UTC) - timedelta(days=7))
    yield "register", lambda: store.versions.register(replace(new, run_id=next(run_ids)))
    yield "claim, heartbeat, finish", lambda: claim(store)


def claim(store: Store) -> None:
    """Do what a step does to its record."""
    claimed = store.steps.claim(uuid.uuid4().hex, "train", 1, 0)
    assert isinstance(claimed, Claim)
    claimed.heartbeat()
    claimed.finish({"version": 1})


def main() -> None:
    """Fill a fresh database and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", type=int, nargs="?", default=10_000)
    count = parser.parse_args().versions
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uri = os.environ.get("MONGO_URI")
        if uri is None:
            stack.callback(embedded.stop, folder / "mongo")
            uri = embedded.start(folder / "mongo")
        address = StoreAddress(uri, folder.as_uri(), f"oci:{folder}", database=f"bench_{uuid.uuid4().hex}")
        store = stack.enter_context(Store.open(address))
        if "MONGO_URI" in os.environ:
            stack.callback(store.mongo.drop_database, address.database)
        fill(store, count)
        print(f"{f'{count:,} versions':28}{'min':>9}{'median':>9}{'max':>9}  ms")
        for name, call in questions(store):
            call()
            times = sorted(1000 * timed(call) for _ in range(ROUNDS))
            print(f"{name:28}{times[0]:9.2f}{statistics.median(times):9.2f}{times[-1]:9.2f}", flush=True)


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
