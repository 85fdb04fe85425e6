"""The base image below a model image: by reference, kept by digest, with the Python that is in it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from modelyard.errors import EnvironmentBuildError, ImageError
from modelyard.images import libc
from modelyard.images.compression import decompressing
from modelyard.images.image import Image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, Kind
from modelyard.images.paths import ROOT
from modelyard.images.registry import Registry
from modelyard.images.repositories import BASE
from modelyard.images.store import ImageStore
from modelyard.images.transport import Transport

if TYPE_CHECKING:
    from modelyard.store.address import StoreAddress

_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_PYTHON = re.compile(r"python(3\.\d+)")
# What is written on the copy of each that is kept.
_VERSION = "3"  # part of each tag: a change of what is looked for looks anew
_PLACE, _PYTHON_VERSION = "io.modelyard.interpreter", "io.modelyard.python"
_VIRTUAL, _LIBC = "io.modelyard.virtual-environment", "io.modelyard.libc"
_LARGEST_LIBC = 16 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Base:
    """A base image.

    Attributes:
        name: as it was asked for.
        interpreter: the Python in it that environments run on.
        virtual: a virtual environment of that Python that comes before it on the image's PATH.
    """

    name: str
    image: Image
    interpreter: Interpreter
    virtual: Path | None = None

    @property
    def python(self) -> Path:
        """What ``python3`` is in the image."""
        executable = self.interpreter.executable
        return executable if self.virtual is None else self.virtual / "bin" / executable.name

    @property
    def reference(self) -> str:
        """Its name by digest, which never becomes another image: ``python@sha256:…``."""
        name = self.name.partition("@")[0]
        folders, slash, last = name.rpartition("/")
        return f"{folders}{slash}{last.partition(':')[0]}@{self.image.digest}"

    def entries(self, python: str, platform: str, kinds: Iterable[Kind]) -> list[Entry]:
        """Return what makes folders of packages virtual environments of the Python in here.

        Args:
            python: that all of them are built for, ``3.11``.
            platform: the same, ``linux/amd64``.
            kinds: of their layers.

        Raises:
            EnvironmentBuildError: the base has another Python.
        """
        found = self.interpreter
        if (found.python, found.platform) != (python, platform):
            raise EnvironmentBuildError(
                f"The base image {self.name} has Python {found.python} for {found.platform}, and what is to lie on it "
                f"is built for {python} on {platform}",
                "name one with this Python, or use Modelyard with the Python that it has",
            )
        return [entry for kind in kinds for entry in found.entries(f"{ROOT}/{kind}")]


def base_name(address: StoreAddress, python: str) -> str:
    """Return the name of the base image: the store's, else the official one with this Python (``3.11``)."""
    return address.base_image or f"python:{python}-slim"


def pull_image(name: str, address: StoreAddress, home: Path, platform: str | None = None) -> Image:
    """Return any image by its name; see :func:`pull_base` for the arguments and what is raised."""
    host, repository, reference = split_reference(name)
    image = Registry(Transport.to(host, address), "", home / "cache" / "layers").pull(repository, reference, platform)
    if platform is not None and image.platform != platform:
        raise ImageError(f"{name} is not for {platform}, but for {image.platform}", "use an image for this platform")
    return image


def pull_base(name: str, images: ImageStore, address: StoreAddress, home: Path, platform: str | None = None) -> Base:
    """Return a base image. The store keeps a copy, so that its bytes are fetched, and searched for a Python, once.

    Args:
        name: as for ``docker pull``: ``python:3.11-slim``, ``host:5000/team/base@sha256:…``. What it stands for is
            asked anew each time.
        images: keeps the copy.
        address: its registry's account and TLS count for a base image in the same registry; another registry's account
            is that of Docker's configuration.
        home: this machine's folder.
        platform: that it has to be for; None takes this machine's of several, and what there is of one.

    Raises:
        ImageError: there is no such image, none for this platform, no Python 3 on its PATH, or a C library that cannot
            load what is to lie on it.
        Unavailable: its registry cannot be reached.
    """
    return _kept(name, pull_image(name, address, home, platform), images)


def pull_same_base(name: str, images: ImageStore, address: StoreAddress, home: Path) -> Base:
    """Return the base image that was once pulled: the store's copy, or the original where the store has lost that.

    Args:
        name: with the digest (:attr:`Base.reference`).
        images: keeps the copy.
        address: as for :func:`pull_base`, whose errors these are.
        home: this machine's folder.
    """
    digest = name.partition("@")[2]
    try:
        image = images.pull(BASE, digest)
    except ImageError:
        image = pull_image(name, address, home)
    return _kept(name, image, images)


def _kept(name: str, image: Image, images: ImageStore) -> Base:
    tag = f"{image.digest.removeprefix('sha256:')[:40]}-{_VERSION}"
    digest = images.resolve(BASE, tag)
    if digest is None:
        copied = images.pull(BASE, images.push(BASE, image))
        digest = images.push(BASE, image.append([], {"Labels": _find_python(copied, name)}, {}), tag)
    kept = images.pull(BASE, digest)
    found = kept.parsed_config["config"]["Labels"]
    layers = (
        replace(near, media_type=far.media_type, origin=near.origin or far.origin)
        for near, far in zip(kept.layers, image.layers, strict=True)
    )
    if why := libc.why_not(found[_LIBC]):
        raise ImageError(
            f"The base image {name} {why}, and the packages that are to lie on it are for glibc "
            f"{libc.FLOOR[0]}.{libc.FLOOR[1]} or newer",
            "use one of Debian 10, Ubuntu 20.04, RHEL 8 or newer, as python:3.11-slim; not one of Alpine",
        )
    interpreter = Interpreter(Path(found[_PLACE]), found[_PYTHON_VERSION], image.platform)
    virtual = found[_VIRTUAL]
    return Base(name, replace(image, layers=tuple(layers)), interpreter, Path(virtual) if virtual else None)


def split_reference(name: str) -> tuple[str, str, str]:
    """Return host, repository and tag or digest of an image's name, as Docker reads it."""
    rest, _, digest = name.partition("@")
    head, _, tail = rest.rpartition("/")
    tail, _, tag = tail.partition(":")
    rest = f"{head}/{tail}" if head else tail
    host, _, repository = rest.partition("/")
    if not repository or not ("." in host or ":" in host or host == "localhost"):
        host, repository = _HUB, rest
    if host == _HUB:
        host, repository = _HUB_HOST, repository if "/" in repository else f"library/{repository}"
    return host, repository, digest or tag or "latest"


def full_name(name: str) -> str:
    """Return an image's name with its registry and its tag; "" for one that is named by its digest."""
    host, repository, reference = split_reference(name)
    return "" if "@" in name else f"{_HUB if host == _HUB_HOST else host}/{repository}:{reference}"


def _find_python(image: Image, name: str) -> dict[str, str]:
    """The first ``python3.X`` on the image's PATH, and the C library that it runs on."""
    env: dict[str, Any] = dict(
        item.partition("=")[::2] for item in (image.parsed_config.get("config") or {}).get("Env") or ()
    )
    folders = [PurePosixPath(folder.lstrip("/")) for folder in env.get("PATH", _PATH).split(":") if folder]
    found: dict[PurePosixPath, str] = {}
    virtual: dict[PurePosixPath, str] = {}  # where the Python of a virtual environment is
    libraries: dict[bool, str] = {}  # by whether it is glibc: Debian has a package of musl, too, that no Python uses
    for layer in image.layers:
        with (
            layer.open() as stream,
            decompressing(stream, layer.media_type) as plain,
            tarfile.open(fileobj=plain, mode="r|") as tar,
        ):
            for member in tar:
                path = PurePosixPath(member.name.removeprefix("./"))
                if path.parent in folders and (match := _PYTHON.fullmatch(path.name)):
                    found[path] = match[1]
                elif libc.is_libc(str(path)):
                    if version := libc.libc_in(str(path), _content(tar, member)):
                        libraries[version != libc.MUSL] = version
                elif path.name == "pyvenv.cfg" and path.parent / "bin" in folders and (file := tar.extractfile(member)):
                    config = dict(
                        line.partition("=")[::2] for line in file.read().decode("utf-8", "replace").splitlines()
                    )
                    virtual[path.parent] = next(
                        (home.strip() for key, home in config.items() if key.strip() == "home"), ""
                    )
    if not found:
        raise ImageError(
            f"The base image {name} has no Python 3 on its PATH", "use one with Python, as python:3.11-slim"
        )
    path = min(found, key=lambda path: folders.index(path.parent))
    exact = env.get("PYTHON_VERSION", "")
    version = exact if exact.startswith(f"{found[path]}.") else found[path]
    home = virtual.get(path.parent.parent)
    facts = {_PYTHON_VERSION: version, _LIBC: libraries.get(True) or libraries.get(False, "")}
    if home is None:
        return {**facts, _PLACE: f"/{path}", _VIRTUAL: ""}
    return {**facts, _PLACE: f"{home}/{path.name}", _VIRTUAL: f"/{path.parent.parent}"}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return member.linkname.encode() if file is None else file.read(_LARGEST_LIBC)
