"""What packages bring for their own developers and nobody needs who runs them: their tests, a tenth of many an image.

Their headers stay, though they are no use to most: what compiles while it runs (Triton, torch.compile) includes them.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

# An import of tests, over several lines too, or a module's name in quotes. Quick, and true of some other texts as well.
_MAY_USE_TESTS = re.compile(
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
        unused = set(_tests(package)) if package.is_dir() else set()
        if not unused:
            continue
        modules = [path for path in package.rglob("*.py") if not _is_test(path, package)]
        while modules and unused:
            names = {name for module in modules for name in _mentioned(module, packages)}
            used = {folder for folder in unused if _name(folder, packages) in names}
            unused -= used
            modules = [path for folder in used for path in folder.rglob("*.py")]  # which may use others
        for folder in unused:
            shutil.rmtree(folder)


def _tests(package: Path) -> Iterator[Path]:
    """The outermost folders of tests; a package that is itself named so is none."""
    for item in package.iterdir():
        if item.is_dir() and not item.is_symlink():
            if item.name == "tests":
                yield item
            else:
                yield from _tests(item)


def _is_test(module: Path, package: Path) -> bool:
    return module.name == "conftest.py" or "tests" in module.relative_to(package).parts


def _name(path: Path, packages: Path) -> str:
    return ".".join(path.relative_to(packages).parts)


def _mentioned(module: Path, packages: Path) -> Iterator[str]:
    """The folders of tests that a module names, as ``astropy.tests``."""
    source = module.read_bytes()
    if b"tests" not in source or not _MAY_USE_TESTS.search(source):
        return
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):  # a template, or code for another Python: nobody imports it
        return
    for node in nodes:
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = _name(module, packages).removesuffix(".py").split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            named = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[\w.]+", node.value):
            named = [node.value]
        for name in named:
            before, found, _ = f"{name}.".partition(".tests.")
            if found:
                yield f"{before}.tests"
