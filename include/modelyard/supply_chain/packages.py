"""The packages in an image, as its own package databases name them: Debian's, Alpine's and Python's.

Read from the tar of each layer as it comes, nothing unpacked. What a layer has is kept in the image store under the
layer's diff id: base, environment and server are read once, whatever number of images they are part of.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Literal

from modelyard.errors import ImageError
from modelyard.images.compression import decompressing
from modelyard.images.image import Image, digest_of, to_bytes
from modelyard.images.layer import Layer
from modelyard.images.repositories import PACKAGES
from modelyard.images.store import ImageStore

JSON = dict[str, Any]

_VERSION = "1"  # part of each tag: a change of what is read reads anew
_TYPE = "application/vnd.modelyard.packages.v1+json"
_WITHOUT = ("interpreter", "project", "model")  # kinds of layers in which nothing is installed
_DPKG = re.compile(r"var/lib/dpkg/status(\.d/[^/]+)?")
_APK = re.compile(r"(usr/)?lib/apk/db/installed")
_PYTHON = re.compile(r".+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_SYSTEM = re.compile(r"(etc|usr/lib)/os-release")
_RPM = re.compile(r"(var/lib|usr/lib/sysimage|usr/share)/rpm/(rpmdb\.sqlite|Packages(\.db)?)")
_HIDDEN, _HIDES_ALL = ".wh.", ".wh..wh..opq"
_MOST = 64 << 20  # bytes of a database; Debian's with all packages there are has fewer


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        kind: whose database names it, as package URLs call it.
        name, version: as the database has them; of Python the normalized name.
        architecture: of the system's packages.
        source: what the system's package is built from, ``name`` or ``name@version``, when that differs: advisories go
            by it.
        license: as the package states it.
    """

    kind: Literal["deb", "apk", "pypi"]
    name: str
    version: str
    architecture: str | None = None
    source: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Contents:
    """What is installed in an image.

    Attributes:
        packages: each with the paths, in the image, of the files that name it.
        system: ``debian-12``, as package URLs name a distribution; None when the image does not say.
        unread: paths of databases that there are and that nothing here reads.
    """

    packages: dict[Package, tuple[str, ...]]
    system: str | None
    unread: tuple[str, ...]


def packages_of(image: Image, images: ImageStore) -> Contents:
    """Return what is installed in ``image``: a file of a layer hides those of its path in the layers below.

    Args:
        image: its layers can be opened.
        images: keeps what each layer has.

    Raises:
        ImageError: a layer is not what it claims to be; Unavailable: the store cannot be reached.
    """
    files: dict[str, Any] = {}
    for layer in image.layers:
        if layer.kind in _WITHOUT:
            continue
        found = _kept(layer, images)
        gone = tuple(found["removed"])
        files = {path: file for path, file in files.items() if not f"{path}/".startswith(gone)} | found["files"]
    packages: dict[Package, tuple[str, ...]] = {}
    for path, file in sorted(files.items()):
        for package in (Package(**one) for one in file.get("packages", ())):
            packages[package] = (*packages.get(package, ()), path)
    # The one in etc is often a link to the other.
    system = next((files[name]["system"] for name in ("etc/os-release", "usr/lib/os-release") if name in files), None)
    return Contents(packages, system, tuple(path for path, file in sorted(files.items()) if file.get("unread")))


def _kept(layer: Layer, images: ImageStore) -> JSON:
    """Return what a layer has, from the store when it was read before."""
    tag = f"{layer.diff_id.removeprefix('sha256:')[:40]}-{_VERSION}"
    digest = images.resolve(PACKAGES, tag)
    if digest is not None:
        # Another store with the same registry may have deleted it this very moment, as garbage of its own.
        with suppress(ImageError), images.pull(PACKAGES, digest).layers[-1].open() as stream:
            kept: JSON = json.loads(stream.read())
            return kept
    found = _read(layer)
    data = to_bytes(found)
    content = Layer(digest_of(data), digest_of(data), len(data), _TYPE, lambda: BytesIO(data))
    images.push(PACKAGES, Image.of({"architecture": "unknown", "os": "unknown"}, [content], {}), tag)
    return found


def _read(layer: Layer) -> JSON:
    """Return ``{"files": {path: what it says}, "removed": [path of what it hides below, "/" at its end]}``."""
    files: JSON = {}
    removed: set[str] = set()
    with (
        layer.open() as stream,
        decompressing(stream, layer.media_type) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        for member in tar:
            path = member.name.removeprefix("./").lstrip("/")
            folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
            if name == _HIDES_ALL:
                removed.add("" if folder == "." else f"{folder}/")
            elif name.startswith(_HIDDEN):
                removed.add(f"{PurePosixPath(folder) / name.removeprefix(_HIDDEN)}/")
            elif member.isfile() and (reader := _reader(path)) is not None:
                if member.size > _MOST:
                    raise ImageError(
                        f"{path} in layer {layer.digest} has {member.size} bytes",
                        "use a base image whose package database is one",
                    )
                content = tar.extractfile(member)
                assert content is not None  # noqa: S101 - it is a file
                files[path] = reader(content.read().decode(errors="replace"))
        while plain.read(1 << 20):  # a tar may end before its layer does, and the digest is checked at the layer's end
            pass
        while stream.read(1 << 20):
            pass
    return {"files": {path: file for path, file in files.items() if file}, "removed": sorted(removed)}


def _reader(path: str) -> Callable[[str], JSON] | None:
    if _DPKG.fullmatch(path) and not path.endswith(".md5sums"):  # distroless keeps those there, too
        return lambda text: _listing(_debian(text))
    if _APK.fullmatch(path):
        return lambda text: _listing(_alpine(text))
    if _PYTHON.fullmatch(path):
        return lambda text: _listing(_python(text))
    if _SYSTEM.fullmatch(path):
        return _system
    return (lambda _: {"unread": True}) if _RPM.fullmatch(path) else None


def _listing(packages: Iterable[Package]) -> JSON:
    return {"packages": [asdict(package) for package in packages]}


def _debian(text: str) -> Iterator[Package]:
    """As deb-control(5) has it; in ``status.d`` of images without dpkg there is no Status."""
    for paragraph in text.split("\n\n"):
        fields = _fields(paragraph.splitlines())
        if "Package" not in fields or fields.get("Status", "installed").split()[-1:] != ["installed"]:
            continue
        # `glibc (2.36-9)`: only what differs from the package's own name and version is there
        source = fields.get("Source", "").replace(" (", "@").rstrip(")")
        version, architecture = fields.get("Version", ""), fields.get("Architecture")
        yield Package("deb", fields["Package"], version, architecture, source or None)


def _alpine(text: str) -> Iterator[Package]:
    """As https://wiki.alpinelinux.org/wiki/Apk_spec has it: a letter a field."""
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(":", 1) for line in paragraph.splitlines() if line[1:2] == ":")
        if "P" in fields:
            source = fields.get("o")
            yield Package(
                "apk",
                fields["P"],
                fields.get("V", ""),
                fields.get("A"),
                source if source != fields["P"] else None,
                fields.get("L"),
            )


def _python(text: str) -> Iterator[Package]:
    """As https://packaging.python.org/specifications/core-metadata has it."""
    from packaging.utils import canonicalize_name

    fields = _fields(text.partition("\n\n")[0].splitlines())
    if "Name" in fields and "Version" in fields:
        stated = fields.get("License-Expression") or fields.get("License") or ""
        # Some write the whole license there.
        license_ = stated if 0 < len(stated) <= 64 and stated != "UNKNOWN" else None
        yield Package("pypi", str(canonicalize_name(fields["Name"])), fields["Version"], license=license_)


def _system(text: str) -> JSON:
    """As os-release(5) has it."""
    lines = (line.partition("=") for line in text.splitlines())
    fields = {name: value.strip("\"'") for name, _, value in lines}
    named = "-".join(part for part in (fields.get("ID"), fields.get("VERSION_ID")) if part)
    return {"system": named or None}


def _fields(lines: Iterable[str]) -> dict[str, str]:
    """Return the fields of a paragraph, each one's first line."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            fields.setdefault(name, value.strip())
    return fields
