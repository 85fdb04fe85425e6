from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from modelyard.errors import ImageError
from modelyard.images.compression import Compression, decompressing
from modelyard.images.layer import Entry, Layer, pack, tree


def members(layer: Layer) -> list[tarfile.TarInfo]:
    with layer.open() as stream, decompressing(stream, layer.media_type) as plain:
        return tarfile.open(fileobj=io.BytesIO(plain.read())).getmembers()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "b" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "b" / "deep" / ("long-" * 30 + "ü.txt")).write_text("long")
    (folder / "a.txt").write_text("a")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o700)
    (folder / "link").symlink_to("b/deep")
    return folder


def test_a_layer_has_sorted_members_with_parents_and_fixed_facts(folder: Path, tmp_path: Path) -> None:
    found = members(pack(tree(folder, "opt/x"), tmp_path / "blobs", "zstd"))

    names = [member.name for member in found]
    assert names[:3] == ["opt", "opt/x", "opt/x/a.txt"]
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert {(member.uid, member.gid, member.uname, member.gname) for member in found} == {(0, 0, "", "")}
    assert len({member.mtime for member in found}) == 1
    modes = {member.name: member.mode for member in found}
    assert (modes["opt/x/a.txt"], modes["opt/x/run"], modes["opt/x/b"]) == (0o644, 0o755, 0o755)
    assert next(member for member in found if member.name == "opt/x/link").linkname == "b/deep"


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_the_same_content_gives_the_same_bytes_whatever_the_disk_says(
    compression: Compression, folder: Path, tmp_path: Path
) -> None:
    first = pack(tree(folder, "x"), tmp_path / "blobs", compression)
    other = tmp_path / "other" / "place"
    other.parent.mkdir()
    folder.rename(other)
    for path in [other, *other.rglob("*")]:
        if not path.is_symlink():
            os.utime(path, (1, 1))
            path.chmod(path.stat().st_mode & ~0o077)

    assert pack(reversed(tree(other, "x")), tmp_path / "blobs", compression) == first


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_the_number_of_cores_does_not_change_a_layer(
    compression: Compression, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = b"".join(
        hashlib.sha256(str(n).encode()).hexdigest().encode() for n in range(100_000)
    )  # 6 MB: several pieces
    layers = []
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        layers.append(pack([Entry("noise", noise)], tmp_path / "blobs", compression))

    assert layers[0] == layers[1] == layers[2]
    with layers[0].open() as stream, decompressing(stream, layers[0].media_type) as plain:
        assert f"sha256:{hashlib.sha256(plain.read()).hexdigest()}" == layers[0].diff_id


def test_compressed_bytes_are_what_the_digest_says(folder: Path, tmp_path: Path) -> None:
    layer = pack(tree(folder, "x"), tmp_path / "blobs", "zstd")

    blob = (tmp_path / "blobs" / layer.digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == layer.digest
    assert len(blob) == layer.size


def test_reading_a_damaged_layer_to_its_end_is_an_error(tmp_path: Path) -> None:
    layer = pack([Entry("x", b"x")], tmp_path / "blobs", "zstd")
    (tmp_path / "blobs" / layer.digest.removeprefix("sha256:")).write_bytes(b"other")

    with layer.open() as stream, pytest.raises(ImageError, match=layer.digest):
        stream.read()


def test_a_file_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pack([Entry("x", tmp_path / "missing")], tmp_path / "blobs", "gzip")

    assert list((tmp_path / "blobs").iterdir()) == []


def test_skipped_folders_are_not_entered(folder: Path) -> None:
    paths = {entry.path for entry in tree(folder, "x", lambda path: path.name == "b")}

    assert "x/a.txt" in paths
    assert not any(path.startswith("x/b") for path in paths)


def test_a_name_is_the_same_bytes_whatever_encoding_the_process_reads_names_in(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "café").mkdir(parents=True)
    (folder / "café" / "ü").symlink_to("é")
    (folder / "plain").write_text("x")
    (folder / os.fsdecode(b"no \xff text")).write_text("x")
    program = (
        "import sys; from pathlib import Path; from modelyard.images.layer import pack, tree\n"
        "print(sys.getfilesystemencoding(), pack(tree(Path(sys.argv[1]), 'p'), Path(sys.argv[2]), 'gzip').diff_id)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program, folder, tmp_path / "blobs"],
            env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": utf8},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for utf8 in ("0", "1")
    ]
    assert [encoding for encoding, _ in said] == ["ascii", "utf-8"]
    assert said[0][1] == said[1][1]
