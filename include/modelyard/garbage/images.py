"""Which images are garbage: by repository, what nothing refers to and this store is known to have made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelyard.garbage.roots import Roots
from modelyard.images import ImageStore, repositories
from modelyard.store import Store

STAGED = "images of runs that have ended"
UNRECORDED = "released images of no version"
ENVIRONMENTS = "environments of no version"
ENVIRONMENT_IMAGES = "environment images of no run"
PROJECT_IMAGES = "Dockerfiles' images of no version"
BASES = "base images of no version"
OWN = "Modelyard's own environments, unused"
PACKAGES = "what was read of unused layers"
KINDS = (STAGED, UNRECORDED, ENVIRONMENTS, ENVIRONMENT_IMAGES, PROJECT_IMAGES, BASES, OWN, PACKAGES)

_AT_ONCE = 8  # manifests that are asked of a registry
# By repository: what its garbage is, and how the tags look that Modelyard gives.
_OF_NO_VERSION = {
    repositories.ENVIRONMENT: (ENVIRONMENTS, repositories.ENVIRONMENT_TAG),
    repositories.ENVIRONMENT_IMAGE: (ENVIRONMENT_IMAGES, repositories.ENVIRONMENT_IMAGE_TAG),
    repositories.PROJECT_IMAGE: (PROJECT_IMAGES, repositories.PROJECT_IMAGE_TAG),
    repositories.BASE: (BASES, repositories.BASE_TAG),
    **dict.fromkeys(repositories.OWN, (OWN, repositories.ENVIRONMENT_TAG)),
}
# Who else uses these, another store knows, whose records are not ours. Their bytes are in the images of all releases.
_OF_ALL_STORES = (repositories.BASE, *repositories.OWN)


@dataclass(frozen=True)
class GarbageImage:
    """An image in one repository.

    Attributes:
        kind: what it is, as people read it.
        size: in bytes, of what no image has that is kept, and no other garbage that was counted before.
    """

    kind: str
    repository: str
    digest: str
    size: int


def garbage_images(store: Store, images: ImageStore, roots: Roots) -> list[GarbageImage]:
    """Return the images that nothing refers to.

    Raises:
        ImageError, Unavailable: the registry refuses, or cannot be reached.
    """
    found: list[tuple[str, str, str]] = []
    kept: set[tuple[str, str]] = set()
    for kind, repository, is_garbage in _repositories(store, images, roots):
        for digest, names in _named(images, repository).items():
            # Every name of it must be one of ours that says so: a person may have given it another one.
            if all(is_garbage(name, digest) for name in names):
                found.append((kind, repository, digest))
            else:
                kept.add((repository, digest))
    if not found:
        return []
    return list(_measured(images, _with_platforms(images, found), kept))


Judge = Callable[[str, str], bool]


def _repositories(store: Store, images: ImageStore, roots: Roots) -> Iterator[tuple[str, str, Judge]]:
    """Yield each repository with what its garbage is, and what says of a name and its digest that it is garbage."""
    for model in store.versions.names():
        released = store.versions.images(model)

        def is_staged(name: str, digest: str) -> bool:  # noqa: ARG001 - a judge's second argument
            match = repositories.STAGING_TAG.fullmatch(name)
            return match is not None and roots.runs.get(match[1], True) is False

        def is_unrecorded(name: str, digest: str, released: Mapping[int, str | None] = released) -> bool:
            if roots.keeps(digest) or not _is_ours(images, roots, digest):
                return False
            if repositories.RELEASE_TAG.fullmatch(name):
                return released.get(int(name), digest) != digest
            return repositories.DIGEST.fullmatch(name) is not None  # copied, and its process killed before the tag

        yield STAGED, repositories.staging(model), is_staged
        yield UNRECORDED, model, is_unrecorded

    referred = {digest[:40] for digest in roots.lasting | roots.unfinished}
    for repository, (kind, pattern) in _OF_NO_VERSION.items():
        is_anyones = images.is_shared and repository in _OF_ALL_STORES

        def is_unnamed(
            name: str, digest: str, pattern: re.Pattern[str] = pattern, is_anyones: bool = is_anyones
        ) -> bool:
            if is_anyones or pattern.fullmatch(name) is None or roots.keeps(digest):
                return False
            return name.removeprefix("sha256:")[:40] not in referred and _is_ours(images, roots, digest)

        yield kind, repository, is_unnamed

    ended = {digest[:40] for digest in roots.ended}

    def is_of_no_version(name: str, digest: str) -> bool:  # noqa: ARG001 - layers of equal contents share it
        match = repositories.PACKAGES_TAG.fullmatch(name)
        # No record names a layer of a base: nobody relies on what was read, and it is read again when it is wanted.
        return match is not None and match[1] not in referred and (not images.is_shared or match[1] in ended)

    yield PACKAGES, repositories.PACKAGES, is_of_no_version


def _is_ours(images: ImageStore, roots: Roots, digest: str) -> bool:
    """Whether this store has made an image: in a registry another one may have, under the same name."""
    return not images.is_shared or digest.removeprefix("sha256:") in roots.ended


def _named(images: ImageStore, repository: str) -> dict[str, list[str]]:
    """Return the digests in a repository with all names of each."""

    def resolve(name: str) -> str | None:
        return name if repositories.DIGEST.fullmatch(name) else images.resolve(repository, name)

    # What is attached to an image is a part of it, whatever lists it.
    names = [name for name in images.names(repository) if not repositories.ATTACHED_TAG.fullmatch(name)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = list(pool.map(resolve, names))
    found: dict[str, list[str]] = {}
    for name, digest in zip(names, digests, strict=True):
        if digest is not None:
            found.setdefault(digest, []).append(name)
    return found


def _with_platforms(images: ImageStore, found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Put the images inside of an index before it: deleted first, as without it nothing would name them any more.

    Each is a thing of its own, since another index may begin to have it at any moment.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        inside = pool.map(lambda image: images.inside(image[1], image[2]), found)
        return [
            (kind, repository, name)
            for (kind, repository, digest), platforms in zip(found, inside, strict=True)
            for name in (*platforms, digest)
        ]


def _measured(
    images: ImageStore, garbage: list[tuple[str, str, str]], kept: set[tuple[str, str]]
) -> Iterator[GarbageImage]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        places = {
            (image[0], name)
            for image, contents in zip(kept, pool.map(lambda image: images.contents(*image), kept), strict=True)
            for name in contents
        }
        counted = {name for _, name in places}
        # A tag of its own may be garbage of what an index has that is kept.
        garbage = list(dict.fromkeys(one for one in garbage if one[1:] not in places))
        contents = pool.map(lambda image: images.contents(image[1], image[2]), garbage)
        for (kind, repository, digest), found in zip(garbage, contents, strict=True):
            yield GarbageImage(
                kind, repository, digest, sum(size for name, size in found.items() if name not in counted)
            )
            counted.update(found)
