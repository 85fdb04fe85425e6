from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

PACKAGES = ("scikit-learn==1.7.2", "pandas==2.3.3", "lightgbm", "xgboost-cpu")


@pytest.fixture(scope="session")
def boosting_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a project's environment with libraries for gradient boosting, and without converters."""
    folder = tmp_path_factory.mktemp("boosting") / "environment"
    python = folder / "bin" / "python"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES], check=True)
    return python
