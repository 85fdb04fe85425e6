"""In what two images of the same inputs differ: layer by layer, file by file, and in how they are run.

What counts is the tar of a layer, not how it is compressed: another release of a compressor gives other bytes of the
same files.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from modelyard.images.compression import decompressing
from modelyard.images.image import Image
from modelyard.images.layer import Digesting, Layer

_CHUNK = 1 << 20
DIFFERS = "differs"
_MISSING, _ADDED = "is in the released image only", "is in the rebuilt image only"
_MOVED = "lies in another place among the layers"


@dataclass(frozen=True)
class FileDifference:
    """One file of a layer.

    Attributes:
        path: in the image, without a leading slash.
        what: ``bytes``, ``mode``, ``owner``, ``time``, ``type`` or ``link target``; ``missing`` when only the released
            image has it, ``added`` when only the rebuilt one does.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True)
class LayerDifference:
    """A layer that is another one, or where none should be, or that lies in another place.

    Attributes:
        layer: its kind, or ``base layer 1``; of several of a kind, with its place among all layers.
        files: sorted by path; empty when the same files are packed in another way, or the layer is only moved.
        what: what is wrong with it. Only of one that ``differs`` can another builder be the cause.
    """

    layer: str
    files: tuple[FileDifference, ...]
    what: str = DIFFERS


def layer_differences(released: Image, rebuilt: Image) -> list[LayerDifference]:
    """Compare all layers and their order; those with the same digest are not read.

    Raises:
        ImageError: a layer that had to be read has other bytes than its digest says; Unavailable: it cannot be read.
    """
    found = []
    together, alone = _paired(released.layers, rebuilt.layers)
    for there, here in together:
        one, other = released.layers[there], rebuilt.layers[here]
        if not _is_same(one, other):
            found.append(LayerDifference(_name(released, there), tuple(_files(_members(one), _members(other)))))
    for (there, _), here in zip(together, sorted(here for _, here in together), strict=True):
        if (there, here) not in together:
            found.append(LayerDifference(_name(released, there), (), _MOVED))
    for there in alone[0]:
        files = _files(_members(released.layers[there]), {})
        found.append(LayerDifference(_name(released, there), tuple(files), _MISSING))
    for here in alone[1]:
        files = _files({}, _members(rebuilt.layers[here]))
        found.append(LayerDifference(_name(rebuilt, here), tuple(files), _ADDED))
    return found


def settings_differences(released: Image, rebuilt: Image) -> list[str]:
    """Compare what images say beside their layers: manifest and config, a line for each key that differs."""
    one, other = dict(_flat(_settings(released))), dict(_flat(_settings(rebuilt)))
    return [
        f"{key}: {other.get(key, 'nothing')} instead of {one.get(key, 'nothing')}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _paired(
    released: tuple[Layer, ...], rebuilt: tuple[Layer, ...]
) -> tuple[list[tuple[int, int]], tuple[list[int], list[int]]]:
    """Return which layers belong together, in the released order, and which have no other: by their places.

    The same layers belong together before those that are only of one kind: what lies between them has no other then.
    """
    left, right = list(range(len(released))), list(range(len(rebuilt)))
    together = []
    keys: tuple[Callable[[Layer], object], ...] = (lambda layer: (layer.kind, layer.diff_id), lambda layer: layer.kind)
    for key in keys:
        for there in list(left):
            here = next((here for here in right if key(rebuilt[here]) == key(released[there])), None)
            if here is not None:
                together.append((there, here))
                left.remove(there)
                right.remove(here)
    return sorted(together), (left, right)


def _is_same(released: Layer, rebuilt: Layer) -> bool:
    """Whether both are the same tar. What a config says of a blob is true of ours alone, until the blob is read."""
    if released.digest == rebuilt.digest or released.diff_id != rebuilt.diff_id:
        return released.diff_id == rebuilt.diff_id
    plain = Digesting()
    with released.open() as stream:
        with decompressing(stream, released.media_type) as tar:
            while chunk := tar.read(_CHUNK):
                plain.write(chunk)
        _read_to_end(stream)
    return plain.digest == rebuilt.diff_id


def _name(image: Image, number: int) -> str:
    kind = image.layers[number].kind
    if kind is None:
        return f"base layer {number + 1}"
    several = sum(layer.kind == kind for layer in image.layers) > 1
    return f"{kind} (layer {number + 1})" if several else kind


@dataclass(frozen=True)
class _Member:
    type: str
    mode: str
    owner: tuple[int, int, str, str]
    time: float
    link: str
    content: str


_SAID = {"type": "type", "mode": "mode", "owner": "owner", "time": "time", "link": "link target", "content": "bytes"}


def _members(layer: Layer) -> dict[str, _Member]:
    """What is in a layer, the content of each file by its sha256; memory grows with the number of files alone."""
    found = {}
    with layer.open() as stream:
        with decompressing(stream, layer.media_type) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                content = hashlib.sha256()
                if (file := tar.extractfile(member) if member.isreg() else None) is not None:
                    while chunk := file.read(_CHUNK):
                        content.update(chunk)
                found[member.name.removeprefix("./")] = _Member(
                    type=member.type.decode(),
                    mode=oct(member.mode),
                    owner=(member.uid, member.gid, member.uname, member.gname),
                    time=member.mtime,
                    link=member.linkname,
                    content=content.hexdigest(),
                )
        _read_to_end(stream)
    return found


def _read_to_end(stream: BinaryIO) -> None:
    """There a layer's digest is checked."""
    while stream.read(_CHUNK):
        pass


def _files(released: dict[str, _Member], rebuilt: dict[str, _Member]) -> Iterator[FileDifference]:
    for path in sorted(released.keys() | rebuilt.keys()):
        one, other = released.get(path), rebuilt.get(path)
        if one is None or other is None:
            yield FileDifference(path, "added" if one is None else "missing")
            continue
        what = [said for field, said in _SAID.items() if getattr(one, field) != getattr(other, field)]
        if what:
            yield FileDifference(path, ", ".join(what))


def _settings(image: Image) -> dict[str, Any]:
    """Without what only names config and layers, which are compared themselves."""
    config, manifest = dict(image.parsed_config), dict(image.parsed_manifest)
    config["rootfs"] = {key: value for key, value in config.get("rootfs", {}).items() if key != "diff_ids"}
    config["history"] = {f"{number:03}": line for number, line in enumerate(config.get("history") or (), 1)}
    del manifest["config"], manifest["layers"]
    return {"config": config, **manifest}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, json.dumps(value, sort_keys=True)
