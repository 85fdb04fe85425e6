"""Other people's clients, each in an environment of its own: their requirements and Airflow's exclude each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

import modelyard

from .conftest import Running

_MLFLOW = """\
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

_KSERVE = """\
import asyncio
import sys
import numpy
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

ADDRESS = f"http://127.0.0.1:{sys.argv[1]}"

async def first_version():
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    assert await client.is_model_ready(ADDRESS, "sum")
    rows = [{"a": 1, "b": 0.5, "word": "x"}, {"a": 2, "b": 0.25, "word": None}]
    answer = await client.infer(ADDRESS, {"instances": rows}, model_name="sum")
    assert [prediction["prediction"] for prediction in answer["predictions"]] == [1.5, 2.25], answer
    try:
        await client.infer(ADDRESS, {"instances": [{"b": 1, "word": "x"}]}, model_name="sum")
    except Exception as error:
        print(error)

async def second_version():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(ADDRESS)
    assert await client.is_server_ready(ADDRESS)
    assert await client.is_model_ready(ADDRESS, "sum")
    inputs = []
    for binary in (False, True):
        inputs = [InferInput("a", [2], "INT64"), InferInput("b", [2], "FP64"), InferInput("word", [2], "BYTES")]
        inputs[0].set_data_from_numpy(numpy.array([1, 2]), binary_data=binary)
        inputs[1].set_data_from_numpy(numpy.array([0.5, 0.25]), binary_data=binary)
        inputs[2].set_data_from_numpy(numpy.array(["x", "y"], dtype=object), binary_data=binary)
        answer = await client.infer(ADDRESS, InferRequest("sum", inputs, request_id="7"), model_name="sum")
        assert (answer.id, answer.outputs[0].as_numpy().tolist()) == ("7", [1.5, 2.25]), answer

asyncio.run(first_version())
asyncio.run(second_version())
"""


@pytest.mark.parametrize(
    ("packages", "script"),
    [
        (["mlflow-skinny==3.17.2", "pandas", "scipy"], _MLFLOW),
        (["kserve==0.21.0"], _KSERVE),
    ],
    ids=["mlflow", "kserve"],
)
def test_client(server: Running, tmp_path: Path, packages: list[str], script: str) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    install: list[str | Path] = [find_uv_bin(), "pip", "install", "--quiet", "--python", python, *packages]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip(f"no package index with {packages[0]}")
    command: list[str | Path] = [python, "-c", script, str(server.port), modelyard.__version__]
    answered = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert answered.returncode == 0, answered.stderr
    assert "row 0, field 'a': expected an integer (INT64), found nothing" in answered.stdout
