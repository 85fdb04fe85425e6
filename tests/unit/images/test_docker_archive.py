import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from modelyard.errors import ImageError
from modelyard.images.docker_archive import docker_archive, read_docker_archive
from modelyard.images.image import digest_of, empty
from modelyard.images.layer import Entry, pack


def test_an_archive_holds_what_docker_load_reads(tmp_path: Path):
    layers = [
        pack([Entry("one", b"1" * 5000)], tmp_path, "zstd", "server"),
        pack([Entry("two", b"2")], tmp_path, "gzip", "model"),
        pack([Entry("one", b"1" * 5000)], tmp_path, "zstd"),
    ]
    image = empty("amd64").append(layers, {"User": "65532"}, {})
    said: list[str] = []
    archive = b"".join(docker_archive(image, "wine:3", said.append))
    assert said == ["Layer 1 of 3, server: 0.0 MB", "Layer 2 of 3, model: 0.0 MB"], "the third is the first again"
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        files = {name: (tar.extractfile(name) or io.BytesIO()).read() for name in tar.getnames()}
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["wine:3"]
    assert digest_of(files[manifest["Config"]]) == digest_of(image.config)
    one, two, again = (files[path] for path in manifest["Layers"])
    plain = (one, gzip.decompress(two), again)  # an engine before 23 reads no zstd
    assert [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in plain] == [layer.diff_id for layer in layers]

    # As `docker save` gives it: compressed as it is kept, or plain, and a layer twice as a link.
    (tmp_path / "read").mkdir()
    read = read_docker_archive(io.BytesIO(archive), tmp_path / "read")
    assert read.parsed_config["config"]["User"] == "65532"
    for layer, original in zip(read.layers, image.layers, strict=True):
        assert (layer.digest, layer.diff_id) == (original.diff_id, original.diff_id)
        with layer.open() as plain_again:
            assert digest_of(plain_again.read()) == layer.diff_id
    with pytest.raises(ImageError, match="no whole image"):
        read_docker_archive(io.BytesIO(archive[: len(archive) // 2]), tmp_path / "read")


def test_a_layer_that_is_a_link_to_another_is_read(tmp_path: Path):
    config = json.dumps({"rootfs": {"diff_ids": [digest_of(b"tar"), digest_of(b"tar")]}, "config": {}}).encode()
    listed = [{"Config": "c.json", "Layers": ["a/layer.tar", "b/layer.tar"]}]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in (("a/layer.tar", b"tar"), ("c.json", config), ("manifest.json", json.dumps(listed).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("b/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../a/layer.tar"
        tar.addfile(link)
    file.seek(0)
    one, two = read_docker_archive(file, tmp_path).layers
    assert one == two
    assert two.open().read() == b"tar"
