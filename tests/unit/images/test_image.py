from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from modelyard.errors import ImageError
from modelyard.images.compression import Compression, compressing, decompressing
from modelyard.images.image import Image, digest_of, empty, read_layers, validate
from modelyard.images.layer import Entry, Layer, pack


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return pack([Entry("file", b"content")], tmp_path, "gzip", "model")


def test_append_merges_the_run_configuration(layer: Layer) -> None:
    first = empty("amd64").append([layer], {"Env": ["A=1", "B=2"], "Labels": {"x": "1"}, "Cmd": ["run"]}, {"note": "1"})

    second = first.append([layer], {"Env": ["B=3"], "Labels": {"y": "2"}, "User": "1"}, {}, "2026-01-01T00:00:00Z")

    config = second.parsed_config
    assert config["config"] == {"Env": ["A=1", "B=3"], "Labels": {"x": "1", "y": "2"}, "Cmd": ["run"], "User": "1"}
    assert config["rootfs"]["diff_ids"] == [layer.diff_id, layer.diff_id]
    assert [line["created"] for line in config["history"]] == ["1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]
    assert config["created"] == "2026-01-01T00:00:00Z"
    assert "annotations" not in second.parsed_manifest
    assert first.digest != second.digest


@pytest.mark.parametrize("compression", ["zstd", "gzip", None])
def test_layers_in_dockers_types_are_read_and_named_in_ocis(compression: Compression | None, tmp_path: Path) -> None:
    data = b"a tar" * 1000
    packed = BytesIO()
    if compression is None:
        packed.write(data)
    else:
        with compressing(packed, compression) as stream:
            stream.write(data)
    end, plus = ("", "") if compression is None else (f".{compression}", f"+{compression}")
    digest, size = digest_of(packed.getvalue()), len(packed.getvalue())
    docker = f"application/vnd.docker.image.rootfs.diff.tar{end}"
    layer = Layer(digest, digest_of(data), size, docker, lambda: BytesIO(packed.getvalue()))

    with layer.open() as stream, decompressing(stream, layer.media_type) as plain:
        assert plain.read() == data
    image = empty("amd64").append([layer], {}, {})
    assert image.parsed_manifest["layers"][0]["mediaType"] == f"application/vnd.oci.image.layer.v1.tar{plus}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1},
        {"diff_id": "sha256:" + "0" * 64},
        {"media_type": "application/vnd.oci.image.layer.v1.tar+zstd"},
        {"media_type": "application/vnd.oci.image.layer.v1.tar"},
    ],
)
def test_validate_finds_every_false_claim(wrong: dict[str, object], layer: Layer) -> None:
    validate(empty("amd64").append([layer], {}, {}))

    with pytest.raises(ImageError):
        validate(empty("amd64").append([replace(layer, **wrong)], {}, {}))  # type: ignore[arg-type]


def test_validate_finds_a_config_or_layers_of_another_image(layer: Layer) -> None:
    image, other = empty("amd64").append([layer], {}, {}), empty("arm64").append([layer, layer], {}, {})

    for mixed in (
        Image(image.manifest, other.config, image.layers),
        Image(image.manifest, image.config, other.layers),
    ):
        with pytest.raises(ImageError):
            validate(mixed)


def test_a_manifest_and_a_config_of_different_images_are_refused(layer: Layer) -> None:
    image = empty("amd64").append([layer], {}, {})

    with pytest.raises(ImageError, match="1 layers and its config 0"):
        read_layers(json.loads(image.manifest), json.loads(empty("amd64").config), lambda _: layer.open())
