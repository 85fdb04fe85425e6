"""What differs between versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_store.pages.format import flat, number, plain
from modelyard.store import ModelVersion


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a cell for each version, ``differs`` when they are not all the same."""

    name: str
    cells: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the versions disagree."""
        return len(set(self.cells)) > 1


def sections(versions: Sequence[ModelVersion]) -> dict[str, list[Row]]:
    """Return the comparison by section: metrics, configuration, data, code."""
    data = [{item.name: item.digest[:19] for item in version.data} for version in versions]
    code = [
        {
            "commit": version.commit or "none",
            "uncommitted changes": "yes" if version.dirty else "no",
            "locked packages": (version.lock_digest or "none")[:19],
            "packages that differ from the lock": "; ".join(version.package_differences) or "none",
            "created": version.created_at.isoformat(timespec="seconds"),
            "image": (version.image_digest or "none")[:19],
        }
        for version in versions
    ]
    return {
        "Metrics": _rows([version.metrics for version in versions], number),
        "Configuration": _rows([flat(version.config) for version in versions], plain),
        "Data": _rows(data, str),
        "Code": _rows(code, str),
    }


def _rows(columns: Sequence[dict[str, Any]], told: Any) -> list[Row]:
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [Row(name, tuple(told(column[name]) if name in column else "–" for column in columns)) for name in names]
