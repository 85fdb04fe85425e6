"""Images in a folder: an OCI image layout (``oci-layout``, ``index.json``, ``blobs/sha256``) that other tools read too.

Safe for several processes at once and for a kill at any moment: blobs appear whole, under their digest, and the index
is replaced in one rename by whoever holds the lock, after everything it names. What it does not name is deleted under
the same lock, so nothing is ever listed that is not there whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from modelyard.errors import ImageError, Unavailable
from modelyard.images import artifact
from modelyard.images.compression import Compression
from modelyard.images.image import INDEX, MANIFEST, Image, blobs_named_in, digest_of, read_layers
from modelyard.images.index import Index, digest_for, digests_in, is_index
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Digesting, Entry, Kind, Layer, pack, sweep, writing
from modelyard.images.layout_index import LayoutIndex, descriptor_of, name_in
from modelyard.images.store import Pardon, Referrer, nobody_collects

_CHUNK = 1 << 20


class Layout:
    """An :class:`~modelyard.images.store.ImageStore` in a folder, made when it is not there.

    Args:
        path: of the folder.
        compression: of new layers.
        pardon: asked before something is relied on that garbage collection may be about to delete.
    """

    is_shared = False

    def __init__(self, path: Path, compression: Compression = "zstd", pardon: Pardon = nobody_collects) -> None:
        self.path = path
        self.compression = compression
        self._pardon = pardon
        self._blobs = path / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._index = LayoutIndex(path)

    def pack(self, entries: Iterable[Entry], kind: Kind | None = None) -> Layer:
        """Make a layer, right among the blobs."""
        sweep(self._blobs)
        return pack(entries, self._blobs, self.compression, kind)

    def push(self, repository: str, image: Image | Index, tag: str | None = None) -> str:
        """Keep ``image``; see :class:`~modelyard.images.store.ImageStore`."""
        for digest in digests_in(image):
            self._pardon(repository, digest)
        for one in image.images:
            for layer in one.layers:
                self._write_blob(layer.digest, layer.open)
            self._write_bytes(one.config)
            self._write_bytes(one.manifest)
        self._write_bytes(image.manifest)
        self._list(repository, image, tag)
        return image.digest

    def pull(self, repository: str, reference: str, platform: str | None = None) -> Image:
        """Return the image of a tag or digest; see :class:`~modelyard.images.store.ImageStore`.

        Raises:
            ImageError: there is none in this repository, or not for this platform.
        """
        manifest = self._manifest(repository, reference)
        if is_index(json.loads(manifest)):
            wanted = platform or Interpreter.of_this_machine().platform
            manifest = self._read(digest_for(manifest, wanted, f"{repository} {reference} in {self.path}"))
        return self._image(manifest)

    def pull_whole(self, repository: str, reference: str) -> Image | Index:
        """Return the image of a tag or digest for all its platforms.

        Raises:
            ImageError: there is none in this repository.
        """
        manifest = self._manifest(repository, reference)
        parsed = json.loads(manifest)
        if not is_index(parsed):
            return self._image(manifest)
        return Index(manifest, tuple(self._image(self._read(digest)) for digest in blobs_named_in(parsed)))

    def resolve(self, repository: str, tag: str) -> str | None:
        """Return the digest a tag stands for, None when there is no such tag."""
        digest = self._index.find(f"{repository}:{tag}")
        if digest is not None:
            self._pardon(repository, digest)
            digest = self._index.find(f"{repository}:{tag}")  # it may have been deleted before
        return digest

    def copy(self, source: str, destination: str, digest: str) -> None:
        """List an image in another repository too."""
        image = self.pull_whole(source, digest)
        for name in digests_in(image):
            self._pardon(destination, name)
        self._list(destination, image, None)

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Name an image that is there; ImageError when the tag stands for another one."""
        self._list(repository, self.pull_whole(repository, digest), tag)

    def attach(
        self,
        repository: str,
        subject: str,
        artifact_type: str,
        data: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Attach ``data`` to an image."""
        raw = self._manifest(repository, subject)
        descriptor = {"mediaType": json.loads(raw).get("mediaType", MANIFEST), "digest": subject, "size": len(raw)}
        manifest = artifact.artifact_manifest(descriptor, artifact_type, data, annotations)
        tag = artifact.fallback_tag(subject)
        with self._index.locked():
            for blob in (artifact.EMPTY, data, manifest):
                self._write_bytes(blob)
            index = artifact.with_referrer(self._tagged(repository, tag), manifest, artifact_type)
            self._move(repository, tag, index, INDEX)
        return digest_of(manifest)

    def referrers(self, repository: str, subject: str) -> list[Referrer]:
        """List what is attached to an image."""
        listed = self._tagged(repository, artifact.fallback_tag(subject))
        return [] if listed is None else artifact.referrers_in(listed)

    def read_referrer(self, repository: str, digest: str) -> bytes:  # noqa: ARG002 - a folder has one set of blobs
        """Return the data that was attached under a manifest's digest."""
        return artifact.data_in(self._read_attached(digest), self._read_attached)

    def attach_signature(self, repository: str, subject: str, payload: bytes, signature: str) -> None:
        """Put a signature where cosign 2 would look for it."""
        tag = artifact.signature_tag(subject)
        with self._index.locked():
            manifest, config = artifact.with_signature(self._tagged(repository, tag), payload, signature)
            for blob in (payload, config):
                self._write_bytes(blob)
            self._move(repository, tag, manifest, MANIFEST)

    def signatures(self, repository: str, subject: str) -> list[tuple[bytes, str]]:
        """Return what lies there."""
        manifest = self._tagged(repository, artifact.signature_tag(subject))
        return [] if manifest is None else artifact.signatures_in(manifest, self._read_attached)

    def reference(self, repository: str, digest: str) -> str:
        """Return ``oci:/folder:repository@digest``."""
        return f"oci:{self.path}:{repository}@{digest}"

    def names(self, repository: str) -> list[str]:
        """List tags, and the digests of images that have none."""
        return [name_in(found)[len(f"{repository}:") :] for found in self._index.listed_in(repository)]

    def contents(self, repository: str, digest: str) -> dict[str, int]:
        """Return digest and size of all that an image consists of."""
        if not self._listed(repository, digest):
            return {}
        tags = (tag for one in (digest, *self.inside(repository, digest)) for tag in artifact.attached_tags(one))
        attached = (self._index.find(f"{repository}:{tag}") for tag in tags)
        return self._reached([digest, *(found for found in attached if found)])

    def inside(self, repository: str, digest: str) -> list[str]:
        """Return the digests of the images inside of an index."""
        parsed = json.loads(self._read(digest)) if self._listed(repository, digest) else {}
        return list(blobs_named_in(parsed)) if is_index(parsed) else []

    def delete(self, repository: str, digest: str, check: Callable[[], None]) -> None:
        """Take an image off the index, with what is attached to it: bytes that no other has are then unlisted."""
        attached = {f"{repository}:{tag}" for tag in artifact.attached_tags(digest)}
        with self._index.locked():
            check()
            gone = [found for found in self._index.listed_in(repository) if found["digest"] == digest]
            listed = self._index.listed()
            self._index.write(found for found in listed if found not in gone and name_in(found) not in attached)

    def unlisted(self, before: datetime) -> dict[str, int]:
        """Return name and size of each file that no image has, and nobody has written or found there since then.

        Raises:
            ImageError: a manifest that the index lists is lost or damaged, so it cannot be told what it needs.
        """
        with self._index.locked():
            return {path.name: size for path, size in self._unlisted(before)}

    def delete_unlisted(self, before: datetime) -> dict[str, int]:
        """Delete what no image has, and return it; raises as :meth:`unlisted` does."""
        with self._index.locked():
            found = dict(self._unlisted(before))
            for path in found:
                path.unlink(missing_ok=True)
        return {path.name: size for path, size in found.items()}

    def _unlisted(self, before: datetime) -> Iterator[tuple[Path, int]]:
        reached = {self._path(digest) for digest in self._reached(found["digest"] for found in self._index.listed())}
        for path in self._blobs.iterdir():
            if path not in reached:
                with suppress(FileNotFoundError):  # its writer has ended
                    stat = path.stat()
                    if stat.st_mtime < before.timestamp():
                        yield path, stat.st_size

    def _reached(self, manifests: Iterable[str]) -> dict[str, int]:
        """Return digest and size of these manifests and of all that they need."""
        reached: dict[str, int] = {}
        pending = list(manifests)
        while pending:
            digest = pending.pop()
            if digest in reached:
                continue
            data = self._read(digest)
            reached[digest] = len(data)
            parsed = json.loads(data)
            if is_index(parsed):
                pending += blobs_named_in(parsed)
            else:
                reached |= blobs_named_in(parsed)
        return reached

    def _manifest(self, repository: str, reference: str) -> bytes:
        digest = reference if reference.startswith("sha256:") else self.resolve(repository, reference)
        if digest is None or not self._listed(repository, digest):
            separator = "@" if reference.startswith("sha256:") else ":"
            raise ImageError(
                f"There is no image {repository}{separator}{reference} in {self.path}",
                "run the pipeline again from 'containerise'; the folder may have been deleted or be another one",
            )
        return self._read(digest)

    def _image(self, manifest: bytes) -> Image:
        parsed = json.loads(manifest)
        config = self._read(parsed["config"]["digest"])
        layers = read_layers(parsed, json.loads(config), lambda blob: self._path(blob).open("rb"))
        return Image(manifest, config, layers)

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

    def _read_attached(self, digest: str) -> bytes:
        with suppress(FileNotFoundError):  # as `_read` says
            if self._path(digest).stat().st_size > artifact.MOST_BYTES:
                raise artifact.too_large(digest)
        return self._read(digest)

    def _write_bytes(self, data: bytes) -> None:
        self._write_blob(digest_of(data), lambda: BytesIO(data))

    def _write_blob(self, digest: str, opener: Callable[[], BinaryIO]) -> None:
        target = self._path(digest)
        if target.exists():
            with suppress(FileNotFoundError, PermissionError):  # gone, as `_list` will see; or another user's
                os.utime(target)  # it is used: no garbage, though no image may have it yet
            return
        with opener() as source, writing(self._blobs) as (file, path):
            copied = Digesting(file)
            while chunk := source.read(_CHUNK):
                copied.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            path.replace(target)

    def _list(self, repository: str, image: Image | Index, tag: str | None) -> None:
        name = f"{repository}@{image.digest}" if tag is None else f"{repository}:{tag}"
        with self._index.locked():
            kept = self._index.find(name)
            if kept == image.digest:
                return
            if kept is not None:
                raise ImageError(
                    f"{name} is {kept} already, and never becomes another image ({image.digest})",
                    "use another tag: a version's image is made once",
                )
            needed = [name for one in image.images for name in (one.digest, *blobs_named_in(one.parsed_manifest))]
            for digest in (image.digest, *needed):
                if not self._path(digest).exists():
                    raise Unavailable(
                        f"{self.path} has lost the blob {digest}, of which nobody knew that {name} needs it",
                        "do it again: what was deleted as garbage meanwhile is made anew",
                    )
            new = descriptor_of(name, image.digest, image.media_type, len(image.manifest))
            self._index.write([*self._index.listed(), new])

    def _tagged(self, repository: str, tag: str) -> bytes | None:
        digest = self._index.find(f"{repository}:{tag}")
        return None if digest is None else self._read(digest)

    def _move(self, repository: str, tag: str, manifest: bytes, media_type: str) -> None:
        """Write what a tag stands for from now on: only those of what is attached to an image ever move."""
        self._write_bytes(manifest)
        name = f"{repository}:{tag}"
        kept = [found for found in self._index.listed() if name_in(found) != name]
        self._index.write([*kept, descriptor_of(name, digest_of(manifest), media_type, len(manifest))])

    def _listed(self, repository: str, digest: str) -> bool:
        named = self._index.listed_in(repository)
        if any(found["digest"] == digest for found in named):
            return True
        # An image for one of several platforms is listed by its index alone.
        indexes = (self._read(found["digest"]) for found in named if found["mediaType"] == INDEX)
        return any(digest in blobs_named_in(json.loads(index)) for index in indexes)
