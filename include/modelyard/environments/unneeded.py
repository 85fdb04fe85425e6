"""What packages bring for their own developers and nobody needs who runs them: their tests, a tenth of many an image.

Their headers stay, though they are no use to most: what compiles while it runs (Triton, torch.compile) includes them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# An import of tests, over several lines too, or a module's name in quotes: `importlib.import_module("astropy.tests")`.
_USES_TESTS = re.compile(
    rb"""^\s*from\s+\S+\s+import\s*\([^)]*\btests\b|^\s*(?:from|import)\s[^#\n]*\btests\b|["'][\w.]+\.tests\b[\w.]*["']""",
    re.MULTILINE,
)


def remove_tests(packages: Path) -> None:
    """Remove the folders named ``tests`` inside packages, but not those that a package's other modules make use of.

    Args:
        packages: a folder ``site-packages``. Folders named ``test`` are left alone: some are a public part of their
            package (``django.test``, ``tensorflow.test``).
    """
    for package in packages.iterdir():
        if package.is_dir() and (tests := list(_tests(package))) and not any(map(_uses_tests, _modules(package))):
            for folder in tests:
                shutil.rmtree(folder)


def _tests(package: Path) -> Iterator[Path]:
    """The outermost folders of tests; a package that is itself named so is none."""
    for item in package.iterdir():
        if item.is_dir() and not item.is_symlink():
            if item.name == "tests":
                yield item
            else:
                yield from _tests(item)


def _modules(package: Path) -> Iterator[Path]:
    for path in package.rglob("*.py"):
        if "tests" not in path.relative_to(package).parts and path.name != "conftest.py":
            yield path


def _uses_tests(module: Path) -> bool:
    return bool(_USES_TESTS.search(module.read_bytes()))
