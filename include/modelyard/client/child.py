"""How a process that runs a project's code is started: the project's interpreter, no credential, confined."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from modelyard.client import confine

# What a program may need to know of the machine, and nothing that could hold a credential: proxies can.
_PASSED_ON = (
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "TZ",
)


def environment(python: Path, home: Path, *, code: Sequence[Path], **more: str) -> dict[str, str]:
    """Return the environment of a project's process.

    Args:
        python: the project's interpreter.
        home: an empty folder of the process's own, its HOME and place for temporary files.
        code: folders to import from, beside the interpreter's own: the client's, the project's.
        more: further variables.
    """
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        "LANG": "C.UTF-8",
        **passed_on,
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": ":".join(map(str, code)),
        # The same order of sets, so the same bytes, for the same model.
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Sacred dies without a git binary otherwise; the commit is recorded by its parent.
        "GIT_PYTHON_REFRESH": "quiet",
        # Sacred's own affair, and nothing that a reader of the log could do about.
        "PYTHONWARNINGS": "ignore:pkg_resources is deprecated as an API:UserWarning",
        **more,
    }


def given() -> dict[str, str]:
    """Return the variables that model.yaml gives to the project's code, as the pod has them: ``confined`` renames them.

    To this process they mean nothing, as their names here are not those that the project's code sees.
    """
    return {name: value for name, value in os.environ.items() if name.startswith(confine.FOR_THE_COMMAND)}


def confined(command: Sequence[str | Path], *, hidden: Sequence[Path]) -> list[str]:
    """Return the command that starts another one confined; it ends with this process.

    Args:
        command: the project's interpreter, with its arguments.
        hidden: files and folders it shall not read, ``credential_places`` of this machine; none are needed for what is
            started by a process that is confined itself.
    """
    script = str(Path(confine.__file__))
    places = map(os.path.abspath, hidden)
    return [sys.executable, "-I", "-S", script, str(os.getpid()), *places, "--", *map(str, command)]


def lay_client(folder: Path) -> Path:
    """Make a folder to import the client from, and nothing else of Modelyard or of the environment it lives in."""
    source = Path(__file__).parent
    package = folder / "modelyard"
    package.mkdir(parents=True)
    # Copies: a container beside this one may have this folder, and has nothing else of Modelyard.
    shutil.copy2(source.parent / "__init__.py", package)
    shutil.copytree(source, package / "client")
    return folder
