"""Modelyard's own image of the wine example: built from nothing but fetched packages, then again with another model."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path

import requests
from tests.benchmarks.images.measured import Measured

from modelyard.environments import ensure, ensure_server, python_of, read_lock
from modelyard.images import Image, ImageStore, Layer, open_images
from modelyard.images.compression import Compression
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.images.unpack import unpack_model_image
from modelyard.store import StoreAddress

WINE = Path(__file__).parents[3] / "include" / "examples" / "wine"
LOCK = read_lock(WINE / "Pipfile.lock")
PYTHON = Interpreter.of_this_machine().python
MODEL_BYTES = 1_000_000
FIRST, CHANGED, OWN = (
    "first build, wheels fetched, to the registry",
    "model changed, to the registry",
    "its layer alone, raw",
)
_CHUNK = 16 << 20


def silent(_: str) -> None:
    """Log nothing."""


def store_at(registry: str, home: Path, compression: Compression = "zstd") -> ImageStore:
    """Return a part of the registry that nothing was pushed to yet."""
    name = f"{registry}/bench-{uuid.uuid4().hex[:12]}"
    address = StoreAddress("mongodb://unused", "file:///unused", name, registry_insecure=True)
    return open_images(address, home, compression)


def write_model(folder: Path) -> Path:
    """Write a model of a megabyte that no one has seen before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.joblib").write_bytes(os.urandom(MODEL_BYTES))
    return folder


def fetch_wheels(folder: Path) -> None:
    """Have all packages in uv's cache."""
    warm = Layout(folder / "warm")
    ensure(LOCK, warm, folder, silent)
    ensure_server(warm, folder, silent, PYTHON)


def round_of(folder: Path, registry: str, compression: Compression, measured: Measured) -> dict[str, Image]:
    """Build everything once from nothing but fetched packages; then again with another model."""
    home = folder / "home"
    images = store_at(registry, home, compression)

    def image(model: Path, compiled: bool = False) -> Image:
        environment = ensure(LOCK, images, home, silent)
        built = build_model_image(
            [PlatformParts(environment, ensure_server(images, home, silent, PYTHON))],
            images=images,
            project=WINE,
            model=model,
            commit=None,
            log=silent,
            compiled=compiled,
        )
        images.push("staging/wine", built)
        assert isinstance(built, Image)
        return built

    started = time.perf_counter()
    with measured.row(f"{compression}:   its environment: install, compile, pack, push"):
        environment = ensure(LOCK, images, home, silent)
    with measured.row(f"{compression}:   its server: install, compile, pack, push"):
        ensure_server(images, home, silent, PYTHON)
    first = image(write_model(folder / "model"))
    measured.add(f"{compression}: {FIRST}", time.perf_counter() - started)

    model = write_model(folder / "model")
    with measured.row(f"{compression}: {CHANGED} (1 MB)"):
        second = image(model)
    with measured.row(f"{compression}: {OWN}"):
        raw_upload(registry, second.layers[-1])
    with measured.row(f"{compression}: environment unpacked for this machine"):
        python_of(environment, images, home)
    with measured.row(f"{compression}: image unpacked, its environment there"):
        unpack_model_image(images, "staging/wine", second.digest, home)
    assert first.layers[:3] == second.layers[:3]
    return {"as it is": second, "compiled": image(model, compiled=True)}


def raw_upload(registry: str, layer: Layer) -> None:
    """Send bytes to a registry and do nothing else: one request a chunk, no digest computed here."""
    url = f"http://{registry}/v2/bench-{uuid.uuid4().hex[:12]}/raw/blobs/uploads/"
    with requests.Session() as session, layer.opener() as stream:
        place = session.post(url).headers["Location"]
        sent = 0
        while chunk := stream.read(_CHUNK):
            span = {"Content-Range": f"{sent}-{sent + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
            answer = session.patch(place, data=chunk, headers=span)
            answer.raise_for_status()
            place, sent = answer.headers["Location"], sent + len(chunk)
        session.put(f"{place}&digest={layer.digest}").raise_for_status()
