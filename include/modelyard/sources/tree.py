"""A project's files as one tar that is the same, byte for byte, for the same files.

Left out are what Git would leave out (``.gitignore``, the repository's own folder) and Python's byte code, which
differs from machine to machine. A file that Git tracks counts even where a rule would ignore it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from dulwich.errors import NotGitRepository
from dulwich.ignore import IgnoreFilterManager
from dulwich.repo import Repo

from modelyard.errors import RequestError


def project_files(folder: Path) -> list[PurePosixPath]:
    """Return the files and symbolic links of a folder that Git would keep, sorted, relative to it."""
    folder = folder.resolve()
    repo = open_repository(folder)
    if repo is None:
        return sorted(_walk(folder, _Ignores(folder, frozenset())))
    with repo:
        top = Path(repo.path).resolve()
        tracked = frozenset(os.fsdecode(path) for path in repo.open_index())
        return sorted(_walk(folder, _Ignores(top, tracked)))


def tree_tar(folder: Path, file: BinaryIO) -> str:
    """Write all files of a checked-out project to ``file`` as a tar and return its digest (``sha256:…``).

    Nothing is ignored but byte code, as ``checkout`` has done that. Times, owners and all of the mode but "may be
    executed" are left out, so that two clones give the same bytes.

    Raises:
        RequestError: a symbolic link leads out of the folder, or something is neither file, folder nor link.
    """
    folder = folder.resolve()
    hashing = _HashingWriter(file)
    with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        folders: set[PurePosixPath] = set()
        for name in sorted(_walk(folder, None)):
            for parent in reversed(name.parents[:-1]):
                if parent not in folders:
                    folders.add(parent)
                    tar.addfile(_entry(parent, tarfile.DIRTYPE, 0o755))
            _add(tar, folder, name)
    return f"sha256:{hashing.sha256.hexdigest()}"


def tree_hash(folder: Path) -> str:
    """Return the digest that :func:`tree_tar` would return, writing nothing."""
    with Path(os.devnull).open("wb") as nowhere:
        return tree_tar(folder, nowhere)


def unpack_tree(file: BinaryIO, folder: Path) -> None:
    """Unpack what :func:`tree_tar` wrote into a folder, which may not exist yet; nothing is ever written outside of it.

    Raises:
        RequestError: it is no such tar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                _take(tar, member, folder.resolve())
    except (tarfile.TarError, FileExistsError) as error:
        raise RequestError(
            f"The project's files cannot be unpacked: {error}",
            "Correct what it names in the project, and start a new run, which stores them anew.",
        ) from error


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write one member. Python's own filter ``data`` does this too, but Debian 12's Python 3.11.2 doesn't have it."""
    place = folder / member.name
    parts = PurePosixPath(member.name).parts
    if ".." in parts or not place.parent.resolve().is_relative_to(folder):
        raise tarfile.TarError(f"'{member.name}' would be outside of their folder")
    if member.isdir():
        place.mkdir(exist_ok=True)
    elif member.isreg():
        with place.open("xb") as copy, cast("BinaryIO", tar.extractfile(member)) as content:
            shutil.copyfileobj(content, copy)
            os.fchmod(copy.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    elif member.issym():
        target = place.parent / member.linkname
        if Path(member.linkname).is_absolute() or not target.resolve().is_relative_to(folder):
            raise tarfile.TarError(f"the link '{member.name}' leads to '{member.linkname}', outside of their folder")
        place.symlink_to(member.linkname)
    else:
        raise tarfile.TarError(f"'{member.name}' is neither file, folder nor link")


def open_repository(folder: Path) -> Repo | None:
    """Return the Git repository around ``folder``, or None."""
    try:
        return Repo.discover(str(folder))
    except NotGitRepository:
        return None


class _Ignores:
    """What ``.gitignore`` leaves out below ``top``, except what Git tracks all the same."""

    def __init__(self, top: Path, tracked: frozenset[str]) -> None:
        self._top = top
        self._rules = IgnoreFilterManager(str(top), [], ignorecase=False)
        self._files = tracked
        # Folders on the way to a tracked file are entered even if a rule ignores them.
        self._folders = {str(parent) for path in tracked for parent in PurePosixPath(path).parents}

    def file(self, path: Path) -> bool:
        name = path.relative_to(self._top).as_posix()
        return name not in self._files and bool(self._rules.is_ignored(name))

    def folder(self, path: Path) -> bool:
        name = path.relative_to(self._top).as_posix()
        return name not in self._folders and bool(self._rules.is_ignored(f"{name}/"))


def _walk(folder: Path, ignores: _Ignores | None) -> Iterator[PurePosixPath]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [
            name
            for name in folders
            if name not in (*links, ".git", "__pycache__") and not (ignores and ignores.folder(here / name))
        ]
        for name in (*files, *links):
            is_kept = name != ".git" and not name.endswith(".pyc")  # a linked work tree's .git is a file
            if is_kept and not (ignores and ignores.file(here / name)):
                yield PurePosixPath((here / name).relative_to(folder).as_posix())


def _add(tar: tarfile.TarFile, folder: Path, name: PurePosixPath) -> None:
    path = folder / name
    if path.is_symlink():
        target = path.readlink()
        if target.is_absolute() or not Path(os.path.normpath(path.parent / target)).is_relative_to(folder):
            raise RequestError(
                f"{name} is a link out of the project's folder, to {target}.",
                "Copy the file into the project, or declare it as data in model.yaml.",
            )
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target.as_posix()
        tar.addfile(entry)
    elif path.is_file():
        with path.open("rb") as content:
            stat = os.fstat(content.fileno())
            entry = _entry(name, tarfile.REGTYPE, 0o755 if stat.st_mode & 0o100 else 0o644)
            entry.size = stat.st_size
            tar.addfile(entry, content)
    else:
        raise RequestError(f"{name} is neither a file nor a folder.", "Delete it, or ignore it in .gitignore.")


def _entry(name: PurePosixPath, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(str(name))
    entry.type, entry.mode = kind, mode
    return entry


class _HashingWriter(io.RawIOBase):
    """Passes bytes on to a file, and hashes them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.sha256.update(data)
        self._file.write(data)
        return len(data)
