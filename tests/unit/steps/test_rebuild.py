"""What counts as a difference between a released image and the same one made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.images.compression import Compression
from modelyard.images.difference import DIFFERS, FileDifference
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
    twice = compare(Index.of([same, old, new]), Rebuilt(released, {}, {}))
    assert twice.settings == ("platforms: linux/amd64, linux/arm64 instead of linux/amd64, linux/arm64, linux/arm64",)


def test_a_layer_that_no_input_makes_is_found_whatever_kind_it_says_it_is(tmp_path: Path) -> None:
    good = image_of(tmp_path, a=b"1")
    server, model = good.layers
    for kind in (None, "server", "model"):
        evil = replace(pack([Entry("server/a", b"evil"), Entry("passwd", b"root")], tmp_path, "zstd"), kind=kind)
        for layers in ((evil, server, model), (server, evil, model), (server, model, evil)):
            released = empty("amd64").append(layers, {}, {})
            verdict = compare(released, Rebuilt(good, {"server": "another one"}, {"server": "another one"}))
            (found,) = verdict.layers
            assert found.what == "is in the released image only"
            assert [file.path for file in found.files] == ["passwd", "server", "server/a"]
            assert not verdict.same

            (lost,) = compare(good, Rebuilt(released, {}, {})).layers
            assert lost.what == "is in the rebuilt image only"


def test_the_same_layers_in_another_order_are_a_difference(tmp_path: Path) -> None:
    good = image_of(tmp_path, a=b"1")
    server, model = good.layers

    verdict = compare(empty("amd64").append([model, server], {}, {}), Rebuilt(good, {"server": "another one"}, {}))

    assert [(layer.layer, layer.what) for layer in verdict.layers] == [
        (kind, "lies in another place among the layers") for kind in ("model", "server")
    ]
    twice = compare(empty("amd64").append([server, model, model], {}, {}), Rebuilt(good, {}, {}))
    assert [(layer.layer, layer.what) for layer in twice.layers] == [
        ("model (layer 3)", "is in the released image only")
    ]


def test_what_a_config_says_of_a_layers_tar_is_not_believed(tmp_path: Path) -> None:
    good, evil = image_of(tmp_path, a=b"1"), image_of(tmp_path, a=b"2", compression="gzip")
    claimed = [replace(evil.layers[0], diff_id=good.layers[0].diff_id), good.layers[1]]
    released = empty("amd64").append(claimed, {}, {})
    assert released.config == good.config

    verdict = compare(released, Rebuilt(good, {}, {}))

    assert [(layer.layer, layer.what, layer.files) for layer in verdict.layers] == [
        ("server", DIFFERS, (FileDifference("server/a", "bytes"),))
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"history": [{"created_by": "evil"}]}, 'config.history.001.created_by: "modelyard server" instead of "evil"'),
        ({"onbuild": "evil"}, 'config.onbuild: nothing instead of "evil"'),
    ],
)
def test_whatever_else_a_config_says_is_compared(tmp_path: Path, change: dict[str, object], line: str) -> None:
    good = image_of(tmp_path, a=b"1")
    released = Image.of({**good.parsed_config, **change}, good.layers, {})
    assert any(found.startswith(line) for found in compare(released, Rebuilt(good, {}, {})).settings)
