"""One collection, from the writers that are on their way to the last byte: the order in here is what makes it safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from modelyard.errors import ImageError, StoreError
from modelyard.garbage.here import rows_here
from modelyard.garbage.images import garbage_images
from modelyard.garbage.roots import Roots, find_roots
from modelyard.garbage.sweep import Deletion, Row, Sweep, row_of
from modelyard.images import ImageStore
from modelyard.steps.plan import COLLECT
from modelyard.store import Store
from modelyard.store.codec import now
from modelyard.store.condemned import ARTIFACT, IMAGE, artifact_name, image_name

ARTIFACTS = "artifacts that nothing refers to"
UPLOADS = "uploads that never ended"
UNLISTED = "bytes that no image has"

# Without a sign of life for so long, a step is dead. Short of it, the database may have been away.
_SILENCE = timedelta(days=1)


@dataclass(frozen=True)
class Collection:
    """What a collection found.

    Attributes:
        rows: by kind, those of which there is something.
        deleted: what is ripe was deleted; else nothing was changed.
        waits_for: steps and Sacred runs on their way, for whose sake some of it is kept longer.
        registry_frees: bytes of images are freed by the registry's own garbage collection alone.
    """

    rows: tuple[Row, ...]
    deleted: bool
    waits_for: tuple[str, ...]
    registry_frees: bool

    @property
    def total(self) -> Row:
        """The sum of the rows."""
        return Row(
            "total",
            sum(row.ripe for row in self.rows),
            sum(row.ripe_bytes for row in self.rows),
            sum(row.later for row in self.rows),
            sum(row.later_bytes for row in self.rows),
        )


def collect(
    store: Store,
    images: ImageStore,
    home: Path,
    *,
    patience: timedelta,
    delete: bool,
    log: Callable[[str], None],
    clock: Callable[[], datetime] = now,
) -> Collection:
    """Find what nothing refers to and, when asked to, delete what was found by an earlier collection already.

    Nothing that anything refers to is ever deleted: the package's own text says why that holds. It may be killed at
    any moment and run again; two at once harm nobody.

    Args:
        store: whose references count.
        images: its images. Not one that pardons what it finds.
        home: this machine's folder, whose copies of images are looked at too.
        patience: for how long a thing has to be known as unreferenced.
        delete: False only looks: neither what it finds nor the list is changed.
        log: given a line now and then.
        clock: tells the time.

    Raises:
        StoreError: another store keeps its artifacts in the same place, or this user may not delete.
        ImageError: the registry lets nobody delete. Unavailable: something cannot be reached; try again.
    """
    _refuse_shared(store)
    started = clock()
    silent = started - max(patience, _SILENCE)
    writing = store.references.writing_since(silent, besides=COLLECT.name)
    # Whoever writes now may rely on anything that was not on the list yet when it began.
    before = min([started, *writing.values()]) - patience
    roots = find_roots(store, silent)
    log(f"{len(roots.lasting | roots.unfinished):,} digests are referred to")
    sweep = Sweep(store.condemned, clock, before, delete, log)
    unlisted = images.unlisted(before)
    rows = [
        *_artifacts(store, roots, sweep),
        _uploads(store, before, delete),
        *_images(store, images, roots, sweep),
        row_of(UNLISTED, unlisted, "no image lists it"),
        *rows_here(home, min(before, started - _SILENCE), delete),
    ]
    if delete:
        images.delete_unlisted(before)
    return Collection(
        rows=tuple(row for row in rows if row.ripe or row.later),
        deleted=delete,
        waits_for=tuple(name for name, began in sorted(writing.items()) if began < started),
        registry_frees=images.is_shared,
    )


def _refuse_shared(store: Store) -> None:
    signatures = store.artifacts.signatures()
    own = signatures.pop(store.identity.get(), None)
    for name, words in signatures.items():
        raise StoreError(
            f"Another model store keeps its artifacts at {store.address.artifacts} too: {words}",
            f"give each store a prefix of its own; if that one is no more, delete 'stores/{name}' there",
        )
    if own is None and next(store.artifacts.all(), None) is not None:
        raise StoreError(
            f"It is not known whose artifacts are at {store.address.artifacts}: this store has never written there",
            "correct the store's address; if it is right, run a pipeline first: it leaves the store's name there",
        )


def _artifacts(store: Store, roots: Roots, sweep: Sweep) -> Iterable[Row]:
    def remove(names: list[str], deletion: Deletion) -> None:
        digests = [name.removeprefix(ARTIFACT) for name in names]
        store.artifacts.delete(digests, lambda digest: deletion.begin(artifact_name(digest)))

    listed = store.condemned.since(ARTIFACT)
    found = ((artifact_name(name), ARTIFACTS, size) for name, size in store.artifacts.all() if not roots.keeps(name))
    return sweep.run(listed, found, remove)


def _uploads(store: Store, before: datetime, delete: bool) -> Row:
    """Nobody finds an unfinished upload and relies on it, so its own age is enough."""
    found = list(store.artifacts.unfinished(before))
    for name, _ in found if delete else ():
        store.artifacts.discard(name)
    return row_of(UPLOADS, dict(found), f"begun before {before:%Y-%m-%d %H:%M}")


def _images(store: Store, images: ImageStore, roots: Roots, sweep: Sweep) -> Iterable[Row]:
    listed = store.condemned.since(IMAGE)
    found = {image_name(one.repository, one.digest): one for one in garbage_images(store, images, roots)}

    def remove(names: list[str], deletion: Deletion) -> None:
        claimed = set(names)
        for name, one in found.items():  # in this order, by which nothing is lost sight of
            if name in claimed:
                try:
                    images.delete(one.repository, one.digest, partial(deletion.begin, name))
                except ImageError:
                    deletion.end(name)  # refused, so not on its way
                    raise
                deletion.end(name)

    return sweep.run(listed, ((name, one.kind, one.size) for name, one in found.items()), remove)
