"""A large model: packed and pushed, beside `sha256sum` and a raw upload of the same bytes."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.images.measured import Measured
from tests.benchmarks.images.ours import raw_upload, store_at

from modelyard.images import Layer
from modelyard.images.image import empty
from modelyard.images.layer import tree


def large(folder: Path, registry: str, gigabytes: float, measured: Measured) -> float:
    """Push a model that does not compress.

    Returns:
        the most memory that it took, of one process and its children, in MB.
    """
    model = folder / "large"
    model.mkdir(parents=True)
    with (model / "weights.bin").open("wb") as file:
        for _ in range(int(gigabytes * 1024)):
            file.write(os.urandom(1 << 20))
    name = f"{gigabytes:g} GB"
    os.sync()  # so that what follows does not wait until this is on the disk
    with measured.row(f"{name}: sha256sum"):
        digest = subprocess.check_output(["sha256sum", model / "weights.bin"], text=True).split()[0]
    size = (model / "weights.bin").stat().st_size
    with measured.row(f"{name}: raw upload"):
        raw_upload(registry, Layer(f"sha256:{digest}", "", size, "", lambda: (model / "weights.bin").open("rb")))
    told = json.loads(subprocess.check_output([sys.executable, "-m", __name__, model, registry], text=True))
    measured.add(f"{name}: packed as a layer and pushed", told["seconds"])
    return float(told["megabytes"])


def _push(model: Path, registry: str) -> None:
    """In a process of its own, whose memory counts: pack and push one layer; print what it took."""
    with tempfile.TemporaryDirectory(prefix="modelyard-bench-", dir=model.parent) as home:
        images = store_at(registry, Path(home))
        os.sync()
        started = time.perf_counter()
        layer = images.pack(tree(model, "opt/modelyard/model"), "model")
        images.push("staging/large", empty("amd64").append([layer], {}, {}))
        seconds = time.perf_counter() - started
    # Not ru_maxrss of its own: that begins with what the process had that started it (getrusage(2), at exec).
    (own,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    most = int(own) + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"seconds": seconds, "megabytes": most / 1000}))


if __name__ == "__main__":
    _push(Path(sys.argv[1]), sys.argv[2])
