"""What a model image costs in time and bytes: `python tests/benchmarks/bench_images.py [ROUNDS]`.

The project is include/examples/wine: scikit-learn, pandas and Sacred, hashes checked, byte code compiled. uv's cache is
warm: the packages have been fetched once, which is not counted. gzip has one round. Seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.environments import ensure, ensure_server, find_lock, python_of
from modelyard.images import Image
from modelyard.images.compression import Compression
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import tree
from modelyard.images.layout import Layout
from modelyard.images.model_image import build_model_image
from modelyard.images.unpack import unpack_model_image

WINE = Path(__file__).parents[2] / "include" / "examples" / "wine"
MODEL_BYTES = 1_000_000


class Measured:
    """Seconds by row."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.rows.setdefault(name, []).append(time.perf_counter() - started)

    def show(self) -> None:
        print(f"{'':58}{'minimum':>9}{'median':>9}{'maximum':>9}")
        for name, seconds in self.rows.items():
            print(f"{name:58}{min(seconds):9.3f}{statistics.median(seconds):9.3f}{max(seconds):9.3f}")


def silent(_: str) -> None:
    """Log nothing."""


def write_model(folder: Path, content: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "model.joblib").write_bytes(content)
    return folder


def round_of(folder: Path, compression: Compression, measured: Measured) -> Image:
    """Build everything once from nothing but fetched packages; then again with another model."""
    images, home = Layout(folder / "images", compression), folder / "home"
    lock = find_lock(WINE, "Pipfile.lock")
    with measured.row(f"{compression}: environment: install, compile, pack"):
        environment = ensure(lock, images, home, silent)
    with measured.row(f"{compression}: environment again: found by its tag"):
        ensure(lock, images, home, silent)
    with measured.row(f"{compression}: server: install, compile, pack"):
        ensure_server(images, home, silent, python=environment.python)

    def image(model: Path) -> Image:
        built = build_model_image(
            images=images,
            environment=environment,
            server=ensure_server(images, home, silent, environment.python),
            project=WINE,
            model=model,
            commit=None,
            log=silent,
        )
        images.push("staging/wine", built)
        return built

    first = image(write_model(folder / "model", os.urandom(MODEL_BYTES)))
    with measured.row(f"{compression}: image after only the model changed (1 MB)"):
        second = image(write_model(folder / "model", os.urandom(MODEL_BYTES)))
    with measured.row(f"{compression}: environment unpacked for this machine"):
        python_of(environment, images, home)
    with measured.row(f"{compression}: image unpacked, its environment there"):
        unpack_model_image(images, "staging/wine", second.digest, home)
    assert first.layers[:3] == second.layers[:3]
    return second


def pack_large(folder: Path, measured: Measured) -> None:
    """A model of 256 MB that does not compress, against reading and hashing the same bytes."""
    model = folder / "large"
    model.mkdir()
    with (model / "weights.bin").open("wb") as file:
        for _ in range(256):
            file.write(os.urandom(1 << 20))
    with measured.row("256 MB: sha256 and copy, nothing else"):
        digest = hashlib.sha256()
        with (model / "weights.bin").open("rb") as source, (folder / "copy").open("wb") as copy:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
    with measured.row("256 MB: packed as a layer (zstd)"):
        Layout(folder / "images").pack(tree(model, "opt/modelyard/model"), "model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    rounds: int = parser.parse_args().rounds
    measured, sizes = Measured(), dict[Compression, Image]()
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name:
        os.environ["UV_CACHE_DIR"] = f"{name}/uv"
        images = Layout(Path(name, "warm"))
        ensure(find_lock(WINE, "Pipfile.lock"), images, Path(name), silent)
        ensure_server(images, Path(name), silent, python=Interpreter.of_this_machine().python)
        plan: list[tuple[Compression, int]] = [("zstd", rounds), ("gzip", 1)]
        for compression, times in plan:
            for _ in range(times):
                folder = Path(name, "round")
                sizes[compression] = round_of(folder, compression, measured)
                shutil.rmtree(folder)
        for _ in range(rounds):
            folder = Path(name, "large")
            folder.mkdir()
            pack_large(folder, measured)
            shutil.rmtree(folder)
    measured.show()
    print()
    for compression, image in sizes.items():
        parts = ", ".join(f"{layer.kind} {layer.size / 1e6:.2f}" for layer in image.layers)
        print(f"{compression}: {sum(layer.size for layer in image.layers) / 1e6:.1f} MB: {parts}")


if __name__ == "__main__":
    main()
