"""What Modelyard's own server adds to a model image."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tests.fixtures_compilation import Workshop

from modelyard.images.layer import pack, tree

_MOST = 40_000_000
_RUNTIME = ("numpy", "onnxruntime")  # as large as their makers have made them


def of_the_runtime(path: PurePosixPath) -> bool:
    return any(part.startswith(_RUNTIME) for part in path.parts)


def test_the_servers_layer_is_small(workshop: Workshop, tmp_path: Path) -> None:
    environment = workshop.server.parents[1]
    entries = tree(environment, "opt/modelyard/server", of_the_runtime)
    assert any(entry.path.endswith("modelyard/serving/worker.py") for entry in entries)
    assert len(entries) < len(tree(environment, "opt/modelyard/server")) - 500, "the runtime is in it, and not counted"
    assert 0 < pack(entries, tmp_path, "gzip", durable=False).size <= _MOST
