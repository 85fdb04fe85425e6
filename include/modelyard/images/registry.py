"""Images in an OCI registry: our own bytes and digests, mounts, resumed uploads and referrers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin

from modelyard.errors import ImageError
from modelyard.images import artifact, blobs
from modelyard.images.compression import Compression
from modelyard.images.image import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    MANIFEST,
    Image,
    blobs_named_in,
    digest_of,
    read_layers,
)
from modelyard.images.index import Index, digest_for, digests_in, is_index
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, Kind, Layer, pack, sweep
from modelyard.images.store import Pardon, Referrer, nobody_collects
from modelyard.images.transport import Transport

if TYPE_CHECKING:
    import requests

_PAGE = 1000  # tags that are asked for at once
_ACCEPT = {"Accept": f"{MANIFEST}, {INDEX}, {DOCKER_MANIFEST}, {DOCKER_INDEX}"}


class Registry:
    """An :class:`~modelyard.images.store.ImageStore` in a registry, all of it below one prefix.

    A registry cannot write a tag on a condition: of two that push another image under one tag in the same moment,
    the second is not refused. Everything else of the protocol's promises holds.

    Args:
        transport: to the registry.
        prefix: before each repository's name; may be empty.
        packed: folder where layers wait for their upload. Those older than a day are removed.
        compression: of new layers.
        pardon: see :data:`~modelyard.images.store.Pardon`.
    """

    is_shared = True

    def __init__(
        self,
        transport: Transport,
        prefix: str,
        packed: Path,
        compression: Compression = "zstd",
        pardon: Pardon = nobody_collects,
    ) -> None:
        self.compression = compression
        self._transport = transport
        self._prefix = prefix
        self._packed = packed
        self._pardon = pardon

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password that were given for it; None where Docker's own configuration counts."""
        return self._transport.credentials

    def pack(self, entries: Iterable[Entry], kind: Kind | None = None) -> Layer:
        """Make a layer, in a file that waits for its upload."""
        self._packed.mkdir(parents=True, exist_ok=True)
        sweep(self._packed, "")
        # Whoever reads it was told by this process that it is there: after a crash it is packed again.
        return pack(entries, self._packed, self.compression, kind, durable=False)

    def push(self, repository: str, image: Image | Index, tag: str | None = None) -> str:
        """Keep ``image``; its manifest is written last, so that what can be resolved is whole."""
        for digest in digests_in(image):
            self._pardon(repository, digest)
        # An index whose deletion was broken off may have lost images that it names: they are put back.
        if tag is not None and self._is_taken(repository, tag, image.digest) and isinstance(image, Image):
            return image.digest
        for one in image.images:
            for layer in one.layers:
                self._upload(repository, layer)
            self._upload_bytes(repository, one.config)
            self._put_manifest(repository, one.digest, one.manifest, one.media_type)
        if isinstance(image, Index):
            self._put_manifest(repository, image.digest, image.manifest, image.media_type)
        # Asked once more: an upload takes long, and somebody else may have been quicker.
        if tag is not None and not self._is_taken(repository, tag, image.digest):
            self._put_manifest(repository, tag, image.manifest, image.media_type)
        return image.digest

    def pull(self, repository: str, reference: str, platform: str | None = None) -> Image:
        """Return the image of a tag or digest; see :class:`~modelyard.images.store.ImageStore`.

        Raises:
            ImageError: there is none, not for this platform, or other bytes than its digest says.
            Unavailable: the registry is away.
        """
        manifest = self._manifest(repository, reference)
        if is_index(json.loads(manifest)):
            wanted = platform or Interpreter.of_this_machine().platform
            manifest = self._manifest(repository, digest_for(manifest, wanted, self.reference(repository, reference)))
        return self._image(repository, manifest)

    def pull_whole(self, repository: str, reference: str) -> Image | Index:
        """Return the image of a tag or digest for all its platforms; raises as :meth:`pull` does."""
        manifest = self._manifest(repository, reference)
        parsed = json.loads(manifest)
        if not is_index(parsed):
            return self._image(repository, manifest)
        listed = (self._manifest(repository, digest) for digest in blobs_named_in(parsed))
        return Index(manifest, tuple(self._image(repository, one) for one in listed))

    def resolve(self, repository: str, tag: str) -> str | None:
        """Return the digest a tag stands for, None when there is no such tag."""
        digest = self._find(repository, tag)
        if digest is not None:
            self._pardon(repository, digest)
            digest = self._find(repository, tag)  # it may have been deleted before
        return digest

    def copy(self, source: str, destination: str, digest: str) -> None:
        """Have an image in another repository too: its layers are mounted, its manifest is the same bytes."""
        self.push(destination, self.pull_whole(source, digest))

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Name an image that is there; ImageError when the tag stands for another one."""
        if not self._is_taken(repository, tag, digest):
            manifest = self._manifest(repository, digest)
            self._put_manifest(repository, tag, manifest, json.loads(manifest).get("mediaType", MANIFEST))

    def attach(
        self,
        repository: str,
        subject: str,
        artifact_type: str,
        data: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Attach ``data`` to an image, and list it where the registry does not by itself."""
        raw = self._manifest(repository, subject)
        media_type = json.loads(raw).get("mediaType", MANIFEST)
        descriptor = {"mediaType": media_type, "digest": subject, "size": len(raw)}
        manifest = artifact.artifact_manifest(descriptor, artifact_type, data, annotations)
        for blob in (artifact.EMPTY, data):
            self._upload_bytes(repository, blob)
        digest = digest_of(manifest)
        if self._put_manifest(repository, digest, manifest, MANIFEST).get("OCI-Subject") != subject:
            tag = artifact.fallback_tag(subject)
            listed = self._tagged(repository, tag)
            self._put_manifest(repository, tag, artifact.with_referrer(listed, manifest, artifact_type), INDEX)
        return digest

    def referrers(self, repository: str, subject: str) -> list[Referrer]:
        """List what is attached to an image."""
        found: list[Referrer] = []
        for answer in self._pages(f"/v2/{self._name(repository)}/referrers/{subject}", {"Accept": INDEX}):
            if answer.status_code == 404:  # a registry of OCI 1.0
                listed = self._tagged(repository, artifact.fallback_tag(subject))
                return [] if listed is None else artifact.referrers_in(listed)
            found += artifact.referrers_in(answer.content)
        return found

    def read_referrer(self, repository: str, digest: str) -> bytes:
        """Return the data that was attached under a manifest's digest."""
        return artifact.data_in(self._manifest(repository, digest), partial(self._read_attached, repository))

    def attach_signature(self, repository: str, subject: str, payload: bytes, signature: str) -> None:
        """Put a signature where cosign 2 looks for it; of two that come in the same moment one may be lost."""
        tag = artifact.signature_tag(subject)
        manifest, config = artifact.with_signature(self._tagged(repository, tag), payload, signature)
        for blob in (payload, config):
            self._upload_bytes(repository, blob)
        self._put_manifest(repository, tag, manifest, MANIFEST)

    def signatures(self, repository: str, subject: str) -> list[tuple[bytes, str]]:
        """Return what lies there."""
        manifest = self._tagged(repository, artifact.signature_tag(subject))
        return [] if manifest is None else artifact.signatures_in(manifest, partial(self._read_attached, repository))

    def reference(self, repository: str, digest: str) -> str:
        """Return ``host/prefix/repository@digest``."""
        separator = "@" if digest.startswith("sha256:") else ":"
        return f"{self._transport.host}/{self._name(repository)}{separator}{digest}"

    def names(self, repository: str) -> list[str]:
        """List the tags of a repository; no registry tells what it has without one."""
        found: list[str] = []
        for answer in self._pages(f"/v2/{self._name(repository)}/tags/list?n={_PAGE}"):
            if answer.status_code == 404:
                return []
            found += answer.json().get("tags") or ()
        return found

    def contents(self, repository: str, digest: str) -> dict[str, int]:
        """Return digest and size of all that an image consists of."""
        found: dict[str, int] = {}
        pending = [digest]
        while pending:
            one = pending.pop()
            if one in found or not self._find(repository, one):
                continue
            manifest = self._manifest(repository, one)
            found[one] = len(manifest)
            parsed = json.loads(manifest)
            if is_index(parsed):
                pending += blobs_named_in(parsed)
            else:
                found |= blobs_named_in(parsed)
            pending += [referrer.digest for referrer in self.referrers(repository, one)]
            attached = (self._find(repository, tag) for tag in artifact.attached_tags(one))
            pending += [digest for digest in attached if digest]
        return found

    def inside(self, repository: str, digest: str) -> list[str]:
        """Return the digests of the images inside of an index."""
        parsed = json.loads(self._tagged(repository, digest) or b"{}")
        return list(blobs_named_in(parsed)) if is_index(parsed) else []

    def delete(self, repository: str, digest: str, check: Callable[[], None]) -> None:
        """Delete an image with what is attached to it; its bytes stay until the registry's own garbage collection.

        What is attached goes first: without its image it could not be found any more.

        Raises:
            ImageError: the registry does not let; Unavailable: it is busy or gone.
        """
        for referrer in self.referrers(repository, digest):
            self.delete(repository, referrer.digest, check)
        attached = [self._find(repository, tag) for tag in artifact.attached_tags(digest)]
        for manifest in (*(found for found in attached if found), digest):
            url = f"/v2/{self._name(repository)}/manifests/{manifest}"
            check()
            # Not sent twice: the second one could come when somebody has pushed the same image again.
            answer = self._transport.request("DELETE", url, (200, 202, 204, 404, 405), retry=False)
            if answer.status_code == 405:
                raise ImageError(
                    f"The registry {self._transport.host} lets nobody delete an image",
                    "have it allowed (Docker's registry: REGISTRY_STORAGE_DELETE_ENABLED=true), or leave the images",
                )

    def unlisted(self, before: datetime) -> dict[str, int]:  # noqa: ARG002 - of a folder
        """Nothing: which bytes no image has is the registry's own to know, and to free."""
        return {}

    def delete_unlisted(self, before: datetime) -> dict[str, int]:  # noqa: ARG002 - of a folder
        """Nothing: see :meth:`unlisted`."""
        return {}

    def _pages(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """Yield a list's answers, a page each: 200, or 404 when there is no such list."""
        following: str | None = url
        while following is not None:
            answer = self._transport.request("GET", following, (200, 404), headers=headers)
            yield answer
            link = answer.links.get("next", {}).get("url")
            following = None if link is None else urljoin(answer.url, link)

    def _name(self, repository: str) -> str:
        return f"{self._prefix}/{repository}" if self._prefix else repository

    def _tagged(self, repository: str, tag: str) -> bytes | None:
        """Return the manifest or index of a tag, None when there is no such tag."""
        return None if self._find(repository, tag) is None else self._manifest(repository, tag)

    def _find(self, repository: str, reference: str) -> str | None:
        """Return the digest of what a tag or digest names, None when nothing has that name."""
        url = f"/v2/{self._name(repository)}/manifests/{reference}"
        answer = self._transport.request("HEAD", url, (200, 404), headers=_ACCEPT)
        if answer.status_code == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest")
        return digest or digest_of(self._manifest(repository, reference))

    def _is_taken(self, repository: str, tag: str, digest: str) -> bool:
        found = self.resolve(repository, tag)
        if found is not None and found != digest:
            raise ImageError(
                f"{self.reference(repository, tag)} is {found} already, and never becomes another image ({digest})",
                "use another tag: a version's image is made once",
            )
        return found is not None

    def _upload(self, repository: str, layer: Layer) -> None:
        host, _, known = (layer.origin or "").partition("/")
        name = self._name(repository)
        mount = known if host == self._transport.host and known != name else None
        blobs.upload(self._transport, name, layer, mount)

    def _upload_bytes(self, repository: str, data: bytes) -> None:
        digest = digest_of(data)
        self._upload(repository, Layer(digest, digest, len(data), "application/octet-stream", lambda: BytesIO(data)))

    def _open(self, repository: str, digest: str) -> BinaryIO:
        return blobs.read(self._transport, self._name(repository), digest)

    def _read(self, repository: str, digest: str) -> bytes:
        with self._open(repository, digest) as stream:
            data = stream.read()
        return self._checked(data, digest, repository)

    def _read_attached(self, repository: str, digest: str) -> bytes:
        with self._open(repository, digest) as stream:
            data = stream.read(artifact.MOST_BYTES + 1)
        if len(data) > artifact.MOST_BYTES:
            raise artifact.too_large(digest)
        return self._checked(data, digest, repository)

    def _manifest(self, repository: str, reference: str) -> bytes:
        url = f"/v2/{self._name(repository)}/manifests/{reference}"
        answer = self._transport.request("GET", url, (200, 404), headers=_ACCEPT)
        if answer.status_code == 404:
            raise ImageError(
                f"There is no image {self.reference(repository, reference)}",
                "check the name; it may have been deleted from the registry",
            )
        is_digest = reference.startswith("sha256:")
        expected = reference if is_digest else answer.headers.get("Docker-Content-Digest")
        return self._checked(answer.content, expected, repository)

    def _image(self, repository: str, manifest: bytes) -> Image:
        parsed = json.loads(manifest)
        config = self._read(repository, parsed["config"]["digest"])
        origin = f"{self._transport.host}/{self._name(repository)}"
        opener = partial(self._open, repository)
        return Image(manifest, config, read_layers(parsed, json.loads(config), opener, origin))

    def _put_manifest(self, repository: str, reference: str, manifest: bytes, media_type: str) -> Mapping[str, str]:
        url = f"/v2/{self._name(repository)}/manifests/{reference}"
        answer = self._transport.request("PUT", url, (201,), data=manifest, headers={"Content-Type": media_type})
        self._checked(manifest, answer.headers.get("Docker-Content-Digest"), repository)
        return answer.headers

    def _checked(self, data: bytes, digest: str | None, repository: str) -> bytes:
        if digest is not None and digest_of(data) != digest:
            raise ImageError(
                f"{self._transport.host}/{self._name(repository)}: {digest} has the bytes of {digest_of(data)}",
                "do not use this image: the registry's storage, or something on the way, has changed it",
            )
        return data
