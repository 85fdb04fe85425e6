"""What counts as a difference between a released image and the same one made again."""

from __future__ import annotations

from pathlib import Path

from modelyard.images.compression import Compression
from modelyard.images.difference import FileDifference
from modelyard.images.image import Image, empty
from modelyard.images.index import Index
from modelyard.images.layer import Entry, Kind, pack
from modelyard.steps.rebuild import Rebuilt, compare


def image_of(folder: Path, *, compression: Compression = "zstd", architecture: str = "amd64", **files: bytes) -> Image:
    """An image with one layer for server and one for model."""
    kinds: tuple[Kind, ...] = ("server", "model")
    layers = [
        pack(
            [Entry(f"{kind}/{name.replace('__', '.')}", data) for name, data in files.items()],
            folder,
            compression,
            kind,
        )
        for kind in kinds
    ]
    return empty(architecture).append(layers, {}, {})


def test_the_same_files_compressed_in_another_way_are_the_same(tmp_path: Path) -> None:
    verdict = compare(image_of(tmp_path, a=b"1"), Rebuilt(image_of(tmp_path, a=b"1", compression="gzip"), {}, {}))

    assert verdict.same
    assert verdict.not_compared == ()


def test_another_modelyards_server_is_told_and_all_else_compared(tmp_path: Path) -> None:
    released, again = image_of(tmp_path, a=b"1"), image_of(tmp_path, a=b"2")

    verdict = compare(released, Rebuilt(again, {"server": "another one built it"}, {}))

    assert verdict.not_compared == ("layer server: another one built it",)
    assert [(layer.layer, layer.files) for layer in verdict.layers] == [
        ("model", (FileDifference("model/a", "bytes"),))
    ]
    assert not verdict.same


def test_byte_code_of_another_python_is_told_and_modules_compared(tmp_path: Path) -> None:
    released, again = image_of(tmp_path, a__pyc=b"1", a__py=b"1"), image_of(tmp_path, a__pyc=b"2", a__py=b"1")
    other = {"server": "3.11.2 compiled it", "model": "3.11.2 compiled it"}

    verdict = compare(released, Rebuilt(again, {}, other))
    assert verdict.same
    assert len(verdict.not_compared) == 2
    assert not compare(released, Rebuilt(again, {}, {})).same
    changed = image_of(tmp_path, a__pyc=b"2", a__py=b"2")
    assert not compare(released, Rebuilt(changed, {}, other)).same


def test_of_several_platforms_each_is_compared_and_named(tmp_path: Path) -> None:
    same, old, new = (
        image_of(tmp_path, architecture=architecture, a=data)
        for architecture, data in (("amd64", b"1"), ("arm64", b"1"), ("arm64", b"2"))
    )
    released, again = Index.of([same, old]), Index.of([same, new])

    verdict = compare(released, Rebuilt(again, {"server for linux/arm64": "another one built it"}, {}))

    assert verdict.not_compared == ("layer server for linux/arm64: another one built it",)
    assert [layer.layer for layer in verdict.layers] == ["model for linux/arm64"]
    assert compare(released, Rebuilt(released, {}, {})).same
    alone = compare(same, Rebuilt(again, {}, {}))
    assert alone.settings == ("platforms: linux/amd64, linux/arm64 instead of linux/amd64",)
    assert alone.layers == ()
