"""Images in a folder: an OCI image layout (``oci-layout``, ``index.json``, ``blobs/sha256``) that other tools read too.

Safe for several processes at once and for a kill at any moment: blobs appear whole, under their digest, and the index
is replaced in one rename by whoever holds the lock, after everything it names.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from modelyard.errors import ImageError
from modelyard.images import artifact
from modelyard.images.compression import Compression
from modelyard.images.image import INDEX, MANIFEST, Image, digest_of, read_layers, to_bytes
from modelyard.images.layer import Digesting, Entry, Kind, Layer, pack, sweep, writing
from modelyard.images.store import Referrer

JSON = dict[str, Any]

_REF = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20


class Layout:
    """An :class:`~modelyard.images.store.ImageStore` in a folder, made when it is not there.

    An image is listed as ``REPOSITORY:TAG``, or as ``REPOSITORY@DIGEST`` when it has no tag.
    """

    def __init__(self, path: Path, compression: Compression = "zstd") -> None:
        self.path = path
        self.compression = compression
        self._blobs = path / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if not (path / "index.json").exists():
                self._replace("index.json", to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}))
                self._replace("oci-layout", to_bytes({"imageLayoutVersion": "1.0.0"}))

    def pack(self, entries: Iterable[Entry], kind: Kind | None = None) -> Layer:
        """Make a layer, right among the blobs."""
        sweep(self._blobs)
        return pack(entries, self._blobs, self.compression, kind)

    def has_blob(self, repository: str, digest: str) -> bool:  # noqa: ARG002 - a folder has one set of blobs
        """Whether a blob is there; a folder has one set of them for all repositories."""
        return self._path(digest).exists()

    def push(self, repository: str, image: Image, tag: str | None = None) -> str:
        """Keep ``image``; see :class:`~modelyard.images.store.ImageStore`."""
        for layer in image.layers:
            self._write_blob(layer.digest, layer.open)
        self._write_bytes(image.config)
        self._write_bytes(image.manifest)
        self._list(repository, image.digest, image.media_type, len(image.manifest), tag)
        return image.digest

    def pull(self, repository: str, reference: str) -> Image:
        """Return the image of a tag or digest.

        Raises:
            ImageError: there is none in this repository.
        """
        digest = reference if reference.startswith("sha256:") else self.resolve(repository, reference)
        if digest is None or not self._listed(repository, digest):
            separator = "@" if reference.startswith("sha256:") else ":"
            raise ImageError(
                f"There is no image {repository}{separator}{reference} in {self.path}",
                "run the pipeline again from 'containerise'; the folder may have been deleted or be another one",
            )
        manifest = self._read(digest)
        parsed = json.loads(manifest)
        config = self._read(parsed["config"]["digest"])
        layers = read_layers(parsed, json.loads(config), lambda blob: self._path(blob).open("rb"))
        return Image(manifest, config, layers)

    def resolve(self, repository: str, tag: str) -> str | None:
        """Return the digest a tag stands for, None when there is no such tag."""
        name = f"{repository}:{tag}"
        return next((found["digest"] for found in self._index() if _name(found) == name), None)

    def copy(self, source: str, destination: str, digest: str) -> None:
        """List an image in another repository too."""
        image = self.pull(source, digest)
        self._list(destination, digest, image.media_type, len(image.manifest), None)

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Name an image that is there; ImageError when the tag stands for another one."""
        image = self.pull(repository, digest)
        self._list(repository, digest, image.media_type, len(image.manifest), tag)

    def attach(
        self,
        repository: str,
        subject: str,
        artifact_type: str,
        data: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Attach ``data`` to an image."""
        image = self.pull(repository, subject)
        descriptor = {"mediaType": image.media_type, "digest": subject, "size": len(image.manifest)}
        manifest = artifact.artifact_manifest(descriptor, artifact_type, data, annotations)
        for blob in (artifact.EMPTY, data, manifest):
            self._write_bytes(blob)
        tag = artifact.fallback_tag(subject)
        with self._locked():
            index = artifact.with_referrer(self._tagged(repository, tag), manifest, artifact_type)
            self._move(repository, tag, index, INDEX)
        return digest_of(manifest)

    def referrers(self, repository: str, subject: str) -> list[Referrer]:
        """List what is attached to an image."""
        listed = self._tagged(repository, artifact.fallback_tag(subject))
        return [] if listed is None else artifact.referrers_in(listed)

    def read_referrer(self, repository: str, digest: str) -> bytes:  # noqa: ARG002 - a folder has one set of blobs
        """Return the data that was attached under a manifest's digest."""
        return self._read(json.loads(self._read(digest))["layers"][0]["digest"])

    def attach_signature(self, repository: str, subject: str, payload: bytes, signature: str) -> None:
        """Put a signature where cosign 2 would look for it."""
        tag = artifact.signature_tag(subject)
        with self._locked():
            manifest, config = artifact.with_signature(self._tagged(repository, tag), payload, signature)
            for blob in (payload, config):
                self._write_bytes(blob)
            self._move(repository, tag, manifest, MANIFEST)

    def signatures(self, repository: str, subject: str) -> list[tuple[bytes, str]]:
        """Return what lies there."""
        manifest = self._tagged(repository, artifact.signature_tag(subject))
        return [] if manifest is None else artifact.signatures_in(manifest, self._read)

    def reference(self, repository: str, digest: str) -> str:
        """Return ``oci:/folder:repository@digest``."""
        return f"oci:{self.path}:{repository}@{digest}"

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def _read(self, digest: str) -> bytes:
        try:
            data = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise ImageError(
                f"{self.path} has lost the blob {digest}", "build the image again, or restore the folder"
            ) from error
        if digest_of(data) != digest:
            raise ImageError(
                f"{self._path(digest)} has other bytes than its name says", "delete the file and build the image again"
            )
        return data

    def _write_bytes(self, data: bytes) -> None:
        self._write_blob(digest_of(data), lambda: BytesIO(data))

    def _write_blob(self, digest: str, opener: Callable[[], BinaryIO]) -> None:
        target = self._path(digest)
        if target.exists():
            return
        with opener() as source, writing(self._blobs) as (file, path):
            copied = Digesting(file)
            while chunk := source.read(_CHUNK):
                copied.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            path.replace(target)

    def _list(self, repository: str, digest: str, media_type: str, size: int, tag: str | None) -> None:
        name = f"{repository}@{digest}" if tag is None else f"{repository}:{tag}"
        with self._locked():
            index = self._index()
            for found in index:
                if _name(found) != name:
                    continue
                if found["digest"] == digest:
                    return
                raise ImageError(
                    f"{name} is {found['digest']} already, and never becomes another image ({digest})",
                    "use another tag: a version's image is made once",
                )
            self._write_index([*index, _descriptor(name, digest, media_type, size)])

    def _tagged(self, repository: str, tag: str) -> bytes | None:
        digest = self.resolve(repository, tag)
        return None if digest is None else self._read(digest)

    def _move(self, repository: str, tag: str, manifest: bytes, media_type: str) -> None:
        """Write what a tag stands for from now on: only those of what is attached to an image ever move."""
        self._write_bytes(manifest)
        name = f"{repository}:{tag}"
        kept = [found for found in self._index() if _name(found) != name]
        self._write_index([*kept, _descriptor(name, digest_of(manifest), media_type, len(manifest))])

    def _listed(self, repository: str, digest: str) -> bool:
        starts = (f"{repository}:", f"{repository}@")
        return any(found["digest"] == digest and _name(found).startswith(starts) for found in self._index())

    def _index(self) -> list[JSON]:
        manifests: list[JSON] = json.loads((self.path / "index.json").read_bytes())["manifests"]
        return manifests

    def _write_index(self, manifests: list[JSON]) -> None:
        self._replace("index.json", to_bytes({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))

    def _replace(self, name: str, data: bytes) -> None:
        with writing(self.path) as (file, path):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            path.replace(self.path / name)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.path / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _name(descriptor: JSON) -> str:
    return str((descriptor.get("annotations") or {}).get(_REF, ""))


def _descriptor(name: str, digest: str, media_type: str, size: int) -> JSON:
    return {"mediaType": media_type, "digest": digest, "size": size, "annotations": {_REF: name}}
