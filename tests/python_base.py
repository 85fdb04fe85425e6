"""A base image for pods, with the Python that the tests run on: what they build is built for that one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

from modelyard.images.base import pull_image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, tree
from modelyard.images.registry import Registry
from modelyard.images.transport import Transport
from modelyard.store import StoreAddress

_BASE = "library/python:3.11-slim"
_NOT_NEEDED = frozenset({"__pycache__", "site-packages", "test", "idlelib", "tkinter"})
_LIBRARY = re.compile(r"=> (/\S+)")
_OF_THE_SYSTEM = re.compile(r"(libc|libm|libdl|librt|libutil|libpthread|ld-linux.*)\.so.*")


def python_base(registry: str, home: Path) -> str:
    """Return the name of a base image in a registry of plain HTTP that has ``library/python:3.11-slim``.

    With another Python it is that one, and this machine's interpreter with the libraries that it loads on top.
    """
    own = Interpreter.of_this_machine()
    if own.python == "3.11":
        return f"{registry}/{_BASE}"
    address = StoreAddress("mongodb://unused", "file:///unused", registry, registry_insecure=True)
    images = Registry(Transport.to(registry, address), "", home / "packed")
    library = Path(sys.base_prefix) / "lib" / f"python{own.python}"
    entries = [
        *tree(library, f"usr/local/lib/python{own.python}", _is_left_out),
        Entry(f"usr/local/bin/python{own.python}", own.executable.resolve(), executable=True),
    ]
    loading = [own.executable.resolve(), *(library / "lib-dynload").glob("*.so")]
    loaded = subprocess.run(["ldd", *loading], capture_output=True, text=True, check=True).stdout
    libraries = {path for found in _LIBRARY.findall(loaded) if not _OF_THE_SYSTEM.fullmatch((path := Path(found)).name)}
    entries += [Entry(f"{_libraries()}/{path.name}", path.resolve()) for path in libraries]
    below = pull_image(f"{registry}/{_BASE}", address, home)
    image = below.append([images.pack(entries)], {}, {})
    images.push("test-bases/python", image)
    return images.reference("test-bases/python", image.digest)


def _libraries() -> str:
    """Where the loader looks for libraries, as in the image: it is of this machine's distribution."""
    (folder,) = Path("/usr/lib").glob("*-linux-gnu")
    return str(folder).lstrip("/")


def _is_left_out(path: PurePosixPath) -> bool:
    return path.name in _NOT_NEEDED
