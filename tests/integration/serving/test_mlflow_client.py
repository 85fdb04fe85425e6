"""MLflow's own scoring client, in an environment of its own: its requirements and Airflow's exclude each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from .conftest import Running

_PACKAGES = ["mlflow-skinny==3.17.2", "pandas", "scipy"]
_SCRIPT = """\
import sys
import pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready(timeout=10)
rows = pandas.DataFrame({"word": ["x", None], "a": [1, 2], "b": [0.5, 0.25]})
assert client.invoke(rows).get_predictions()[0].tolist() == [1.5, 2.25]
assert client.invoke([{"a": 1, "b": 2, "word": "x"}]).get_predictions("ndarray").tolist() == [3.0]
assert client.get_version() == sys.argv[2], client.get_version()
try:
    client.invoke(rows.drop(columns="a"))
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with MLflow's client."""
    environment = tmp_path_factory.mktemp("mlflow") / "venv"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, environment], check=True)
    install: list[str | Path] = [
        find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--python",
        environment / "bin" / "python",
        *_PACKAGES,
    ]
    installed = subprocess.run(install, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip("no package index with MLflow's client")
    return environment / "bin" / "python"


def test_mlflows_client_scores(server: Running, python: Path) -> None:
    import modelyard

    command: list[str | Path] = [python, "-c", _SCRIPT, str(server.port), modelyard.__version__]
    answered = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert answered.returncode == 0, answered.stderr
    assert "error code 422" in answered.stdout
    assert "row 0, field 'a': expected an integer (INT64), found nothing" in answered.stdout
