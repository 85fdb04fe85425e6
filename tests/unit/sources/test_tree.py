from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from dulwich import porcelain

from modelyard.errors import RequestError
from modelyard.sources import checkout, resolve, tree_hash, tree_tar, unpack_tree
from modelyard.sources.tree import project_files


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def names(folder: Path) -> list[str]:
    return [str(path) for path in project_files(folder)]


def test_ignored_files_and_byte_code_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".gitignore": "*.log\n/out/\n",
            "train.py": "",
            "run.log": "",
            "out/a": "",
            "lib/out/b": "",
            "lib/.gitignore": "secret\n",
            "lib/secret": "",
            "__pycache__/train.pyc": "",
            ".git/HEAD": "",
        },
    )
    assert names(tmp_path) == [".gitignore", "lib/.gitignore", "lib/out/b", "train.py"]


def test_a_tracked_file_counts_even_if_a_rule_ignores_it(tmp_path: Path) -> None:
    write(tmp_path, {"a/model/data/kept.csv": "", "a/model/data/other.csv": "", "a/model/train.py": ""})
    porcelain.init(tmp_path)
    porcelain.add(tmp_path, paths=[str(tmp_path / "a/model/data/kept.csv")])
    write(tmp_path, {".gitignore": "data/\n"})
    assert names(tmp_path / "a/model") == ["data/kept.csv", "train.py"]


def test_a_checked_out_project_is_kept_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", {"data/kept.csv": "", "train.py": ""})
    porcelain.init(tmp_path / "a")
    identity = b"A <a@example.com>"
    porcelain.add(tmp_path / "a", paths=[str(tmp_path / "a/data/kept.csv"), str(tmp_path / "a/train.py")])
    porcelain.commit(tmp_path / "a", message=b"x", author=identity, committer=identity)
    write(tmp_path / "a", {".gitignore": "data/\n", "data/other.csv": ""})
    checkout(resolve({"folder": str(tmp_path / "a")}), tmp_path / "b")
    packed = io.BytesIO()
    tree_tar(tmp_path / "b", packed)
    packed.seek(0)
    with tarfile.open(fileobj=packed) as tar:
        assert tar.getnames() == [".gitignore", "data", "data/kept.csv", "train.py"]


def test_the_tar_depends_on_content_alone(tmp_path: Path) -> None:
    files = {"b/c.py": "1", "a.py": "2"}
    one, two = write(tmp_path / "one", files), write(tmp_path / "two", dict(reversed(files.items())))
    os.utime(two / "a.py", (1, 1))
    (two / "a.py").chmod(0o600)
    assert tree_hash(one) == tree_hash(two)
    (two / "a.py").chmod(0o700)
    assert tree_hash(one) != tree_hash(two)


def test_pack_and_unpack(tmp_path: Path) -> None:
    folder = write(tmp_path / "project", {"lib/deep/a.py": "1", "run.sh": "2"})
    (folder / "run.sh").chmod(0o755)
    (folder / "lib/link").symlink_to("deep/a.py")
    packed = io.BytesIO()
    digest = tree_tar(folder, packed)
    unpack_tree(io.BytesIO(packed.getvalue()), tmp_path / "there")
    assert tree_hash(tmp_path / "there") == digest
    assert (tmp_path / "there/lib/link").readlink() == Path("deep/a.py")


@pytest.mark.parametrize("target", ["/etc/passwd", "../other"])
def test_a_link_out_of_the_project_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/link").symlink_to(target)
    with pytest.raises(RequestError, match="link out of the project's folder"):
        tree_hash(tmp_path / "project")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="pipe is neither a file nor a folder"):
        tree_hash(tmp_path)


def test_a_tar_of_another_kind_writes_nothing_outside(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../escaped"))
    packed.seek(0)
    with pytest.raises(RequestError):
        unpack_tree(packed, tmp_path / "there")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "../other"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_a_tar_of_another_kind_leads_nowhere(tmp_path: Path, kind: bytes, target: str) -> None:
    entry = tarfile.TarInfo("entry")
    entry.type, entry.linkname = kind, target
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(entry)
    packed.seek(0)
    with pytest.raises(RequestError, match=r"cannot be unpacked: .*entry"):
        unpack_tree(packed, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_tar_of_another_kind_writes_through_no_link(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "file"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("link"))
    packed.seek(0)
    with pytest.raises(RequestError, match="cannot be unpacked"):
        unpack_tree(packed, tmp_path / "there")
    assert not (tmp_path / "there" / "file").exists()
