"""What a process ran with: its installed packages."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata


@cache
def installed() -> dict[str, str]:
    """Return version by name (normalized as PyPI does) of every distribution of this environment."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a half removed distribution has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return dict(sorted(found.items()))
