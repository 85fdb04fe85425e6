"""An image as a value: its manifest and config as they are, byte by byte, and its layers (OCI 1.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from modelyard.errors import ImageError
from modelyard.images.compression import MEDIA_TYPES, decompressing
from modelyard.images.layer import Digesting, Kind, Layer

JSON = dict[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

EPOCH = "1970-01-01T00:00:00Z"
_KIND = "io.modelyard.layer"
_CHUNK = 1 << 20
_MAGIC = {"zstd": b"\x28\xb5\x2f\xfd", "gzip": b"\x1f\x8b"}
# A base image may come in Docker's types; the bytes are the same, and an OCI manifest must name OCI's.
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_OCI_LAYER = {
    _DOCKER_LAYER: "application/vnd.oci.image.layer.v1.tar",
    **{f"{_DOCKER_LAYER}.{compression}": media_type for compression, media_type in MEDIA_TYPES.items()},
}


def digest_of(data: bytes) -> str:
    """Return ``sha256:…`` of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def to_bytes(value: JSON) -> bytes:
    """Return JSON in its one form: sorted keys, no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Image:
    """An image for one platform.

    Attributes:
        manifest, config: the raw bytes; digests belong to these, never to parsed JSON.
        layers: from the base upwards.
    """

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, config: JSON, layers: Sequence[Layer], annotations: Mapping[str, str]) -> Image:
        """Make an image of ``layers``; ``config`` gets their diff ids, the manifest their descriptors."""
        raw = to_bytes({**config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(raw), "size": len(raw)},
            "layers": [_descriptor(layer) for layer in layers],
            **({"annotations": dict(annotations)} if annotations else {}),
        }
        return cls(to_bytes(manifest), raw, tuple(layers))

    @property
    def images(self) -> tuple[Image, ...]:
        """Itself: for whoever goes through the images of an :class:`~modelyard.images.index.Index` or of just one."""
        return (self,)

    @property
    def digest(self) -> str:
        """``sha256:…`` of the manifest: the image's name for ever."""
        return digest_of(self.manifest)

    @property
    def media_type(self) -> str:
        """Of the manifest."""
        return str(self.parsed_manifest.get("mediaType", MANIFEST))

    @property
    def platform(self) -> str:
        """``linux/amd64``."""
        return f"{self.parsed_config.get('os')}/{self.parsed_config.get('architecture')}"

    @property
    def parsed_manifest(self) -> JSON:
        """The manifest's JSON."""
        return _object(self.manifest, "manifest")

    @property
    def parsed_config(self) -> JSON:
        """The config's JSON."""
        return _object(self.config, "config")

    def append(
        self, layers: Sequence[Layer], config: Mapping[str, Any], annotations: Mapping[str, str], created: str = EPOCH
    ) -> Image:
        """Return a new image: these layers on top of this one's, and its run configuration changed by ``config``.

        Args:
            layers: each becomes one line of the image's history too.
            config: keys of the OCI config's ``config`` (``User``, ``Env``); ``Env`` and ``Labels`` are merged.
            annotations: of the new manifest; the old one's are not taken over, they describe another image.
            created: when the content was made, never when the image was.
        """
        old = self.parsed_config
        run = dict(old.get("config") or {})
        merged = {**run, **config}
        if "Env" in config:
            names = {item.partition("=")[0] for item in config["Env"]}
            kept = [item for item in run.get("Env") or [] if item.partition("=")[0] not in names]
            merged["Env"] = kept + list(config["Env"])
        if "Labels" in config:
            merged["Labels"] = {**(run.get("Labels") or {}), **config["Labels"]}
        history = list(old.get("history") or []) + [
            {"created": created, "created_by": f"modelyard {layer.kind}"} for layer in layers
        ]
        return Image.of(
            {**old, "created": created, "config": merged, "history": history}, (*self.layers, *layers), annotations
        )


def empty(architecture: str) -> Image:
    """Return an image with no layer, to be appended to: what an image without a base image starts from."""
    config = {"architecture": architecture, "os": "linux", "created": EPOCH, "config": {}, "history": []}
    return Image.of(config, (), {})


def read_layers(
    manifest: JSON, config: JSON, opener: Callable[[str], BinaryIO], origin: str | None = None
) -> tuple[Layer, ...]:
    """Return the layers that a manifest and its config name; ``opener(digest)`` gives the bytes of one.

    Raises:
        ImageError: they do not belong together.
    """
    descriptors, diff_ids = manifest.get("layers", []), config.get("rootfs", {}).get("diff_ids", [])
    if len(descriptors) != len(diff_ids):
        raise ImageError(
            f"The image's manifest names {len(descriptors)} layers and its config {len(diff_ids)}",
            "push the image again: this one was put together wrongly",
        )
    return tuple(
        Layer(
            digest=found["digest"],
            diff_id=diff_id,
            size=found["size"],
            media_type=found["mediaType"],
            opener=partial(opener, found["digest"]),
            kind=_kind(found),
            origin=origin,
        )
        for found, diff_id in zip(descriptors, diff_ids, strict=True)
    )


def blobs_named_in(manifest: JSON) -> dict[str, int]:
    """Return digest and size of what a manifest needs: config and layers, or, of an index, other manifests."""
    config = [manifest["config"]] if "config" in manifest else []
    found = [*config, *manifest.get("layers", ()), *manifest.get("manifests", ())]
    return {descriptor["digest"]: descriptor["size"] for descriptor in found}


def validate(image: Image) -> None:
    """Recompute everything an image claims, reading all its bytes.

    Raises:
        ImageError: a digest, size, diff id or media type is not true.
    """
    manifest = image.parsed_manifest
    if manifest["config"]["digest"] != digest_of(image.config) or manifest["config"]["size"] != len(image.config):
        raise ImageError("The image's config is not the one its manifest names", "push the image again")
    claimed = [(found["digest"], found["size"]) for found in manifest["layers"]]
    diff_ids = image.parsed_config["rootfs"]["diff_ids"]
    if claimed != [(layer.digest, layer.size) for layer in image.layers] or len(diff_ids) != len(claimed):
        raise ImageError("The image's layers are not the ones its manifest names", "push the image again")
    for layer, diff_id in zip(image.layers, diff_ids, strict=True):
        _validate_layer(layer, diff_id)


def _validate_layer(layer: Layer, diff_id: str) -> None:
    compressed, plain = Digesting(), Digesting()
    with layer.open() as stream:
        start = stream.read(4)
        compressed.write(start)
        while chunk := stream.read(_CHUNK):
            compressed.write(chunk)
    for compression, magic in _MAGIC.items():
        if layer.media_type.endswith(compression) != start.startswith(magic):
            raise ImageError(f"Layer {layer.digest} is not {layer.media_type}", "push the image again")
    with layer.open() as stream, decompressing(stream, layer.media_type) as tar:
        while chunk := tar.read(_CHUNK):
            plain.write(chunk)
    if (compressed.digest, compressed.size, plain.digest) != (layer.digest, layer.size, diff_id):
        raise ImageError(
            f"Layer {layer.digest} is {compressed.digest}, {compressed.size} bytes, diff id {plain.digest}",
            "push the image again; when it happens again, the storage is damaged",
        )


def _descriptor(layer: Layer) -> JSON:
    found: JSON = {
        "mediaType": _OCI_LAYER.get(layer.media_type, layer.media_type),
        "digest": layer.digest,
        "size": layer.size,
    }
    return found if layer.kind is None else {**found, "annotations": {_KIND: layer.kind}}


def _kind(descriptor: JSON) -> Kind | None:
    kind: Kind | None = (descriptor.get("annotations") or {}).get(_KIND)
    return kind


def _object(data: bytes, what: str) -> JSON:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ImageError(f"The image's {what} is not JSON: {error}", "push the image again") from error
    if not isinstance(value, dict):
        raise ImageError(f"The image's {what} is not a JSON object", "push the image again")
    return value
