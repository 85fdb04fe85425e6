"""The environment of a model project: Sacred, scikit-learn and pandas, and nothing of Modelyard's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.sharing import made_once, shared_folder
from uv import find_uv_bin

PACKAGES = ("sacred==0.8.7", "setuptools<81", "scikit-learn", "pandas", "ipykernel")


@pytest.fixture(scope="session")
def project_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of such an environment, made once a run."""
    folder = shared_folder(tmp_path_factory, "project") / "environment"
    python = folder / "bin" / "python"

    def make() -> None:
        uv = find_uv_bin()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *PACKAGES], check=True
        )

    made_once(folder, make)
    return python
