import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

from modelyard.images.docker_archive import docker_archive
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
