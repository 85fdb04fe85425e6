"""From a lock to a folder of packages: uv installs exactly what is locked, wheels only, hashes checked.

Wheels only, because building a package would run its code, here, with what this process may reach.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from modelyard.environments.lock import Lock
from modelyard.errors import EnvironmentBuildError, Unavailable
from modelyard.images import libc
from modelyard.images.interpreter import Interpreter
from modelyard.process import die_with_parent

Progress = Callable[[str], None]

_NETWORK = re.compile(r"error sending request|connection|timed? ?out|dns error|server error|code: 5", re.IGNORECASE)
_HASH = re.compile(r"Hash mismatch for `([^`]+)`")
_WITHOUT_WHEEL = re.compile(r"([\w.-]+)==(\S+) has no (?:usable )?wheels")
_NO_WHEEL = re.compile(r"no usable wheels|no wheels|building from source is disabled", re.IGNORECASE)
# What uv lays into an environment for people at a terminal, and what the interpreter's own layer brings.
_LEFT_OUT = ("include", "pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", ".lock", "lib64")
_WHERE_FROM = ".dist-info/direct_url.json"  # an address that only who builds it may have
_SCRIPTS_LEFT_OUT = re.compile(r"activate.*|deactivate.*|pydoc\.bat|python[\d.]*")


def build(
    lock: Lock, interpreter: Interpreter, folder: Path, cache: Path, progress: Progress, platform: str | None = None
) -> None:
    """Install the packages of ``lock`` for ``interpreter`` into ``folder``: a virtual environment that can be moved.

    Args:
        lock: the packages, all of them and no others.
        interpreter: the Python they are for.
        folder: must not exist; what is there after an error is incomplete.
        cache: uv's, unless its own configuration (``UV_CACHE_DIR``) names another one.
        progress: given a line now and then.
        platform: whose wheels are wanted, by default the interpreter's; of another one nothing can be run here. They
            are for the glibc of :mod:`modelyard.images.libc`, whatever this machine has.

    Raises:
        EnvironmentBuildError: the lock is for another Python, or a package has no wheel, another hash, or is nowhere;
            or it is for this machine, whose C library could not load the packages.
        Unavailable: the package index cannot be reached.
    """
    _check_python(lock, interpreter)
    platform = platform or interpreter.platform
    if platform == interpreter.platform and (why := libc.why_not(libc.of_this_machine())):
        raise EnvironmentBuildError(
            f"This machine {why}, and packages are installed for glibc {libc.FLOOR[0]}.{libc.FLOOR[1]} or newer",
            "run Modelyard on a Linux with it: Debian 10, Ubuntu 20.04, RHEL 8 or newer, and not Alpine",
        )
    known = libc.TARGETS.get(platform)
    target = f"Python {interpreter.python} on {platform}"
    if known is not None:
        target += f" with glibc {libc.FLOOR[0]}.{libc.FLOOR[1]}"
    progress(f"Installing {len(lock.requirements)} locked packages for {target}")
    uv = partial(_uv, folder=folder.parent, cache=cache, lock=lock, target=target)
    uv(["venv", "--relocatable", "--python", str(interpreter.executable), str(folder)])
    pins = folder.with_name(f"{folder.name}.requirements.txt")
    pins.write_text(lock.to_requirements(), "utf-8")
    try:
        uv(
            [
                *("pip", "install", "--python", str(folder / "bin" / "python"), "--only-binary", ":all:", "--no-deps"),
                *(["--python-platform", known] if known is not None else []),
                *(["--require-hashes"] if lock.hashed else []),
                *("--requirement", str(pins)),
            ]
        )
    finally:
        pins.unlink()


def compile_bytecode(folder: Path, interpreter: Interpreter, prefix: str) -> None:
    """Compile the modules in ``folder``, so that a start need not; the same bytes in whatever folder, on any day.

    The tests that packages bring are left as they are: they are a third of all code, and nobody imports them.

    Args:
        folder: the environment; byte code in it is replaced.
        interpreter: whose byte code.
        prefix: where the folder will lie, as ``/opt/modelyard/environment``.

    Raises:
        EnvironmentBuildError: the interpreter could not.
    """
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    tests = f"{re.escape(str(folder))}/.*/tests?/"
    modules = sorted(map(str, (folder / "lib").rglob("*.py")))

    def compiled(share: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(str(interpreter.executable), "-P", "-s", "-m", "compileall", "-qq"),
                *("--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", prefix, "-x", tests, "-i", "-"),
            ],
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHONHASHSEED": "0"},
            input="\n".join(share),
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )

    # Not compileall's own -j: when this process is killed, the workers of its pool would wait for work for ever.
    processors = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(processors) as threads:
        shares = [modules[first::processors] for first in range(processors)]
        ends = list(threads.map(compiled, filter(None, shares)))
    for end in ends:
        # 1: some file is no valid Python, as templates and test data in packages are; it is left as it is.
        if end.returncode not in (0, 1):
            raise EnvironmentBuildError(
                f"{interpreter.executable} could not compile the environment: {end.stderr.strip()[-500:]}",
                "check that this Python works: python -m compileall",
            )


def is_left_out(path: str) -> bool:
    """Whether a path in an environment's folder is not part of its layer."""
    top, _, rest = path.partition("/")
    if path.endswith(_WHERE_FROM):
        return True
    return top in _LEFT_OUT or (top == "bin" and "/" not in rest and bool(_SCRIPTS_LEFT_OUT.fullmatch(rest)))


def _check_python(lock: Lock, interpreter: Interpreter) -> None:
    from packaging.specifiers import SpecifierSet

    if lock.python is not None and not SpecifierSet(lock.python).contains(interpreter.version, prereleases=True):
        raise EnvironmentBuildError(
            f"{lock.path.name} is for Python {lock.python}, and the interpreter here is {interpreter.version}",
            "run Modelyard with that Python (in pods: a runner image that has it), or lock the project for this one",
        )


def _uv(arguments: list[str], folder: Path, cache: Path, lock: Lock, target: str) -> None:
    from uv import find_uv_bin

    done = subprocess.run(
        [find_uv_bin(), "--quiet", "--color", "never", *arguments],
        cwd=folder,  # not the project's: its pyproject.toml must not change what is installed
        env={"UV_CACHE_DIR": str(cache), **os.environ, "UV_COMPILE_BYTECODE": "0", "UV_LINK_MODE": "hardlink"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        # Killed, we leave nobody who would go on writing where the next try builds.
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    if done.returncode:
        raise _explained(re.sub(r"://[^/@\s]+@", "://", done.stderr.strip()), lock, target)


def _explained(said: str, lock: Lock, target: str) -> EnvironmentBuildError | Unavailable:
    name = lock.path.name
    if found := _HASH.search(said):
        return EnvironmentBuildError(
            f"{name}: {found[1]} has other bytes than were locked:\n{said}",
            "if the package was really published anew, lock again; otherwise somebody has changed it",
        )
    if _NO_WHEEL.search(said):
        found = _WITHOUT_WHEEL.search(said)
        what = "a package has no wheel" if found is None else f"{found[1]} {found[2]} has no wheel"
        return EnvironmentBuildError(
            f"{name}: {what} for {target}:\n{said}",
            "lock a version that has one, for this or an older glibc, or put one that you have built into your index",
        )
    if _NETWORK.search(said):
        return Unavailable(
            f"The packages of {name} could not be fetched:\n{said}",
            "check the network and the package index that uv is configured for",
        )
    return EnvironmentBuildError(f"{name} could not be installed:\n{said}", "lock the packages again")
