"""The locked packages of a project, whatever tool wrote them down: exactly these are installed, nothing else.

A lock holds every package for every platform it was made for, told apart by markers; the installer takes what fits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelyard.errors import Problem, ProjectError

Kind = Literal["Pipfile.lock", "requirements.txt", "pylock.toml", "uv.lock"]

_PYLOCK = re.compile(r"pylock(\.[^.]+)?\.toml")


@dataclass(frozen=True)
class Pin:
    """One locked package.

    Attributes:
        name: normalized (``scikit-learn``).
        version: None for a package that is a URL.
        marker: for whom it is meant, as PEP 508 writes it; None for all.
        hashes: ``sha256:…`` of each file that may be installed, sorted; empty when the lock names none.
        url: of the wheel, for a package that is in no index.
    """

    name: str
    version: str | None
    marker: str | None = None
    hashes: tuple[str, ...] = ()
    url: str | None = None

    def __str__(self) -> str:
        """The line of a requirements file."""
        what = f"{self.name}=={self.version}" if self.url is None else f"{self.name} @ {self.url}"
        marker = "" if self.marker is None else f" ; {self.marker}"
        return what + marker + "".join(f" \\\n    --hash={found}" for found in self.hashes)


@dataclass(frozen=True)
class Lock:
    """A project's locked packages.

    Attributes:
        path: of the file.
        digest: ``sha256:…`` of the pins alone: comments, order and layout of the file don't change it.
        requirements: sorted by name.
        python: the versions it is for (``>=3.11``), None when it does not say.
    """

    path: Path
    kind: Kind
    digest: str
    requirements: tuple[Pin, ...]
    python: str | None

    @property
    def hashed(self) -> bool:
        """Whether each package's files are pinned too."""
        return all(pin.hashes for pin in self.requirements)

    def to_requirements(self) -> str:
        """Return the pins as a requirements file."""
        return "".join(f"{pin}\n" for pin in self.requirements)


def read_lock(path: Path) -> Lock:
    """Read one lock file. Which of a project's files that is, ``modelyard.project.load`` says.

    Raises:
        ProjectError: it is no lock file, is not there, or with every line that can't be installed as it is.
    """
    kind = _kind(path.name)
    if kind is None:
        remedy = "use Pipfile.lock, pylock.toml, uv.lock or requirements.txt"
        raise ProjectError([Problem(path.name, None, "", "it is no lock file", remedy)])
    if not path.is_file():
        remedy = "lock the packages, or correct `lock` in model.yaml"
        raise ProjectError([Problem(path.name, None, "", "the file is not there", remedy)])
    from modelyard.environments import pipfile, pylock, requirements, uv_lock

    readers: Mapping[Kind, Callable[[Path], Parsed]] = {
        "Pipfile.lock": pipfile.read,
        "requirements.txt": requirements.read,
        "pylock.toml": pylock.read,
        "uv.lock": uv_lock.read,
    }
    parsed = readers[kind](path)
    if parsed.problems:
        raise ProjectError(list(parsed.problems))
    pins = tuple(sorted(set(parsed.pins), key=lambda pin: (pin.name, pin.version or "", pin.marker or "")))
    return Lock(path, kind, digest_of(pins), pins, parsed.python)


def digest_of(pins: Sequence[Pin]) -> str:
    """Return ``sha256:…`` of sorted pins."""
    normalized = [[pin.name, pin.version, pin.marker, pin.url, list(pin.hashes)] for pin in pins]
    return f"sha256:{hashlib.sha256(json.dumps(normalized, separators=(',', ':')).encode()).hexdigest()}"


def differences(lock: Lock, installed: Mapping[str, str]) -> list[str]:
    """Compare an environment with its lock.

    Args:
        lock: what should be there.
        installed: version by name of what is in the environment this process's interpreter stands for.

    Returns:
        one sentence a package that is missing, another version or not in the lock; empty when all is as locked.
    """
    from packaging.markers import Marker
    from packaging.utils import canonicalize_name

    found = {str(canonicalize_name(name)): version for name, version in installed.items()}
    wanted = {pin.name: pin.version for pin in lock.requirements if pin.marker is None or Marker(pin.marker).evaluate()}
    said = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            said.append(f"{name} is not installed, the lock says {wanted[name] or 'it should be'}")
        elif name not in wanted:
            if name not in _INSTALLERS:
                said.append(f"{name} {found[name]} is installed, the lock does not have it")
        elif wanted[name] is not None and not _same(found[name], str(wanted[name])):
            said.append(f"{name} {found[name]} is installed, the lock says {wanted[name]}")
    return said


@dataclass(frozen=True)
class Parsed:
    """What a reader found in a file: pins, or what is wrong with it."""

    pins: tuple[Pin, ...]
    problems: tuple[Problem, ...] = ()
    python: str | None = None


# What virtual environments are made with; no lock names them and no model is trained by them.
_INSTALLERS = frozenset({"pip", "uv", "wheel", "setuptools"})


def _same(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _kind(name: str) -> Kind | None:
    if _PYLOCK.fullmatch(name):
        return "pylock.toml"
    if name in ("Pipfile.lock", "uv.lock"):
        return "Pipfile.lock" if name == "Pipfile.lock" else "uv.lock"
    return "requirements.txt" if re.fullmatch(r"requirements[\w.-]*\.txt", name) else None
