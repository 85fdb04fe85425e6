"""Artifacts in a folder of this machine, safe against crashes at any moment."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from modelyard.durable import sync_folder
from modelyard.errors import NotFound, StoreError

_CHUNK = 1024 * 1024
_INCOMING = "incoming"


class Folder:
    """A ``Backend`` of plain files, read-only once they are there.

    A file is written to ``incoming/``, synced, renamed, and its folder synced: it is there whole or not at all. What a
    crash leaves in ``incoming/`` is nobody's and is deleted by garbage collection.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, path: str) -> int | None:
        """Return the size of a file, None when there is none."""
        with self._errors():
            try:
                return (self._root / path).stat().st_size
            except FileNotFoundError:
                return None

    def write(self, path: str, source: BinaryIO, size: int) -> None:  # noqa: ARG002 - S3 needs it
        """Keep all of ``source`` at ``path``, or nothing."""
        target = self._root / path
        incoming = self._root / _INCOMING
        with self._errors():
            _make_folder(target.parent)
            _make_folder(incoming)
            descriptor, name = tempfile.mkstemp(dir=incoming)
            try:
                with open(descriptor, "wb") as draft:  # noqa: PTH123 - a descriptor
                    shutil.copyfileobj(source, draft, _CHUNK)
                    draft.flush()
                    os.fchmod(descriptor, 0o444)
                    os.fsync(descriptor)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            sync_folder(target.parent)

    def open(self, path: str) -> BinaryIO:
        """Return a file, open for reading."""
        with self._errors():
            try:
                return (self._root / path).open("rb")
            except FileNotFoundError as error:
                raise NotFound(
                    f"There is no file {self._root / path}",
                    "it was never stored there, or deleted meanwhile: start the run anew that stores it",
                ) from error

    def paths(self, prefix: str) -> Iterator[str]:
        """Yield the path of every file below the folder ``prefix``, sorted."""
        with self._errors():
            found = [Path(folder, name) for folder, _, names in os.walk(self._root / prefix) for name in names]
        yield from sorted(path.relative_to(self._root).as_posix() for path in found)

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the path and size of every file below the folder ``prefix``."""
        with self._errors():
            for folder, _, names in os.walk(self._root / prefix):
                for path in (Path(folder, name) for name in names):
                    with suppress(FileNotFoundError):  # another collection runs
                        yield path.relative_to(self._root).as_posix(), path.stat().st_size

    def delete(self, paths: Sequence[str], check: Callable[[str], None]) -> None:
        """Delete files; one that is not there is no error."""
        with self._errors():
            for path in paths:
                check(path)
                (self._root / path).unlink(missing_ok=True)

    def unfinished(self, prefix: str, before: datetime) -> Iterator[tuple[str, int]]:  # noqa: ARG002 - all lie in one
        """Yield the name and size of each file in ``incoming/`` that nobody has written to since then."""
        with self._errors():
            for path in sorted((self._root / _INCOMING).glob("*")):
                with suppress(FileNotFoundError):  # its writer has ended
                    found = path.stat()
                    if found.st_mtime < before.timestamp():
                        yield path.name, found.st_size

    def discard(self, name: str) -> None:
        """Delete a file in ``incoming/``."""
        with self._errors():
            (self._root / _INCOMING / name).unlink(missing_ok=True)

    def ping(self) -> None:
        """Make sure that the folder is there and can be written to."""
        with self._errors():
            _make_folder(self._root / _INCOMING)
            tempfile.TemporaryFile(dir=self._root / _INCOMING).close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The artifacts in {self._root} cannot be used: {error.strerror or error}",
                "make room, or make the folder writable for the user that runs this",
            ) from error


def _make_folder(folder: Path) -> None:
    """Make a folder with its parents so that it is there after a crash."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
