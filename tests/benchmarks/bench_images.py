"""What a model image costs in time, bytes and memory: `bench_images.py [ROUNDS] [--gigabytes N]`.

The project is include/examples/wine: scikit-learn, pandas and Sacred, hashes checked, byte code compiled. uv's cache is
warm: the packages have been fetched once, which is not counted. Images go to a real registry: the one that REGISTRY or
CLUSTER_REGISTRY names (plain HTTP), or Debian's docker-registry, started for this. Beside them images are built from
Dockerfiles: one written by hand, BentoML's and MLflow's; by a Docker engine started for this, or the one that
DOCKER_HOST names, on BASE_IMAGE (default python:X.Y-slim). What can't be built here is named, with the line that fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.benchmarks.images.dockerfiles import BUILD, PUSH, by_dockerfile
from tests.benchmarks.images.large import large
from tests.benchmarks.images.measured import Measured
from tests.benchmarks.images.ours import CHANGED, FIRST, OWN, fetch_wheels, round_of
from tests.fixtures_docker import running_engine
from tests.fixtures_registry import running_registry

from modelyard.images import Image
from modelyard.images.compression import Compression


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--gigabytes", type=float, default=2, help="of the large model")
    given = parser.parse_args()
    measured, megabytes, images = Measured(), list[float](), dict[str, Image]()
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-") as name:
        folder = Path(name)
        os.environ["UV_CACHE_DIR"] = f"{name}/uv"
        fetch_wheels(folder)
        other = os.environ.get("REGISTRY") or os.environ.get("CLUSTER_REGISTRY")
        (folder / "registry").mkdir()
        with nullcontext(other.removeprefix("http://")) if other else running_registry(folder / "registry") as registry:
            plan: list[tuple[Compression, int]] = [("zstd", given.rounds), ("gzip", 1)]
            for compression, times in plan:
                for _ in range(times):
                    built = round_of(folder / "round", registry, compression, measured)
                    images |= {f"{compression}, {how}": image for how, image in built.items()}
                    shutil.rmtree(folder / "round")
            for _ in range(given.rounds):
                megabytes.append(large(folder / "round", registry, given.gigabytes, measured))
                shutil.rmtree(folder / "round")
        sizes, left_out = dockerfiles(folder, measured)
        # Whatever is hard to clean away after so long, it was measured.
        measured.show()
        for what, why in left_out.items():
            print(f"{what}: left out ({why})")
        show_sizes(images, sizes)
        show_aims(measured, images, megabytes, f"{given.gigabytes:g} GB", sizes)


def dockerfiles(folder: Path, measured: Measured) -> tuple[dict[str, float], dict[str, str]]:
    """Build by an engine, where there can be one: sizes, and what is left out."""
    (folder / "docker").mkdir()
    try:
        with running_engine(folder / "docker") as engine:
            return by_dockerfile(folder / "dockerfiles", engine, measured)
    except pytest.skip.Exception as skipped:
        return {}, {"Dockerfiles": str(skipped)}


def show_sizes(images: dict[str, Image], sizes: dict[str, float]) -> None:
    """What lies above the base image, ours by layer."""
    print(f"\n{'MB above the base image':40}{'all':>7}  of it")
    for how, image in images.items():
        parts = ", ".join(f"{layer.kind} {layer.size / 1e6:.2f}" for layer in image.layers)
        print(f"{how:40}{_megabytes(image):7.1f}  {parts}")
    for how, size in sizes.items():
        print(f"{f'Dockerfile {how}':40}{size:7.1f}")


def _megabytes(image: Image) -> float:
    return sum(layer.size for layer in image.layers) / 1e6


def show_aims(
    measured: Measured, images: dict[str, Image], megabytes: list[float], large: str, sizes: dict[str, float]
) -> None:
    """Medians beside what they are held to."""
    own = measured.median(f"zstd: {OWN}")
    first = measured.median(f"zstd: {FIRST}")
    raw = measured.median(f"{large}: sha256sum") + measured.median(f"{large}: raw upload")
    ratio = raw / measured.median(f"{large}: packed as a layer and pushed")
    print(f"\n{'aim':62}{'found':>9}{'aim':>9}")
    for what, found, aim in (
        ("model changed, beyond its own upload, s", measured.median(f"zstd: {CHANGED} (1 MB)") - own, "≤ 1"),
        ("first build, s", first, "≤ 12"),
        ("above base, compiled, MB", _megabytes(images["zstd, compiled"]), "≤ 60"),
        ("above base, as it is, MB", _megabytes(images["zstd, as it is"]), "≤ 110"),
        (f"{large}: throughput to that of sha256sum and a raw upload", ratio, "≥ 0.7"),
        (f"{large}: most memory, children included, MB", max(megabytes), "≤ 200"),
    ):
        print(f"{what:62}{found:9.2f}{aim:>9}")
    for name in sizes:
        taken = measured.median(f"{name}: {BUILD}") + measured.median(f"{name}: {PUSH}")
        print(f"{f'Dockerfile {name}, built and pushed, by our first build':62}{taken / first:9.1f}")


if __name__ == "__main__":
    main()
