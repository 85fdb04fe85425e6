"""What a model image costs in time, bytes and memory: `bench_images.py [ROUNDS] [--gigabytes N]`.

The project is include/examples/wine: scikit-learn, pandas and Sacred, hashes checked, byte code compiled. uv's cache is
warm: the packages have been fetched once, which is not counted. Images go to a real registry: the one that REGISTRY or
CLUSTER_REGISTRY names (plain HTTP), or Debian's docker-registry, started for this. Where a Docker engine answers and
BASE_IMAGE names an image for it (default python:X.Y-slim, never pulled), it builds the same image from a Dockerfile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import requests
from tests.fixtures_registry import running_registry

import modelyard
from modelyard.environments import ensure, ensure_server, find_lock, python_of
from modelyard.images import Image, ImageStore, Layer, open_images
from modelyard.images.compression import Compression
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import tree
from modelyard.images.layout import Layout
from modelyard.images.model_image import PlatformParts, build_model_image
from modelyard.images.unpack import unpack_model_image
from modelyard.store import StoreAddress

WINE = Path(__file__).parents[2] / "include" / "examples" / "wine"
PYTHON = Interpreter.of_this_machine().python
MODEL_BYTES = 1_000_000
CHUNK = 16 << 20
FIRST, CHANGED, OWN = (
    "first build, wheels fetched, to the registry",
    "model changed, to the registry",
    "its layer alone, raw",
)


class Measured:
    """Seconds by row."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        self.rows.setdefault(name, []).append(seconds)

    def median(self, name: str) -> float:
        return statistics.median(self.rows[name])

    def show(self) -> None:
        print(f"{'seconds':62}{'minimum':>9}{'median':>9}{'maximum':>9}")
        for name, seconds in self.rows.items():
            print(f"{name:62}{min(seconds):9.3f}{statistics.median(seconds):9.3f}{max(seconds):9.3f}")


def silent(_: str) -> None:
    """Log nothing."""


def store_at(registry: str, home: Path, compression: Compression = "zstd") -> ImageStore:
    """A part of the registry that nothing was pushed to yet."""
    name = f"{registry}/bench-{uuid.uuid4().hex[:12]}"
    address = StoreAddress("mongodb://unused", "file:///unused", name, registry_insecure=True)
    return open_images(address, home, compression)


def write_model(folder: Path, content: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.joblib").write_bytes(content)
    return folder


def round_of(folder: Path, registry: str, compression: Compression, measured: Measured) -> dict[str, Image]:
    """Build everything once from nothing but fetched packages; then again with another model."""
    home = folder / "home"
    images = store_at(registry, home, compression)
    lock = find_lock(WINE, "Pipfile.lock")

    def image(model: Path, compiled: bool = False) -> Image:
        environment = ensure(lock, images, home, silent)
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
        environment = ensure(lock, images, home, silent)
    with measured.row(f"{compression}:   its server: install, compile, pack, push"):
        ensure_server(images, home, silent, PYTHON)
    first = image(write_model(folder / "model", os.urandom(MODEL_BYTES)))
    measured.add(f"{compression}: {FIRST}", time.perf_counter() - started)

    model = write_model(folder / "model", os.urandom(MODEL_BYTES))
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
        while chunk := stream.read(CHUNK):
            span = {"Content-Range": f"{sent}-{sent + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
            answer = session.patch(place, data=chunk, headers=span)
            answer.raise_for_status()
            place, sent = answer.headers["Location"], sent + len(chunk)
        session.put(f"{place}&digest={layer.digest}").raise_for_status()


def large(folder: Path, registry: str, gigabytes: float, measured: Measured) -> list[float]:
    """A model that does not compress: packed and pushed, against `sha256sum` and a raw upload of the same bytes.

    Returns:
        the most memory that each round took, of one process and its children, in MB.
    """
    model = folder / "large"
    model.mkdir()
    with (model / "weights.bin").open("wb") as file:
        for _ in range(int(gigabytes * 1024)):
            file.write(os.urandom(1 << 20))
    name = f"{gigabytes:g} GB"
    with measured.row(f"{name}: sha256sum"):
        digest = subprocess.check_output(["sha256sum", model / "weights.bin"], text=True).split()[0]
    size = (model / "weights.bin").stat().st_size
    with measured.row(f"{name}: raw upload"):
        raw_upload(registry, Layer(f"sha256:{digest}", "", size, "", lambda: (model / "weights.bin").open("rb")))
    command = [sys.executable, __file__, "--push", str(model), "--registry", registry]
    told = json.loads(subprocess.check_output(command, text=True))
    measured.add(f"{name}: packed as a layer and pushed", told["seconds"])
    return [told["megabytes"]]


def push_large(model: Path, registry: str) -> None:
    """In a process of its own, whose memory counts: pack and push one layer; print what it took."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-", dir=model.parent) as home:
        images = store_at(registry, Path(home))
        started = time.perf_counter()
        layer = images.pack(tree(model, "opt/modelyard/model"), "model")
        from modelyard.images.image import empty

        images.push("staging/large", empty("amd64").append([layer], {}, {}))
        seconds = time.perf_counter() - started
    most = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "megabytes": most / 1000}))


def by_docker(folder: Path, measured: Measured) -> str | None:
    """The same image from a Dockerfile, its wheels fetched before: why not, where it can't be built."""
    base = os.environ.get("BASE_IMAGE", f"python:{PYTHON}-slim")
    if shutil.which("docker") is None:
        return "no Docker engine here"
    known = subprocess.run(["docker", "image", "inspect", base], capture_output=True, text=True)
    if known.returncode:
        return f"docker image inspect {base}: {known.stderr.strip()}"
    folder.mkdir()
    (folder / "requirements.txt").write_text(find_lock(WINE, "Pipfile.lock").to_requirements())
    server = Path(modelyard.__file__).parent / "serving"
    shutil.copy(server / "requirements.txt", folder / "server.txt")
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder / "wheels")]
    for name in ("requirements.txt", "server.txt"):
        subprocess.run([*fetch, "--requirement", str(folder / name)], check=True)
    shutil.copytree(WINE, folder / "project")
    shutil.copytree(server.parent, folder / "modelyard")
    write_model(folder / "model", os.urandom(MODEL_BYTES))
    install = "pip install --quiet --no-cache-dir --no-index --find-links /wheels --no-deps"
    (folder / "Dockerfile").write_text(
        f"FROM {base}\nCOPY wheels /wheels\nCOPY *.txt /\n"
        f"RUN python -m venv /environment && /environment/bin/{install} -r /requirements.txt\n"
        f"RUN python -m venv /server && /server/bin/{install} -r /server.txt\n"
        "COPY modelyard /server/modelyard\nCOPY project /project\nCOPY model /model\n"
    )
    with measured.row("docker build of the same from a Dockerfile, wheels fetched"):
        subprocess.run(
            ["docker", "build", "--quiet", "--no-cache", "--network=none", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--gigabytes", type=float, default=2, help="of the large model")
    parser.add_argument("--push", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--registry", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.push is not None:
        push_large(given.push, given.registry)
        return
    measured, megabytes, sizes = Measured(), list[float](), dict[str, Image]()
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name:
        folder = Path(name)
        os.environ["UV_CACHE_DIR"] = f"{name}/uv"
        warm = Layout(folder / "warm")
        ensure(find_lock(WINE, "Pipfile.lock"), warm, folder, silent)
        ensure_server(warm, folder, silent, PYTHON)
        other = os.environ.get("REGISTRY") or os.environ.get("CLUSTER_REGISTRY")
        (folder / "registry").mkdir()
        with nullcontext(other.removeprefix("http://")) if other else running_registry(folder / "registry") as registry:
            plan: list[tuple[Compression, int]] = [("zstd", given.rounds), ("gzip", 1)]
            for compression, times in plan:
                for _ in range(times):
                    built = round_of(folder / "round", registry, compression, measured)
                    sizes |= {f"{compression}, {how}": image for how, image in built.items()}
                    shutil.rmtree(folder / "round")
            for _ in range(given.rounds):
                (folder / "round").mkdir()
                megabytes += large(folder / "round", registry, given.gigabytes, measured)
                shutil.rmtree(folder / "round")
        without = by_docker(folder / "docker", measured)
    measured.show()
    if without is not None:
        print(f"docker build: left out ({without})")
    print(f"\n{'MB above the base image':34}{'all':>7}  of it")
    for how, image in sizes.items():
        parts = ", ".join(f"{layer.kind} {layer.size / 1e6:.2f}" for layer in image.layers)
        print(f"{how:34}{sum(layer.size for layer in image.layers) / 1e6:7.1f}  {parts}")
    show_aims(measured, sizes, megabytes, f"{given.gigabytes:g} GB")


def show_aims(measured: Measured, sizes: dict[str, Image], megabytes: list[float], large: str) -> None:
    """Medians beside what they are held to."""
    own = measured.median(f"zstd: {OWN}")
    raw = measured.median(f"{large}: sha256sum") + measured.median(f"{large}: raw upload")
    ratio = raw / measured.median(f"{large}: packed as a layer and pushed")
    total = {how: sum(layer.size for layer in image.layers) / 1e6 for how, image in sizes.items()}
    print(f"\n{'aim':62}{'found':>9}{'aim':>9}")
    for what, found, aim in (
        ("model changed, beyond its own upload, s", measured.median(f"zstd: {CHANGED} (1 MB)") - own, "≤ 1"),
        ("first build, s", measured.median(f"zstd: {FIRST}"), "≤ 12"),
        ("above base, compiled, MB", total["zstd, compiled"], "≤ 60"),
        ("above base, as it is, MB", total["zstd, as it is"], "≤ 110"),
        (f"{large}: throughput to that of sha256sum and a raw upload", ratio, "≥ 0.7"),
        (f"{large}: most memory, children included, MB", max(megabytes), "≤ 200"),
    ):
        print(f"{what:62}{found:9.2f}{aim:>9}")


if __name__ == "__main__":
    main()
