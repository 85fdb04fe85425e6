"""The runner image: Modelyard with all that its steps need, and no Airflow, on a base image with their Python.

As docker/runner/Dockerfile makes it, from layers: base | packages | interpreter | Modelyard's own code. Another release
of Modelyard with the same packages is one small layer more.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import modelyard
from modelyard.environments import ensure_runner, layer_of
from modelyard.environments.build import compile_bytecode, is_left_out
from modelyard.images.base import Base
from modelyard.images.image import EPOCH, Image
from modelyard.images.interpreter import Interpreter
from modelyard.images.layer import Entry, tree
from modelyard.images.model_image import USER
from modelyard.images.paths import ROOT
from modelyard.images.store import ImageStore

_FOLDER = f"{ROOT}/runner"
_COMMAND = f"""#!/{_FOLDER}/bin/python
from modelyard.cli import main

main()
"""


def build_runner_image(images: ImageStore, home: Path, base: Base, log: Callable[[str], None]) -> Image:
    """Build the runner image of the Modelyard that runs; nothing of it is in a registry before it is pushed.

    The same packages, code and base give the same digest.

    Args:
        images: where its packages are kept, to be installed only once.
        home: this machine's folder, for uv's cache.
        base: with the Python that runs here.
        log: given a line a layer.

    Raises:
        EnvironmentBuildError: the base has another Python, or the packages cannot be installed.
        ImageError, Unavailable: image store or package index refuse, or cannot be reached.
    """
    environment = ensure_runner(images, home, log)
    layers = [
        layer_of(environment, images),
        images.pack(base.entries(environment.python, environment.platform, ["runner"]), "interpreter"),
    ]
    with tempfile.TemporaryDirectory(prefix="modelyard-runner-") as folder:
        layers.append(images.pack(_code(Path(folder)), "code"))
    for layer in layers:
        log(f"Layer {layer.kind}: {layer.size / 1e6:.1f} MB, {layer.digest[:19]}")
    facts = {
        "org.opencontainers.image.title": "modelyard-runner",
        "org.opencontainers.image.version": modelyard.__version__,
        "org.opencontainers.image.base.digest": base.image.digest,
        "io.modelyard.lock": environment.lock_digest,
    }
    path = next(
        (item for item in (base.image.parsed_config.get("config") or {}).get("Env") or () if item.startswith("PATH=")),
        "PATH=/usr/local/bin:/usr/bin:/bin",
    )
    run_config = {
        "User": USER,
        "WorkingDir": f"/{ROOT}",
        "Env": [
            path.replace("=", f"=/{_FOLDER}/bin:", 1),
            "PYTHONUNBUFFERED=1",
            "PYTHONDONTWRITEBYTECODE=1",
        ],
        "Entrypoint": [f"/{_FOLDER}/bin/python", "-m", "modelyard"],
        "Cmd": [],
        "Labels": facts,
    }
    return base.image.append(layers, run_config, facts, EPOCH)


def _code(folder: Path) -> list[Entry]:
    """Modelyard's package with its byte code, and its command."""
    interpreter = Interpreter.of_this_machine()
    package = folder / "lib" / f"python{interpreter.python}" / "site-packages" / "modelyard"
    shutil.copytree(str(files("modelyard")), package, ignore=shutil.ignore_patterns("__pycache__"))
    compile_bytecode(folder, interpreter, f"/{_FOLDER}")
    return [
        *tree(folder, _FOLDER, lambda path: is_left_out(str(path))),
        Entry(f"{_FOLDER}/bin/modelyard", _COMMAND.encode(), executable=True),
    ]
