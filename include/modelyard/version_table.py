"""Model versions as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from rich.table import Table
from rich.text import Text

from modelyard.store.records import Alias, ModelVersion


def version_table(versions: Sequence[ModelVersion], aliases: Mapping[str, Sequence[Alias]]) -> Table:
    """Return a row for each version: number, where it serves, metrics, code and origin.

    Args:
        versions: in the order to be shown.
        aliases: of each model among them, by its name.
    """
    table = Table("version", "aliases", "metrics", "commit", "by", "created (UTC)", box=None, pad_edge=False)
    for version in versions:
        names = [alias.alias for alias in aliases.get(version.name, ()) if alias.version == version.version]
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in sorted(version.metrics.items()))
        commit = (
            "uncommitted" if version.commit is None else version.commit[:10] + (" + changes" if version.dirty else "")
        )
        created = version.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
        cells = (f"{version.name}:{version.version}", ", ".join(names), metrics, commit, version.created_by, created)
        table.add_row(*map(Text, cells))  # text, so that nobody's brackets are taken for markup
    return table
