"""The packages that Modelyard's own steps need, as this process has them: what is tested together, runs together."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from modelyard.environments.lock import Lock, Pin, digest_of
from modelyard.errors import EnvironmentBuildError

_EXTRA = "pipeline"


def own_lock() -> Lock:
    """Return the packages of Modelyard's extra ``pipeline`` and all they need, in the versions installed here.

    Modelyard itself is not among them.

    Raises:
        EnvironmentBuildError: one of them is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pending = [("modelyard", _EXTRA)]
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while pending:
        name, extra = pending.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found = _distribution(name)
        versions[name] = found.version
        for text in found.requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                pending += [(str(canonicalize_name(wanted.name)), one) for one in ("", *wanted.extras)]
    del versions["modelyard"]
    pins = tuple(Pin(name, version) for name, version in sorted(versions.items()))
    return Lock(Path(f"modelyard[{_EXTRA}]"), "requirements.txt", digest_of(pins), pins, None)


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise EnvironmentBuildError(
            f"The package {name}, which Modelyard's steps need, is not installed here",
            "install modelyard with its extra `pipeline`, and call the command of that environment",
        ) from error
