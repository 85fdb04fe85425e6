"""The truth of a local service: one small file, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from modelyard.deployment.target import JSON
from modelyard.durable import sync_folder

NAME = "state.json"
SEGMENTS = "predictions"  # the folder of the prediction log, beside it


@dataclass(frozen=True)
class Release:
    """One version in its unpacked image.

    Attributes:
        root: folder with environment, server, project and model.
        log: a ``target.PredictionLog``, as JSON; None for none.
        tracing: variables that tell where its traces go.
    """

    version: int
    run_id: int
    image_digest: str
    generation: int
    root: str
    workers: int
    ready_timeout: float
    log: JSON | None = None
    tracing: JSON = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """What a service is to be, whether its processes run or not.

    Attributes:
        port: kept for as long as the service is known.
        live: None until a first version has passed its smoke test.
    """

    port: int
    live: Release | None


def read_state(folder: Path) -> State | None:
    """Return a service's state; None when there is none."""
    try:
        value = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        return None
    return State(value["port"], None if value["live"] is None else Release(**value["live"]))


def write_state(folder: Path, state: State) -> None:
    """Replace a service's state; after a crash there is the old one or the new one."""
    temporary = folder / f"{NAME}.new"
    with temporary.open("w") as file:
        json.dump(asdict(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / NAME)
    sync_folder(folder)


def service_folder(home: Path, environment: str, model: str) -> Path:
    """Return where a service keeps its state, log and sockets."""
    return home / "deployments" / environment / model


def service_folders(home: Path) -> Iterator[Path]:
    """Yield the folder of every service of this machine."""
    for file in sorted((home / "deployments").glob(f"*/*/{NAME}")):
        yield file.parent
