"""``python -P -m modelyard.client.launch ENTRY [ARGUMENTS]``: runs a script as ``python ENTRY`` would, recorded."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from modelyard.client import attach


def main() -> None:
    """Run the entry as ``__main__``, with its folder first on the path and its own command line."""
    entry = Path(sys.argv[1])
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(entry.absolute().parent))
    attach.install()
    runpy.run_path(str(entry), run_name="__main__")


if __name__ == "__main__":
    main()
