"""In what two images of the same inputs differ: layer by layer, file by file, and in how they are run.

What counts is the tar of a layer, not how it is compressed: another release of a compressor gives other bytes of the
same files.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelyard.images.compression import decompressing
from modelyard.images.image import Image
from modelyard.images.layer import Layer

_CHUNK = 1 << 20
_MODEL = "io.modelyard.model"  # names a layer, which is compared itself


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
    """A layer that is another one.

    Attributes:
        layer: its kind, or ``base layer 1``.
        files: sorted by path; empty when the same files are packed in another way.
    """

    layer: str
    files: tuple[FileDifference, ...]


def layer_differences(released: Image, rebuilt: Image) -> list[LayerDifference]:
    """Compare all layers; those with the same diff id are not read.

    Raises:
        ImageError: a layer that had to be read has other bytes than its digest says; Unavailable: it cannot be read.
    """
    ours, theirs = _by_name(rebuilt), _by_name(released)
    found = []
    for name in dict.fromkeys([*theirs, *ours]):
        one, other = theirs.get(name), ours.get(name)
        if one is None or other is None or one.diff_id != other.diff_id:
            found.append(LayerDifference(name, tuple(_files(_members(one), _members(other)))))
    return found


def settings_differences(released: Image, rebuilt: Image) -> list[str]:
    """Compare what images say beside their layers: config and annotations, a line for each key that differs."""
    one, other = dict(_flat(_settings(released))), dict(_flat(_settings(rebuilt)))
    return [
        f"{key}: {other.get(key, 'nothing')} instead of {one.get(key, 'nothing')}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key) and not key.endswith(_MODEL)
    ]


def _by_name(image: Image) -> dict[str, Layer]:
    return {layer.kind or f"base layer {number}": layer for number, layer in enumerate(image.layers, 1)}


@dataclass(frozen=True)
class _Member:
    type: str
    mode: str
    owner: tuple[int, int, str, str]
    time: float
    link: str
    content: str


_SAID = {"type": "type", "mode": "mode", "owner": "owner", "time": "time", "link": "link target", "content": "bytes"}


def _members(layer: Layer | None) -> dict[str, _Member]:
    """What is in a layer, the content of each file by its sha256; memory grows with the number of files alone."""
    if layer is None:
        return {}
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
        while stream.read(_CHUNK):  # to its end, where its digest is checked
            pass
    return found


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
    """Without what only names the layers, which are compared themselves."""
    config = {key: value for key, value in image.parsed_config.items() if key not in ("rootfs", "history")}
    return {"config": config, "annotations": image.parsed_manifest.get("annotations") or {}}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, json.dumps(value, sort_keys=True)
