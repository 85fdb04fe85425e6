"""A collection in lines of text: for a terminal and for a task's log."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelyard.garbage.collect import Collection
from modelyard.garbage.images import KINDS
from modelyard.garbage.sweep import Row, largest

_DIGEST, _SHORT = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b"), r"\1…"

_REGISTRY = (
    "Of images only the names are deleted: the registry frees the bytes by its own garbage collection. Many do so by "
    "themselves; Docker's by `registry garbage-collect CONFIG`, which its owner runs while nobody pushes, without "
    "--delete-untagged (signatures and images inside of an index have no tag), and restarts the registry after it."
)


def lines(collection: Collection, patience: str) -> Iterator[str]:
    """Yield a table of what was found, of a dry run the largest things of each kind by name, and what follows from it.

    Args:
        collection: to be told.
        patience: as it was asked for: ``7d``.
    """
    total = collection.total
    if not collection.rows:
        yield "There is no garbage."
        return
    yield f"{'':<36} {'deleted' if collection.deleted else 'can be deleted':>22} {'not yet':>22}"
    for row in (*collection.rows, total):
        yield f"{row.kind:<36} {_cell(row.ripe, row.ripe_bytes):>22} {_cell(row.later, row.later_bytes):>22}"
    if total.later:
        yield f"Not yet: what is known as unreferenced for less than {patience}. A run with --delete notes it."
    if collection.waits_for:
        yield f"The time ends where the oldest of these began, which write now: {', '.join(collection.waits_for)}"
    if not collection.deleted:
        for row in collection.rows:
            yield from _named(row)
        yield "Nothing was changed: this was a dry run. Delete with: modelyard gc --delete"
    elif collection.registry_frees and any(row.kind in KINDS and row.ripe for row in collection.rows):
        yield _REGISTRY


def _named(row: Row) -> Iterator[str]:
    yield f"{row.kind}:"
    shown = largest(row.things)
    for thing in shown:
        yield f"  {_bytes(thing.size):>9}  {_DIGEST.sub(_SHORT, thing.name)}: {thing.why}"
    if (more := row.ripe + row.later - len(shown)) > 0:
        yield f"  and {more:,} more, none of them larger"


def _cell(count: int, size: int) -> str:
    return f"{count:,}  {_bytes(size):>9}" if count else "-"


def _bytes(size: float) -> str:
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
