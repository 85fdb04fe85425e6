"""A step's process is killed at a random moment, and its next try ends as if nothing had been.

``MODELYARD_FAULTS`` is the number of walks down the line, each of which kills every step once; each walk's moments
follow from ``MODELYARD_FAULTS_SEED``, which is printed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from tests.pipeline.tiny import make_tiny
from tests.processes import Running, below, wait_until
from tests.yard import Yard, ask, step_records

from modelyard.deployment.local import stop_all
from modelyard.execution import Command
from modelyard.execution.local import LocalStep
from modelyard.project.lock import read_lock
from modelyard.steps import plan
from modelyard.store import PipelineRun, Store, StoreAddress, pipeline_run_id

WALKS = int(os.environ.get("MODELYARD_FAULTS", "1"))
_MORE_WALKS = 3  # of steps that were quicker than their killer

# As long as is asked for: every walk kills nine steps.
pytestmark = pytest.mark.timeout(600 * (WALKS + _MORE_WALKS))


@pytest.fixture(scope="module")
def seed() -> int:
    return int(os.environ.get("MODELYARD_FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    return make_tiny(folder / "tiny", folder / "home")


@pytest.fixture(scope="module")
def new_yard(mongo_uri: str, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Yard]]:
    """Make a yard that shares uv's cache of wheels with the others, and nothing else."""
    with ExitStack() as stack:
        client = stack.enter_context(pymongo.MongoClient[dict[str, object]](mongo_uri))

        def make() -> Yard:
            folder = tmp_path_factory.mktemp("yard")
            home = folder / "home"
            (home / "cache").mkdir(parents=True)
            (home / "cache" / "uv").symlink_to(tiny.parent / "home" / "cache" / "uv")
            address = StoreAddress(
                mongo_uri=mongo_uri,
                database=f"test_{uuid.uuid4().hex}",
                artifacts=(folder / "artifacts").as_uri(),
                registry=f"oci:{home / 'images'}",
                installation="test",
            )
            stack.callback(client.drop_database, address.database)
            stack.callback(stop_all, home)
            return Yard(address, home)

        yield make


@pytest.fixture(scope="module")
def calm(new_yard: Callable[[], Yard], tiny: Path) -> Yard:
    """A yard where the line was walked once, undisturbed."""
    yard = new_yard()
    with yard.open() as store:
        run = opened(store, tiny, "tiny", "one")  # the same run as those that are disturbed
    yard.pipeline_run = run.id
    assert yard.go_on(run.id) == 0, yard.said
    return yard


def test_a_killed_step_is_done_once(calm: Yard, new_yard: Callable[[], Yard], tiny: Path, seed: int) -> None:
    print(f"MODELYARD_FAULTS_SEED={seed}")
    moments = random.Random(seed)
    expected = outcome(calm)
    with calm.open() as store:
        seconds = {step: took(record) for step, record in step_records(store, calm.pipeline_run).items()}
    seconds["rollback"] = seconds["deploy"]
    print("undisturbed:", {step: round(value, 2) for step, value in seconds.items()})

    missing, walks = set(seconds), 0
    while walks < WALKS or (missing and walks < WALKS + _MORE_WALKS):
        yard, walks = new_yard(), walks + 1
        killed = set(seconds)
        if walks > WALKS:  # for those alone that were quicker than their killer: it comes sooner
            killed = set(missing)
            seconds |= {step: seconds[step] / 2 for step in missing}
        with yard.open() as store:
            run = opened(store, tiny, "tiny", "one")
            yard.pipeline_run = run.id
            for step in plan.STEPS:
                if step.name in killed:
                    missing -= killed_then_done(yard, store, run, step.name, seconds, moments)
                else:
                    undisturbed(yard, store, run, step.name)
            assert outcome(yard) == expected

            assert yard.run(tiny, config__threshold=0.7) == 0, yard.said
            rollback = opened(store, tiny, "modelyard-rollback", "three", version=1, reason="a test")
            if "rollback" in killed:
                missing -= killed_then_done(yard, store, rollback, "rollback", seconds, moments)
            else:
                undisturbed(yard, store, rollback, "rollback")
            alias = store.aliases.get("tiny", "production")
            live = store.deployments.live("tiny", "production")
            history = store.deployments.history("tiny", "production")
        assert alias is not None
        assert [(move.from_version, move.to_version) for move in alias.history] == [(None, 1), (1, 2), (2, 1)]
        assert [(one.version, one.state) for one in history] == [(1, "live"), (2, "replaced"), (1, "replaced")]
        assert live is not None
        assert live.image_digest == expected["digest"]
        assert served(live.address) == ("1", expected["digest"])
        assert_tells_what_it_replaced(yard, tiny)
        stop_all(yard.home)
    assert not missing, f"ended before they could be killed in each of {walks} walks: {missing}"


@pytest.mark.parametrize(
    ("params", "alive"),
    [
        ({"config.pause": 600.0}, ("modelyard.client.launch",)),
        ({"version": 1}, ("modelyard.serving", "modelyard.client.worker")),
    ],
    ids=["training", "image beside"],
)
def test_nothing_of_a_step_outlives_the_worker(
    calm: Yard, tiny: Path, params: dict[str, Any], alive: tuple[str, ...]
) -> None:
    lock = read_lock(tiny) | {"source": {"folder": str(tiny)}}
    worker = subprocess.Popen([sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, text=True)
    try:
        assert worker.stdin is not None
        json.dump([calm.address.to_json(), str(calm.home), lock, params], worker.stdin)
        worker.stdin.close()
        wait_until(lambda: all(any(name in one.command for one in below(worker.pid)) for name in alive), f"{alive} run")
        started = below(worker.pid)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert_gone(started)
    finally:
        worker.kill()
        worker.wait()


_WORKER = """
import json, sys
from pathlib import Path
from modelyard.steps.local_run import run_pipeline
from modelyard.store import StoreAddress
address, home, lock, params = json.load(sys.stdin)
run_pipeline(lock, params, StoreAddress.from_json(address), Path(home), print)
"""


def assert_tells_what_it_replaced(yard: Yard, tiny: Path) -> None:
    """Roll back once more, after a try that was killed when it had moved the alias: it tells what it replaced."""
    with yard.open() as store:
        run = opened(store, tiny, "modelyard-rollback", "four", version=2, reason="a test")
        target = store.versions.get("tiny", 2)
        assert target.image_digest is not None
        store.deployments.begin(
            model="tiny",
            environment="production",
            generation=run.sequence,
            version=2,
            image_digest=target.image_digest,
            target="local",
            by="tester",
            why="",
            pipeline_run=run.id,
            replaces=1,
        )
        store.aliases.move("tiny", "production", to=2, by="tester", why="", generation=run.sequence)
        command = Command(step="rollback", pipeline_run=run.id, try_number=2)
        assert LocalStep(command, yard.address, yard.home, yard.lines.append).run() == 0, "\n".join(yard.lines)
        record = store.steps.get(run.id, "rollback")
    assert record is not None
    assert record.result is not None
    assert (record.result["version"], record.result["replaced"]) == (2, 1)


def opened(store: Store, project: Path, dag_id: str, run_id: str, **params: Any) -> PipelineRun:
    """Write down a pipeline run as the operator does before its first step."""
    lock = read_lock(project) | {"source": {"folder": str(project)}}
    return store.pipelines.open(
        PipelineRun(
            id=pipeline_run_id(store.address.installation, dag_id, run_id),
            installation=store.address.installation,
            dag_id=dag_id,
            run_id=run_id,
            model="tiny",
            project=lock["source"],
            params=params,
            settings=plan.settings(lock["project"], params),
            started_by="tester",
            clear_number=0,
            created_at=datetime.now(UTC),
        )
    )


def undisturbed(yard: Yard, store: Store, run: PipelineRun, step: str) -> None:
    """Run a step to its good end."""
    command = Command(step=step, pipeline_run=run.id, beside=plan.beside(step, run, store))
    code = LocalStep(command, yard.address, yard.home, yard.lines.append).run()
    assert code == 0, f"{step}:\n" + "\n".join(yard.lines)


def killed_then_done(
    yard: Yard, store: Store, run: PipelineRun, step: str, seconds: Mapping[str, float], moments: random.Random
) -> set[str]:
    """Start a step, kill it at a random moment after its claim, try it again; return it if the kill came in time."""
    moment = moments.uniform(0, seconds[step])
    command = Command(step=step, pipeline_run=run.id, beside=plan.beside(step, run, store))
    with ThreadPoolExecutor(1) as thread:
        first = LocalStep(command, yard.address, yard.home, yard.lines.append)
        trying = thread.submit(first.run)
        kill(trying, lambda: store.steps.get(run.id, step) is not None, step, moment)
        code = trying.result()
        print(f"{step}: {'killed' if code else 'done'} at {moment:.2f} s")
        assert code in {0, -signal.SIGKILL}, "\n".join(yard.lines)
        yard.lines.clear()
        again = LocalStep(replace(command, try_number=2), yard.address, yard.home, yard.lines.append)
        assert thread.submit(again.run).result() == 0, f"{step} killed at {moment:.3f} s:\n" + "\n".join(yard.lines)
    return {step} if code else set()


def kill(trying: Future[int], claimed: Callable[[], bool], step: str, moment: float) -> None:
    """SIGKILL a step ``moment`` seconds after its claim, unless it has ended, and see all it started end with it."""
    wait_until(lambda: trying.done() or claimed(), f"{step} is claimed")
    until = time.monotonic() + moment
    while time.monotonic() < until and not trying.done():
        time.sleep(0.001)
    for process in below(os.getpid()):
        if f"-m modelyard step {step} " in process.command:
            started = below(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            assert_gone([process, *started])


def assert_gone(processes: list[Running]) -> None:
    """Services are meant to outlive the step that deployed them; nothing else is."""
    left = [process for process in processes if "modelyard.deployment.supervisor" not in process.command]
    wait_until(
        lambda: not any(process.alive for process in left),
        f"{[process.command for process in left if process.alive]} have ended",
        seconds=30,
    )


def outcome(yard: Yard) -> dict[str, Any]:
    """Return what a first run of the line leaves, without what differs between two undisturbed ones."""
    with yard.open() as store:
        steps = step_records(store, yard.pipeline_run)
        versions = store.versions.find(name="tiny").versions
        runs = list(store.mongo[yard.address.database]["runs"].find({"meta.modelyard.pipeline_run": yard.pipeline_run}))
        aliases = store.aliases.of("tiny")
        history = store.deployments.history("tiny", "production")
    assert {run["status"] for run in runs} <= {"COMPLETED", "INTERRUPTED"}
    assert [run["_id"] for run in runs if run["status"] == "COMPLETED"] == [version.run_id for version in versions]
    return {
        "steps": {step: (record.state, comparable(record.result)) for step, record in steps.items()},
        "versions": [
            comparable(
                vars(version)
                # What is beside an image tells of the run that has made it.
                | {"created_at": None, "config": None, "created_by": None, "attached": sorted(version.attached or ())}
            )
            for version in versions
        ],
        "digest": versions[0].image_digest,
        "aliases": [(one.alias, [(move.from_version, move.to_version) for move in one.history]) for one in aliases],
        "deployments": [(one.generation, one.version, one.image_digest, one.state) for one in history],
        "served": served(history[0].address),
        "images": tags(yard.home / "images"),
        "unpacked": {name: files(yard.home / name) for name in ("environments", "unpacked")},
        "left": sorted(
            str(path.relative_to(yard.home))
            for path in (*yard.home.glob("*/*.partial"), *yard.home.glob("work/*"), *yard.home.glob("cache/builds/*/"))
        ),
        "damaged": [
            str(path)
            for path in (
                *yard.home.parent.glob("artifacts/sha256/*/*"),
                *yard.home.glob("images/blobs/sha256/[0-9a-f]*"),
            )
            if hashlib.sha256(path.read_bytes()).hexdigest() != path.name
        ],
    }


def comparable(result: Any) -> dict[str, Any]:
    """Return a record without times, addresses, and the number of the Sacred run, which abandoned ones count up."""
    return {
        key: value
        for key, value in result.items()
        if key not in {"run_id", "seconds", "address", "report", "created_at"}
    }


def took(record: Any) -> float:
    """Return how many seconds a step took from its claim to its end."""
    seconds: float = (record.finished_at - record.started_at).total_seconds()
    return seconds


def served(address: str | None) -> tuple[str, str]:
    """Return which version and which image answer at a service's address."""
    assert address is not None
    prediction, headers = ask(address, {"x": 0.6})
    assert prediction == {"prediction": "high"}
    return headers["modelyard-model-version"], headers["modelyard-image-digest"]


def tags(layout: Path) -> dict[str, str | list[str]]:
    """Return what an image layout lists, by name: digests, and of what is attached to an image its kinds alone.

    How an image was made differs from run to run.
    """
    listed: dict[str, str | list[str]] = {}
    for one in json.loads((layout / "index.json").read_bytes())["manifests"]:
        name, digest = one["annotations"]["org.opencontainers.image.ref.name"], one["digest"]
        listed[name] = digest
        if ":sha256-" in name:
            index = json.loads((layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())
            listed[name] = sorted(attached["artifactType"] for attached in index["manifests"])
    return listed


def files(folder: Path) -> dict[str, int]:
    """Return the size of every file below a folder, byte code and locks aside."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".lock"}
    }
