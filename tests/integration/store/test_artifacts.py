"""The same promises over both backends: a folder and a bucket of a real S3 server."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.errors import CorruptArtifact, NotFound, StoreError
from modelyard.store import ArtifactFile, StoreAddress, s3
from modelyard.store.artifacts import Artifacts, open_artifacts

PART = 5 * 1024 * 1024  # the shortest S3 takes
LONG = 2 * PART + 17
Damage = Callable[[str, bytes], None]


@pytest.fixture(params=["folder", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def artifacts(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    monkeypatch.setattr(s3, "_PART", PART)
    if kind == "s3":
        return open_artifacts(request.getfixturevalue("s3").address("some/prefix"))
    address = StoreAddress("mongodb://unused", (tmp_path / "a folder").as_uri(), "oci:/unused")
    return open_artifacts(address)


@pytest.fixture
def damage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Damage:
    """Return a function that replaces what is kept under a digest."""

    def replace_bytes(digest: str, data: bytes) -> None:
        name = digest.removeprefix("sha256:")
        path = f"sha256/{name[:2]}/{name}"
        if kind == "s3":
            server = request.getfixturevalue("s3")
            server.client().put_object(Bucket=server.bucket, Key=f"some/prefix/{path}", Body=data)
        else:
            (tmp_path / "a folder" / path).unlink()
            (tmp_path / "a folder" / path).write_bytes(data)

    return replace_bytes


def test_bytes_come_back_under_their_digest(artifacts: Artifacts):
    artifacts.ping()
    file = artifacts.put_bytes(b'{"a": 1}', "modelyard.json")
    digest = hashlib.sha256(b'{"a": 1}').hexdigest()
    assert file == ArtifactFile("modelyard.json", f"sha256:{digest}", 8)
    assert artifacts.put_bytes(b'{"a": 1}', "again.json").digest == file.digest
    assert artifacts.exists(file.digest)
    assert artifacts.read(file.digest) == b'{"a": 1}'
    assert artifacts.read_json(file.digest) == {"a": 1}
    assert artifacts.read(artifacts.put_bytes(b"", "empty").digest) == b""


def test_what_was_never_stored_is_not_found(artifacts: Artifacts, tmp_path: Path):
    missing = f"sha256:{'0' * 64}"
    assert not artifacts.exists(missing)
    with pytest.raises(NotFound, match=missing):
        artifacts.read(missing)
    with pytest.raises(NotFound):
        artifacts.fetch(missing, tmp_path / "to" / "file")
    assert list((tmp_path / "to").iterdir()) == []
    for wrong in ("sha256:../../etc/passwd", "md5:0", ""):
        with pytest.raises(StoreError, match="no digest"):
            artifacts.open(wrong)


def test_a_long_file_goes_there_and_back_as_a_stream(artifacts: Artifacts, tmp_path: Path):
    block = os.urandom(1024 * 1024)
    with (tmp_path / "long").open("wb") as stream:
        for start in range(0, LONG, len(block)):
            stream.write(block[: LONG - start])
    file = artifacts.put_file(tmp_path / "long")
    assert (file.path, file.size) == ("long", LONG)
    artifacts.fetch(file.digest, tmp_path / "back")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == file.digest.removeprefix("sha256:")


def test_damaged_bytes_are_never_handed_out_as_whole(artifacts: Artifacts, damage: Damage, tmp_path: Path):
    data = os.urandom(3_000_000)
    file = artifacts.put_bytes(data, "model")
    damage(file.digest, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptArtifact, match=file.digest):
        artifacts.read(file.digest)
    with pytest.raises(CorruptArtifact):
        artifacts.fetch(file.digest, tmp_path / "to" / "model")
    assert list((tmp_path / "to").iterdir()) == []
    with artifacts.open(file.digest) as stream, pytest.raises(CorruptArtifact):
        shutil.copyfileobj(stream, io.BytesIO())


def test_truncated_bytes_are_not_taken_for_those_stored_before(artifacts: Artifacts, damage: Damage):
    file = artifacts.put_bytes(b"whole", "model")
    damage(file.digest, b"who")
    with pytest.raises(CorruptArtifact, match="3 bytes"):
        artifacts.put_bytes(b"whole", "model")


def test_a_tree_goes_there_and_back(artifacts: Artifacts, tmp_path: Path):
    tree = tmp_path / "tree"
    (tree / "b").mkdir(parents=True)
    (tree / "b" / "two words.bin").write_bytes(b"2")
    (tree / "a.json").write_bytes(b"1")
    (tree / "b.txt").write_bytes(b"1")
    files = artifacts.put_tree(tree)
    assert [file.path for file in files] == ["a.json", "b.txt", "b/two words.bin"]
    artifacts.fetch_tree(files, tmp_path / "back")
    artifacts.fetch_tree(files, tmp_path / "back")
    assert {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").rglob("*.*")} == {
        file.path for file in files
    }


def test_a_tree_with_a_link_is_refused(artifacts: Artifacts, tmp_path: Path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "secret").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="neither a file nor a folder"):
        artifacts.put_tree(tmp_path / "tree")


@pytest.mark.parametrize("path", ["../out", "/out", "a/../../out", "."])
def test_a_manifest_cannot_write_outside_its_folder(artifacts: Artifacts, tmp_path: Path, path: str):
    file = artifacts.put_bytes(b"1", "x")
    with pytest.raises(StoreError, match="leads out"):
        artifacts.fetch_tree([replace(file, path=path)], tmp_path / "folder")


def test_the_same_bytes_stored_at_once_are_kept_once(artifacts: Artifacts, tmp_path: Path):
    data = os.urandom(200_000)
    (tmp_path / "file").write_bytes(data)
    with ThreadPoolExecutor(8) as pool:
        files = set(pool.map(lambda _: artifacts.put_file(tmp_path / "file"), range(16)))
    assert len(files) == 1
    assert artifacts.read(files.pop().digest) == data


class Changing(io.BytesIO):
    """A file of which other bytes are read than were hashed."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(size).replace(b"a", b"b")


@pytest.mark.parametrize("size", [10, LONG])
def test_a_file_that_changes_while_it_is_stored_is_not_kept(artifacts: Artifacts, size: int):
    data = b"a" * size
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with pytest.raises(CorruptArtifact, match="changed"):
        artifacts._put(Changing(data), digest, size, changed="the file changed")
    assert not artifacts.exists(digest)
