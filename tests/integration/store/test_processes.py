"""Several processes on one store, and a database that dies under them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from modelyard import embedded
from modelyard.errors import Unavailable
from modelyard.store import Claim, ModelVersion, Store, StoreAddress

WORKER = """
import json, sys
from dataclasses import replace
from modelyard.errors import Fenced
from modelyard.store import Claim, Store, StoreAddress
me = int(sys.argv[1])
with Store.open(StoreAddress.from_json(sys.stdin.read())) as store:
    template = store.versions.get("wine", 1)
    versions = []
    for i in range(10):
        run_id = 100 + i if i % 2 else 1000 * (me + 1) + i  # every second run is registered by all of them
        versions.append(store.versions.register(replace(template, version=0, run_id=run_id)))
        store.aliases.move("wine", "production", to=versions[-1].version, by=str(me), why="test")
    try:
        claim = store.steps.claim("run", "train", me + 1, 0)
        if isinstance(claim, Claim):
            claim.finish({"by": me})
    except Fenced:
        pass
    print(json.dumps([[version.run_id, version.version] for version in versions]))
"""


def run(store: Store, code: str, argument: str) -> str:
    command = [sys.executable, "-c", code, argument]
    address = store.address.to_json()
    ended = subprocess.run(command, input=address, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_processes_at_once_register_move_and_claim_without_harm(store: Store, a_version: Callable[..., ModelVersion]):
    store.versions.register(a_version())
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda me: run(store, WORKER, str(me)), range(3)))
    registered = [pair for output in outputs for pair in json.loads(output)]

    number_of = dict(registered)
    assert all(number_of[run_id] == version for run_id, version in registered)
    assert len(number_of) == len(set(number_of.values())) == 3 * 5 + 5
    alias = store.aliases.get("wine", "production")
    assert alias is not None
    assert all(before.to_version == after.from_version for before, after in pairwise(alias.history))
    assert {move.by for move in alias.history} == {"0", "1", "2"}
    record = store.steps.get("run", "train")
    assert record is not None
    assert (record.state, record.result) == ("done", {"by": record.try_number - 1})


def test_a_store_goes_on_when_its_database_is_back(tmp_path: Path, a_version: Callable[..., ModelVersion]):
    folder = tmp_path / "mongo"
    address = StoreAddress(embedded.start(folder), tmp_path.as_uri(), "oci:/unused")
    try:
        with Store.open(address) as store:
            first = store.versions.register(a_version())
            claim = store.steps.claim("run", "train", 1, 0)
            assert isinstance(claim, Claim)
            os.kill(json.loads((folder / "server.json").read_text())["pid"], signal.SIGKILL)
            with pytest.raises(Unavailable, match="cannot be reached"):
                store.versions.register(a_version(run_id=2))
            assert embedded.start(folder) == address.mongo_uri
            assert store.versions.get("wine", 1) == first
            assert store.versions.register(a_version(run_id=2)).run_id == 2
            claim.finish({})
    finally:
        embedded.stop(folder)


KILLED = """
import sys
from dataclasses import replace
from modelyard.store import Store, StoreAddress
with Store.open(StoreAddress.from_json(sys.stdin.read())) as store:
    template = store.versions.get("wine", 1)
    claim = store.steps.claim("run", "log_to_sacred", int(sys.argv[1]), 0)
    print("claimed", flush=True)
    for run_id in range(100, 150):
        version = store.versions.register(replace(template, version=0, run_id=run_id))
        store.aliases.move("wine", "canary", to=version.version, by="test", why=str(run_id))
    claim.finish({"version": version.version})
"""


def test_a_process_killed_at_any_moment_is_finished_by_the_next_one(
    store: Store, a_version: Callable[..., ModelVersion]
):
    store.versions.register(a_version())

    def start(try_number: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(try_number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(store.address.to_json())
        process.stdin.close()
        assert process.stdout.readline() == "claimed\n"
        return process

    for try_number, pause in enumerate((0.004, 0.02, 0.05), start=1):
        with start(try_number) as process:
            time.sleep(pause)
            process.kill()
    run(store, KILLED, "4")

    record = store.steps.get("run", "log_to_sacred")
    assert record is not None
    assert (record.state, record.fence) == ("done", 4)
    versions = store.versions.find(name="wine", limit=100).versions
    assert sorted(version.run_id for version in versions) == [1, *range(100, 150)]
    alias = store.aliases.get("wine", "canary")
    assert alias is not None
    assert record.result == {"version": alias.version}
    assert all(before.to_version == after.from_version for before, after in pairwise(alias.history))
