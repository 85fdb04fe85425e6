"""The builder that runs in a container beside the step: two folders between them, and nothing else.

It runs the project's RUN lines, so nothing that it writes is trusted: no link in its folder is followed, and no byte is
taken that has not the digest it is named by.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from modelyard.dockerfile.builder import Build, BuildLog
from modelyard.errors import EnvironmentBuildError, ImageError, Unavailable
from modelyard.images import Image
from modelyard.images.base import full_name
from modelyard.images.image import digest_of, read_layers
from modelyard.images.layout import Layout

REQUEST, RESULT = "request", "result"  # below the folder; the first is the step's to write, the second the builder's

_LOOK_SECONDS = 0.2
# The builder's own codes for what is no fault of the Dockerfile: it can't work on this node, or could not this time.
_NOT_HERE, _NOT_NOW = 77, 75
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_JSON = 1 << 22  # bytes of a manifest or config; registries take no more


class BesideBuilder:
    """A :class:`~modelyard.dockerfile.builder.Builder`.

    Args:
        folder: shared with the builder's container, see ``builder.sh``.
    """

    def __init__(self, folder: Path) -> None:
        self._request = folder / REQUEST
        self._result = folder / RESULT

    def build(self, what: Build, log: Callable[[str], None]) -> Image:
        """Have the image built; see :class:`~modelyard.dockerfile.builder.Builder`."""
        self._ask(what)
        said = BuildLog(log)
        code = self._wait(said.tell)
        if code == _NOT_HERE:
            raise EnvironmentBuildError(
                f"The builder beside this step may make no user namespace on this node:\n{said.last}",
                "have the cluster's administrator allow what docker/README.md says of Dockerfiles",
            )
        if code == _NOT_NOW:
            raise Unavailable(f"The builder beside this step has failed:\n{said.last}", "see its node's disk")
        if code != 0:
            raise said.failure(f"exit code {code}")
        return self._built()

    def _ask(self, what: Build) -> None:
        shutil.copytree(what.context, self._request / "context", symlinks=True)
        shutil.copyfile(what.dockerfile, self._request / "Dockerfile")
        bases = self._request / "bases"
        bases.mkdir()
        for number, image in enumerate(what.bases.values()):
            Layout(bases / str(number)).push("base", image)
        (bases / "names").write_text("".join(f"{name} {full_name(name)}\n" for name in what.bases))
        (self._request / "begin").touch()

    def _wait(self, tell: Callable[[str], None]) -> int:
        """Tell each line of the build's log as it is written, and return the build's exit code."""
        rest = b""
        with self._opened("log") as file:
            while True:
                code = self._code()  # before the log's end is looked for: it is written after the last line
                while data := file.read(1 << 16):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        tell(_readable(line))
                if code is not None:
                    if rest:
                        tell(_readable(rest))
                    return code
                time.sleep(_LOOK_SECONDS)

    def _code(self) -> int | None:
        try:
            with _open(self._result, "code") as file:
                return int(file.read(8))
        except FileNotFoundError:
            return None
        except ValueError:
            return 1

    @contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        while not os.path.lexists(self._result / name):
            time.sleep(_LOOK_SECONDS)
        with _open(self._result, name) as file:
            yield file

    def _built(self) -> Image:
        with self._open_file("manifest.json") as file:
            manifest = file.read(_MOST_JSON)
        parsed = json.loads(manifest)
        config = self._blob(parsed["config"]["digest"])
        return Image(manifest, config, read_layers(parsed, json.loads(config), self._open_blob))

    def _blob(self, digest: str) -> bytes:
        with self._open_blob(digest) as file:
            data = file.read(_MOST_JSON)
        if digest_of(data) != digest:
            raise ImageError(f"The builder left other bytes than {digest}", "run the step again")
        return data

    def _open_blob(self, digest: str) -> BinaryIO:
        if not _DIGEST.fullmatch(digest):
            raise ImageError(f"The builder left an image with a layer '{digest}'", "run the step again")
        return self._open_file(digest.removeprefix("sha256:"))

    def _open_file(self, name: str) -> BinaryIO:
        try:
            return _open(self._result, f"image/{name}")
        except FileNotFoundError as error:
            raise ImageError(f"The builder left no image: {name} is missing", "run the step again") from error


def _open(folder: Path, name: str) -> BinaryIO:
    """Open a file that the builder wrote, by way of no link: a link could lead to a credential."""
    *folders, last = name.split("/")
    at = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        for inner in folders:
            outer, at = at, os.open(inner, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(outer)
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EINVAL, "no file")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ImageError(f"The builder left {name} as something that is no file", "look at the Dockerfile") from error
    finally:
        os.close(at)
    return os.fdopen(file, "rb")


def _readable(line: bytes) -> str:
    # A progress bar rewrites its line: its last state is what a log needs.
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
