"""The converters and the server's environment, built once a run, and models to compile with them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.sharing import shared_folder

from modelyard.client import convert
from modelyard.client.child import environment, lay_client
from modelyard.compilation import Converter
from modelyard.environments import ensure_converters, ensure_server, python_of
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout

HOUSES = Path(__file__).parents[1] / "include/examples/houses/data"


@dataclass(frozen=True)
class Workshop:
    """A folder of this machine with the environments that compile and serve."""

    home: Path
    packages: Path
    server: Path

    def write(self, folder: Path, code: str, python: Path = Path(sys.executable)) -> Path:
        """Run ``code``, which leaves ``model`` and ``example``, in a project's environment; return the model directory.

        ``HOUSES`` is the folder of the houses' data.
        """
        model = folder / "model"
        model.mkdir(parents=True)
        (folder / "home").mkdir()
        script = f"from pathlib import Path\nHOUSES = Path({str(HOUSES)!r})\n{code}\n"
        script += f"from modelyard.client.model import write_model\nwrite_model(Path({str(model)!r}), model, example)\n"
        variables = environment(python, folder / "home", code=[lay_client(folder / "client")])
        subprocess.run([python, "-c", script], env=variables, check=True)
        return model

    def where(self, folder: Path, python: Path = Path(sys.executable)) -> Converter:
        """Return where a model that ``write`` has left in ``folder`` is converted."""
        return Converter(python, [folder / "client"], self.packages, self.server, ())

    def compile(self, folder: Path, form: str = "exact", python: Path = Path(sys.executable)) -> Path:
        """Convert such a model and put one of its forms where the server looks for it; return the file."""
        out = folder / "out"
        out.mkdir()
        command: list[str | Path] = [python, "-P", "-m", "modelyard.client.convert"]
        command += [folder / "model", out, self.packages]
        variables = environment(python, folder / "home", code=[folder / "client"])
        subprocess.run(command, env=variables, check=True)
        assert (out / convert.RESULT).exists()
        file = folder / "model" / "compiled" / "model.onnx"
        file.parent.mkdir()
        return (out / f"{form}.onnx").rename(file)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The environments, built once: who wants one that another process builds waits for it."""
    home = shared_folder(tmp_path_factory, "workshop")
    images, version = Layout(home / "images"), Interpreter.of_this_machine().python
    converters = python_of(ensure_converters(images, home, print), images, home)
    server = python_of(ensure_server(images, home, print, version), images, home)
    return Workshop(home, converters.parents[1] / "lib" / f"python{version}" / "site-packages", server)
