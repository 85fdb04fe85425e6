"""Artifacts: bytes kept under their own digest, in a folder or in S3.

Kept once however often they are stored, checked whenever they are read, never changed.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from modelyard.errors import CorruptArtifact, NotFound, StoreError
from modelyard.store.address import StoreAddress
from modelyard.store.records import ArtifactFile

if TYPE_CHECKING:
    from modelyard.store.s3 import S3Address

_CHUNK = 1024 * 1024
_FOLDER = "sha256"
_SIGNATURES = "stores"
_KEPT = re.compile(rf"{_FOLDER}/[0-9a-f]{{2}}/([0-9a-f]{{64}})")


class Backend(Protocol):
    """What keeps the bytes. It knows paths only, and nothing of digests."""

    def size(self, path: str) -> int | None:
        """Return the size of what is kept at ``path``, None when nothing is."""

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Keep all of ``source`` at ``path``, durably, or nothing: neither a crash nor an error leaves a part of it.

        Whoever writes the same path at the same time writes the same bytes.
        """

    def open(self, path: str) -> BinaryIO:
        """Return the bytes, to be read once.

        Raises:
            NotFound: nothing is kept at ``path``.
        """

    def paths(self, prefix: str) -> Iterator[str]:
        """Yield the path of everything that is kept below a folder, sorted."""

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the path of everything that is kept below a folder, with its size."""

    def delete(self, paths: Sequence[str], check: Callable[[str], None]) -> None:
        """Delete what is kept at these paths; one where nothing is kept is no error.

        ``check`` is called with each path right before it is deleted, and raises when that may not be done any more.
        """

    def unfinished(self, prefix: str, before: datetime) -> Iterator[tuple[str, int]]:
        """Yield what writes to a folder have left that were begun before then and not ended: a name, and its size."""

    def discard(self, name: str) -> None:
        """Delete what ``unfinished`` named; the same again is no error."""

    def ping(self) -> None:
        """Make sure that it answers.

        Raises:
            Unavailable: it cannot be reached; StoreError: it refuses.
        """


def _nobody_collects(digest: str) -> None:
    """Where no database is, there is no garbage collection either."""


class Artifacts:
    """Files by their digest (``sha256:<hex>``), at ``sha256/<first two>/<hex>``.

    Args:
        backend: keeps the bytes.
        pardon: called with each digest before it is looked whether its bytes are there: see ``condemned.py``.
    """

    def __init__(self, backend: Backend, pardon: Callable[[str], None] = _nobody_collects) -> None:
        self._backend = backend
        self._pardon = pardon

    def put_file(self, path: Path, name: str | None = None) -> ArtifactFile:
        """Keep a file, unless its bytes are kept already.

        Args:
            path: a regular file that nobody writes to meanwhile.
            name: its path in the manifest; its own name by default.

        Raises:
            CorruptArtifact: the file changed while it was read; nothing was kept.
        """
        with path.open("rb") as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
            size = stream.tell()
            stream.seek(0)
            self._put(stream, digest, size, changed=f"{path} changed while it was stored")
        return ArtifactFile(name or path.name, digest, size)

    def put_bytes(self, data: bytes, path: str) -> ArtifactFile:
        """Keep ``data`` as the file ``path`` of a manifest, unless they are kept already."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._put(io.BytesIO(data), digest, len(data), changed=f"{path} changed while it was stored")
        return ArtifactFile(path, digest, len(data))

    def put_tree(self, folder: Path) -> tuple[ArtifactFile, ...]:
        """Keep every file below a folder and return their manifest, sorted by path. Empty folders are left out.

        Raises:
            StoreError: it holds a link or a special file.
        """
        files = []
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise StoreError(
                    f"{path} is neither a file nor a folder", "put a copy of what it points to in its place"
                )
            if path.is_file():
                files.append(self.put_file(path, path.relative_to(folder).as_posix()))
        return tuple(files)

    def exists(self, digest: str) -> bool:
        """Return whether these bytes are kept."""
        return self._backend.size(_path(digest)) is not None

    def keep(self, digests: Iterable[str]) -> None:
        """Make sure of files that are about to be named for good: they are there, and no garbage collection has them.

        Raises:
            NotFound: one is not kept.
        """
        for digest in digests:
            self._pardon(digest)
            if not self.exists(digest):
                raise _missing(digest)

    def open(self, digest: str) -> BinaryIO:
        """Return the bytes as a stream that is checked as it is read: trust what you read once you reached its end.

        Raises:
            NotFound: they are not kept. Reading raises CorruptArtifact at the end of other bytes.
        """
        try:
            source = self._backend.open(_path(digest))
        except NotFound as error:
            raise _missing(digest) from error
        problem = f"Artifact {digest} is damaged: its bytes have another digest"
        return io.BufferedReader(
            _Checked(source, digest, problem, "restore it from a backup, or run again what made it")
        )

    def read(self, digest: str) -> bytes:
        """Return the bytes, checked. For small files: all of them are in memory."""
        with self.open(digest) as stream:
            return stream.read()

    def read_json(self, digest: str) -> Any:
        """Return what the bytes say as JSON."""
        return json.loads(self.read(digest))

    def fetch(self, digest: str, to: Path) -> None:
        """Write the bytes to the file ``to``, which appears whole and checked, or not at all."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with self.open(digest) as source, tempfile.NamedTemporaryFile(dir=to.parent, delete=False) as draft:
            try:
                shutil.copyfileobj(source, draft, _CHUNK)
                draft.flush()
                Path(draft.name).chmod(0o644)
                Path(draft.name).replace(to)
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise

    def fetch_tree(self, files: Iterable[ArtifactFile], folder: Path) -> None:
        """Write the files of a manifest below a folder.

        Raises:
            StoreError: a path of the manifest leads out of the folder.
        """
        for file in files:
            path = PurePosixPath(file.path)
            if path.is_absolute() or not path.parts or ".." in path.parts:
                raise StoreError(f"The manifest's path '{file.path}' leads out of its folder", "don't use this version")
            self.fetch(file.digest, folder / path)

    def ping(self) -> None:
        """Make sure that the artifacts can be reached."""
        self._backend.ping()

    def all(self) -> Iterator[tuple[str, int]]:
        """Yield the digest of everything that is kept, with its size."""
        for path, size in self._backend.sizes(_FOLDER):
            if match := _KEPT.fullmatch(path):
                yield f"sha256:{match[1]}", size

    def delete(self, digests: Sequence[str], check: Callable[[str], None]) -> None:
        """Delete files: only those that the caller has claimed on the list of the condemned.

        Args:
            digests: of the files; one that is not there is no error.
            check: called with each digest right before it is deleted; it raises when the claim is about to end.
        """
        places = {_path(digest): digest for digest in digests}
        self._backend.delete(list(places), lambda path: check(places[path]))

    def sign(self, name: str, words: str) -> None:
        """Leave a note that the store ``name`` keeps its artifacts here; ``words`` tell people which one it is."""
        path, data = f"{_SIGNATURES}/{name}", f"{words}\n".encode()
        if self._backend.size(path) is None:
            self._backend.write(path, io.BytesIO(data), len(data))

    def signatures(self) -> dict[str, str]:
        """Return the names of all stores that keep their artifacts here, each with what it says of itself."""
        found = {}
        for path in self._backend.paths(_SIGNATURES):
            with self._backend.open(path) as stream:
                found[path.removeprefix(f"{_SIGNATURES}/")] = stream.read().decode().strip()
        return found

    def unfinished(self, before: datetime) -> Iterator[tuple[str, int]]:
        """Yield the name and size of what was begun to be stored before then, and never ended."""
        return self._backend.unfinished(_FOLDER, before)

    def discard(self, name: str) -> None:
        """Delete what ``unfinished`` named."""
        self._backend.discard(name)

    def _put(self, source: BinaryIO, digest: str, size: int, changed: str) -> None:
        path = _path(digest)
        self._pardon(digest)
        kept = self._backend.size(path)
        if kept is not None and kept != size:
            raise CorruptArtifact(
                f"Artifact {digest} is damaged: {kept} bytes are kept instead of {size}",
                f"delete {path} from the artifacts, then store it again",
            )
        if kept == size:
            return
        checked = io.BufferedReader(_Checked(source, digest, changed, "store it again once nothing writes to it"))
        self._backend.write(path, checked, size)


def open_artifacts(address: StoreAddress, pardon: Callable[[str], None] = _nobody_collects) -> Artifacts:
    """Return the artifacts of a store's address; nothing is connected yet."""
    return Artifacts(open_backend(address), pardon)


def open_backend(address: S3Address) -> Backend:
    """Return what keeps the bytes at ``address.artifacts``; nothing is connected yet."""
    parts = urlsplit(address.artifacts)
    if parts.scheme == "file":
        from modelyard.store.folder import Folder

        return Folder(Path(unquote(parts.path)))
    from modelyard.store.s3 import Bucket

    return Bucket.of(address)


class _Checked(io.RawIOBase):
    """A stream that raises at its end when what was read has another digest than it must have."""

    def __init__(self, source: BinaryIO, digest: str, problem: str, remedy: str) -> None:
        self._source = source
        self._digest = digest
        self._problem = (problem, remedy)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        if not data and f"sha256:{self._hash.hexdigest()}" != self._digest:
            raise CorruptArtifact(*self._problem)
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def _missing(digest: str) -> NotFound:
    return NotFound(
        f"The store has no artifact {digest}",
        "it was never stored there, or deleted: of a run that had ended, after a while; start the run anew",
    )


def _path(digest: str) -> str:
    match = re.fullmatch(r"sha256:([0-9a-f]{64})", digest)
    if match is None:
        raise StoreError(f"'{digest}' is no digest", "write it as sha256:<64 hexadecimal digits>")
    name = match[1]
    return f"{_FOLDER}/{name[:2]}/{name}"
