"""What a process ran with: its installed packages."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata

# Importing pkg_resources, as Sacred does, puts setuptools' own copies of packages on the path: nobody installed them.
_COPIES = "/setuptools/_vendor"
_OWN = "modelyard"


@cache
def installed() -> dict[str, str]:
    """Return version by name (normalized as PyPI does) of every distribution of this environment, but Modelyard's."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=[entry for entry in sys.path if not entry.endswith(_COPIES)]):
        if name := distribution.metadata["Name"]:  # a half removed distribution has none
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    found.pop(_OWN, None)
    return dict(sorted(found.items()))
