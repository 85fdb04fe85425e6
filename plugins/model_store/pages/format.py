"""Values as people read them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

_WIDTH, _HEIGHT, _POINTS = 240, 56, 400


def number(value: Any) -> str:
    """Return a figure with six digits that count, anything else as text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)


def plain(value: Any) -> str:
    """Return a value of a configuration on one line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)


def size(count: int) -> str:
    """Return bytes in the unit that fits."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def moment(value: datetime | None) -> Markup:
    """Return a time as HTML: its minute in UTC, and all of it for machines and on hover."""
    if value is None:
        return Markup("–")
    exact = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(
        exact.isoformat(timespec="seconds"), exact.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    )


def duration(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, – while it has no end."""
    if start is None or end is None:
        return "–"
    seconds = (end - start).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration by dotted paths: ``{"model": {"C": 1}}`` is ``{"model.C": 1}``."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return found


def chart(steps: Sequence[float], values: Sequence[Any], label: str) -> Markup:
    """Return a metric's course as an SVG line, without axes; "" where there is no line to draw."""
    points = [
        (float(step), float(value))
        for step, value in zip(steps, values, strict=False)
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    if len(points) < 2:
        return Markup("")
    points = points[:: math.ceil(len(points) / _POINTS)]
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = points[0][0], points[-1][0]
    across, up = (last - first) or 1.0, (high - low) or 1.0
    line = " ".join(
        f"{(x - first) / across * _WIDTH:.1f},{_HEIGHT - 4 - (y - low) / up * (_HEIGHT - 8):.1f}" for x, y in points
    )
    return Markup(
        '<svg class="chart" viewBox="0 0 {0} {1}" role="img" aria-label="{2}"><polyline points="{3}"/></svg>'
    ).format(_WIDTH, _HEIGHT, label, line)
