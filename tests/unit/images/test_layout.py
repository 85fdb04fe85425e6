from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from modelyard.errors import ImageError
from modelyard.images.image import Image, empty, validate
from modelyard.images.layer import Entry
from modelyard.images.layout import Layout


def image_of(layout: Layout, content: bytes) -> Image:
    layer = layout.pack([Entry("file", content)], "model")
    return empty("amd64").append([layer], {"User": "1:1"}, {"key": "value"})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "images")


def test_what_is_pushed_is_pulled_by_tag_and_by_digest(layout: Layout) -> None:
    image = image_of(layout, b"one")

    digest = layout.push("staging/wine", image, "1")

    assert digest == image.digest
    for reference in ("1", digest):
        pulled = Layout(layout.path).pull("staging/wine", reference)
        assert (pulled.manifest, pulled.config, pulled.layers) == (image.manifest, image.config, image.layers)
        assert pulled.layers[0].kind == "model"
        validate(pulled)


def test_a_layout_takes_layers_of_another_one(layout: Layout, tmp_path: Path) -> None:
    image = image_of(Layout(tmp_path / "other"), b"one")

    layout.push("wine", image, "1")

    validate(layout.pull("wine", "1"))


def test_a_tag_never_moves(layout: Layout) -> None:
    first, second = image_of(layout, b"one"), image_of(layout, b"two")
    layout.push("wine", first, "1")
    layout.push("wine", first, "1")

    with pytest.raises(ImageError, match=f"wine:1 is {first.digest} already"):
        layout.push("wine", second, "1")
    assert layout.resolve("wine", "1") == first.digest


def test_an_image_is_copied_and_tagged_without_a_new_blob(layout: Layout) -> None:
    digest = layout.push("staging/wine", image_of(layout, b"one"))
    blobs = sorted(path.name for path in (layout.path / "blobs" / "sha256").iterdir())

    layout.copy("staging/wine", "wine", digest)
    layout.tag("wine", digest, "7")
    layout.copy("staging/wine", "wine", digest)

    assert layout.resolve("wine", "7") == digest
    assert sorted(path.name for path in (layout.path / "blobs" / "sha256").iterdir()) == blobs


def test_an_image_belongs_to_the_repository_it_was_pushed_to(layout: Layout) -> None:
    digest = layout.push("staging/wine", image_of(layout, b"one"), "1")

    assert layout.resolve("wine", "1") is None
    for reference in ("1", digest):
        with pytest.raises(ImageError, match="no image wine"):
            layout.pull("wine", reference)


def test_attachments_are_listed_and_read(layout: Layout) -> None:
    digest = layout.push("wine", image_of(layout, b"one"), "1")

    first = layout.attach("wine", digest, "application/vnd.example.a", b"a")
    second = layout.attach("wine", digest, "application/vnd.example.b", b"b")
    layout.attach("wine", digest, "application/vnd.example.a", b"a")

    listed = layout.referrers("wine", digest)
    assert [(found.digest, found.artifact_type) for found in listed] == [
        (first, "application/vnd.example.a"),
        (second, "application/vnd.example.b"),
    ]
    assert layout.read_referrer("wine", second) == b"b"
    assert layout.referrers("wine", "sha256:" + "0" * 64) == []


def test_a_damaged_layer_is_found(layout: Layout) -> None:
    image = image_of(layout, b"one")
    layout.push("wine", image, "1")
    (layout.path / "blobs" / "sha256" / image.layers[0].digest.removeprefix("sha256:")).write_bytes(b"\x28\xb5\x2f\xfd")

    with pytest.raises(ImageError, match=image.layers[0].digest):
        validate(layout.pull("wine", "1"))


def test_what_killed_processes_left_is_swept_after_a_day(layout: Layout) -> None:
    blobs = layout.path / "blobs" / "sha256"
    old, new, blob = blobs / ".partial-old", blobs / ".partial-new", blobs / ("0" * 64)
    for path in (old, new, blob):
        path.write_text("")
    for path in (old, blob):
        os.utime(path, (1, 1))

    image_of(layout, b"one")

    assert [path.exists() for path in (old, new, blob)] == [False, True, True]


def push_some(path: Path, worker: int) -> None:
    layout = Layout(path)
    for number in range(10):
        layout.push("wine", image_of(layout, f"{worker} {number}".encode()), f"{worker}-{number}")


def test_processes_that_write_at_once_lose_nothing(layout: Layout) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=push_some, args=(layout.path, worker)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    index = json.loads((layout.path / "index.json").read_bytes())
    names = {found["annotations"]["org.opencontainers.image.ref.name"] for found in index["manifests"]}
    assert names == {f"wine:{worker}-{number}" for worker in range(3) for number in range(10)}


def test_what_the_index_names_is_on_the_disk_before_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    image = image_of(layout, b"one")
    synced: list[str] = []
    sync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    layout.push("wine", image, "1")

    assert synced[-3] == "sha256", "the folder of the blobs"
    assert synced[-2].startswith(".partial-"), "the index"
    assert synced[-1] == layout.path.name
