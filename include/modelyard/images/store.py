"""What keeps images: a registry, or a folder on disk. The rest of Modelyard cannot tell which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modelyard.images.compression import Compression
from modelyard.images.image import Image
from modelyard.images.index import Index
from modelyard.images.layer import Entry, Kind, Layer


@dataclass(frozen=True)
class Referrer:
    """Something attached to an image: a signature, a bill of materials, where it came from.

    Attributes:
        digest: of its manifest.
        artifact_type: what it is, as a media type.
    """

    digest: str
    artifact_type: str


Pardon = Callable[[str, str], None]
"""Called with repository and digest before an image that may be there already is relied on: see ``store.condemned``."""


def nobody_collects(repository: str, digest: str) -> None:
    """Where no database is, there is no garbage collection either."""


class ImageStore(Protocol):
    """Images by repository (``staging/wine``) and digest or tag.

    A tag never moves: it is written once, and the same again is no error. A tag or digest that can be resolved belongs
    to an image that is there whole. Methods raise ImageError (what was asked for is wrong, refused or not there) or
    Unavailable (worth another try).
    """

    compression: Compression

    @property
    def is_shared(self) -> bool:
        """Whether others keep images in the same repositories, of whom this model store knows nothing."""
        ...

    def pack(self, entries: Iterable[Entry], kind: Kind | None = None) -> Layer:
        """Make a layer that :meth:`push` can take without copying it."""
        ...

    def push(self, repository: str, image: Image | Index, tag: str | None = None) -> str:
        """Keep ``image``, sending only what is not there; return its digest."""
        ...

    def pull(self, repository: str, reference: str, platform: str | None = None) -> Image:
        """Return the image of a tag or digest; its layers are read when they are opened.

        Of one for several platforms it is the one for ``platform``, by default this machine's.
        """
        ...

    def pull_whole(self, repository: str, reference: str) -> Image | Index:
        """Return the image of a tag or digest for all the platforms that it is for."""
        ...

    def resolve(self, repository: str, tag: str) -> str | None:
        """Return the digest a tag stands for, None when there is no such tag."""
        ...

    def copy(self, source: str, destination: str, digest: str) -> None:
        """Have an image in another repository too; no byte of it is built or moved."""
        ...

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Name an image that is there."""
        ...

    def attach(
        self,
        repository: str,
        subject: str,
        artifact_type: str,
        data: bytes,
        annotations: Mapping[str, str] | None = None,
    ) -> str:
        """Attach ``data`` to the image ``subject``; return the new manifest's digest. The same again is no error."""
        ...

    def referrers(self, repository: str, subject: str) -> list[Referrer]:
        """List what is attached to an image, oldest first."""
        ...

    def read_referrer(self, repository: str, digest: str) -> bytes:
        """Return the data that :meth:`attach` was given."""
        ...

    def attach_signature(self, repository: str, subject: str, payload: bytes, signature: str) -> None:
        """Put a signature in base64, and what it signs, where cosign 2 looks for them, beside those that lie there."""
        ...

    def signatures(self, repository: str, subject: str) -> list[tuple[bytes, str]]:
        """Return each payload and its signature in base64 that lie there; nothing of them is verified."""
        ...

    def reference(self, repository: str, digest: str) -> str:
        """Return the image's full name, as people and other programs use it."""
        ...

    def names(self, repository: str) -> list[str]:
        """List the tags in a repository, and the digests of images without one, as far as the store tells them."""
        ...

    def contents(self, repository: str, digest: str) -> dict[str, int]:
        """Return digest and size of all that an image consists of, its manifest and what is attached to it too.

        Of an image that is not there, nothing.
        """
        ...

    def inside(self, repository: str, digest: str) -> list[str]:
        """Return the digests of the images inside of an index, one a platform; none where there is none."""
        ...

    def delete(self, repository: str, digest: str, check: Callable[[], None]) -> None:
        """Delete an image from a repository, with its tags and what is attached to it; the same again is no error.

        Of an index, the images inside of it stay: :meth:`inside` names them, as long as it is there.

        ``check`` is called right before each deletion, and raises when it may not be done any more.
        """
        ...

    def unlisted(self, before: datetime) -> dict[str, int]:
        """Return name and size of what no image here has, and nobody has used since then.

        Nothing, where the store frees such bytes by itself.
        """
        ...

    def delete_unlisted(self, before: datetime) -> dict[str, int]:
        """Delete what :meth:`unlisted` names at this moment, and return it."""
        ...
