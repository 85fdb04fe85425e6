"""The Docker engine of the steps as the builder of a project's Dockerfile, for a step on the worker, which may use it.

The engine is given the context, the Dockerfile and the images that it names, under names of this one build, and no
account of any registry: nothing else is used, and nothing that was there before is touched. Each of these images has a
label, which all that is built on them gets from them: so everything of a build is found again, and is removed.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from modelyard.docker_engine import connect, in_words, load
from modelyard.dockerfile.builder import Build, BuildLog
from modelyard.dockerfile.buildkit import TRACE, Trace, cached, forget
from modelyard.dockerfile.ignored import FILE
from modelyard.dockerfile.named_images import renamed
from modelyard.errors import ModelyardError, Unavailable
from modelyard.images import Image
from modelyard.images.docker_archive import docker_archive, read_docker_archive

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

JSON = dict[str, Any]

_LABEL = "modelyard.io/build"
_NAME = "localhost/modelyard-build"
_DOCKERFILE = ".modelyard.Dockerfile"
_DAY = 86_400.0
_CLASSIC, _BUILDKIT = "1", "2"
_BAD_REQUEST, _CONFLICT = 400, 409
_REMOVAL_SECONDS, _LOOK_SECONDS = 30.0, 0.2
_OF_THE_ENGINE = re.compile(r"container|docker_version|moby\.")  # in an image's config: how the engine made it
_BOOKKEEPING = re.compile(r"$| ---> |Removing intermediate container |Successfully ")  # lines that say no more
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_NO_ROOM = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)


class EngineBuilder:
    """A :class:`~modelyard.dockerfile.builder.Builder`.

    Args:
        folder: a new one, for what is built: its layers are read from there until the step ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, what: Build, log: Callable[[str], None]) -> Image:
        """Have the image built; see :class:`~modelyard.dockerfile.builder.Builder`."""
        self._folder.mkdir()
        client = connect()
        client.timeout = None  # a line may say nothing for hours
        version = _builder_version(client)
        with _cleaned(client, version, log) as build:
            names = {}
            for number, (name, image) in enumerate(what.bases.items()):
                log(f"Handing {name} to the Docker engine")
                names[name] = f"{_NAME}:{build}-{number}"
                labelled = image.append([], {"Labels": {_LABEL: build}}, {})
                load(client, docker_archive(labelled, names[name], lambda _: None))
            result = f"{_NAME}:{build}"
            with _context(what, names) as context:
                _build(client, context, {"version": version, "t": result}, _as_written(names, log))
            return self._taken(client, result)

    def _taken(self, client: APIClient, name: str) -> Image:
        with in_words(), client.get(_url(client, f"images/{name}/get"), stream=True) as response:
            _check(response)
            response.raw.decode_content = True
            built = read_docker_archive(response.raw, self._folder)
        config = {key: value for key, value in built.parsed_config.items() if not _OF_THE_ENGINE.match(key)}
        labels = {key: value for key, value in (config["config"].get("Labels") or {}).items() if key != _LABEL}
        return Image.of(config | {"config": config["config"] | {"Labels": labels}}, built.layers, {})


@contextmanager
def _context(what: Build, names: Mapping[str, str]) -> Iterator[BinaryIO]:
    """Give the context as a tar with the Dockerfile in it, which the classic builder copies no more than it is told."""
    rules = what.context / FILE
    ignored = (rules.read_bytes() if rules.is_file() else FILE.encode()) + f"\n{_DOCKERFILE}\n".encode()
    text = renamed(what.dockerfile.read_text(encoding="utf-8", errors="surrogateescape"), names)
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:  # BuildKit takes no other for one
            tar.add(what.context, ".", filter=_owned_by_root)
            for name, data in ((FILE, ignored), (_DOCKERFILE, text.encode(errors="surrogateescape"))):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        file.seek(0)
        yield file


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _build(client: APIClient, context: BinaryIO, asked: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Have the engine build, and hand on what it says.

    Raises:
        EnvironmentBuildError: the Dockerfile cannot be built.
        Unavailable: the engine has no room, has ended, or is away.
    """
    said, ended = BuildLog(log), False
    trace = Trace()
    params = {**asked, "dockerfile": _DOCKERFILE, "nocache": "1", "rm": "1", "forcerm": "1"}
    headers = {"Content-Type": "application/x-tar"}  # and no account: docker-py's own `build` sends all there are
    with (
        in_words(),
        client.post(_url(client, "build"), params=params, data=context, headers=headers, stream=True) as response,
    ):
        if response.status_code == _BAD_REQUEST:  # it has not understood the file
            raise said.failure(response.json()["message"])
        _check(response)
        rest = ""
        for record in map(json.loads, response.iter_lines()):
            if "error" in record:
                said.tell(record["error"])
                if _NO_ROOM.search(record["error"]):
                    raise Unavailable(f"The Docker engine has no room:\n{said.last}", "see the disk of its host")
                raise said.failure("")
            if record.get("id") == TRACE:
                lines = list(trace.lines(record["aux"]))
            else:
                ended = ended or "ID" in (record.get("aux") or {})
                *lines, rest = (rest + record.get("stream", "")).split("\n")
            for line in map(_readable, lines):
                if not _BOOKKEEPING.match(line):
                    said.tell(line)
    if not ended:
        raise Unavailable("The Docker engine has ended in the middle of the build", "see its own log on its host")


def _builder_version(client: APIClient) -> str:
    """Return which of its builders the engine prefers: the classic one before Docker 23, BuildKit since."""
    with in_words():
        answer: Response = client.get(f"{client.base_url}/_ping")
    return answer.headers.get("Builder-Version", _CLASSIC)


def _readable(line: str) -> str:
    # A progress bar rewrites its line: its last state is what a log needs. What comes by standard error is red.
    return _COLOR.sub("", line).rstrip("\r").rpartition("\r")[2]


def _as_written(names: Mapping[str, str], log: Callable[[str], None]) -> Callable[[str], None]:
    """Return what hands lines on with the images' names as the Dockerfile has them."""
    written = {new: name for name, new in names.items()}
    pattern = re.compile("|".join(map(re.escape, written)) or "(?!)")
    return lambda line: log(pattern.sub(lambda match: written[match[0]], line))


@contextmanager
def _cleaned(client: APIClient, version: str, log: Callable[[str], None]) -> Iterator[str]:
    """Give the name of a new build; what the engine has of it in the end is removed, and what killed ones have left."""
    with in_words():
        for image in client.images(all=True, filters={"label": _LABEL}):
            build = image["Labels"][_LABEL]
            if time.time() - float(build.partition("-")[0]) > _DAY:
                _remove(client, build)
        before = cached(client) if version == _BUILDKIT else set()
    build = f"{time.time():.0f}-{secrets.token_hex(6)}"
    try:
        yield build
    finally:
        try:
            _remove(client, build)
            if version == _BUILDKIT:
                with in_words():
                    forget(client, before)
        except ModelyardError as error:  # whatever was wrong before is the reason
            log(f"What the Docker engine has of the build {build} is not removed: {error.message}")


def _remove(client: APIClient, build: str) -> None:
    """Remove what a build has made: containers, then images; what lies below something goes after it."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + _REMOVAL_SECONDS
    with in_words():
        while found := _made(client, build):
            if time.monotonic() > deadline:
                raise Unavailable("The Docker engine still has some of it", "docker system prune removes it")
            for remove in found:
                try:
                    remove(force=True)
                except NotFound:  # it went with the one on it
                    continue
                except APIError as error:  # something lies on it still, or the engine is at it
                    if error.status_code != _CONFLICT:
                        raise
            time.sleep(_LOOK_SECONDS)


def _made(client: APIClient, build: str) -> list[Callable[..., Any]]:
    """Return what removes each that is there of a build."""
    labelled = {"label": f"{_LABEL}={build}"}
    images = client.images(all=True, filters=labelled)
    images += client.images(filters={"reference": f"{_NAME}:{build}*"})  # one from scratch has no label
    containers = client.containers(all=True, filters=labelled)
    return [
        *(partial(client.remove_container, one["Id"], v=True) for one in containers),
        *(partial(client.remove_image, one["Id"]) for one in images),
    ]


def _url(client: APIClient, path: str) -> str:
    return f"{client.base_url}/v{client.api_version}/{path}"


def _check(response: Response) -> None:
    import requests
    from docker.errors import create_api_error_from_http_exception

    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        create_api_error_from_http_exception(error)
