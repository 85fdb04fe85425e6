"""What an unpacked model image looks like to the server, made of a few files: a model of two numbers that adds them.

Its worker is a script of the standard library that speaks the protocol of ``modelyard.client.worker``, and can be told
by its inputs or by the model folder to fail in every way a model can.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

SIGNATURE = {
    "kind": "columns",
    "inputs": [
        {"name": "a", "datatype": "INT64", "shape": [-1], "nullable": False},
        {"name": "b", "datatype": "FP64", "shape": [-1], "nullable": False},
        {"name": "word", "datatype": "BYTES", "shape": [-1], "nullable": True},
    ],
    "outputs": [
        {"name": "prediction", "datatype": "FP64", "shape": [-1]},
        {"name": "probability", "datatype": "FP64", "shape": [-1, 2]},
    ],
}
ROWS = [{"a": 1, "b": 0.5, "word": "x"}, {"a": 2, "b": 0.25, "word": None}]
PREDICTIONS = [1.5, 2.25]
OUTPUTS = {"prediction": PREDICTIONS, "probability": [[0.25, 0.75], [0.25, 0.75]]}

_WORKER = """
import ctypes, json, os, signal, socket, sys, time

ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[4]):
    sys.exit("the server has ended already")
folder, connection = sys.argv[-3], socket.socket(fileno=int(sys.argv[-1]))
with open(folder + "/behavior.json") as file:
    behavior = json.load(file)
time.sleep(behavior.get("load_seconds", 0))
if behavior.get("exit_at_start"):
    sys.exit("the model file is broken")
stream = connection.makefile("rwb")
while header := stream.read(4):
    request = json.loads(stream.read(int.from_bytes(header, "big")))
    if "tensor" in request:
        answer = {"outputs": {"prediction": [sum(row) for row in request["tensor"]["data"]]}}
    else:
        columns = request["columns"]
        if "die" in columns["word"]:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(sum(b for b, word in zip(columns["b"], columns["word"]) if word == "sleep"))
        print("predicting", len(columns["a"]), flush=True)
        off = behavior.get("off", 0)
        answer = {"outputs": {
            "prediction": [float("nan") if word == "nan" else a + b + off
                           for a, b, word in zip(columns["a"], columns["b"], columns["word"])],
            "probability": [[0.25, 0.75]] * len(columns["a"]),
        }}
        if "raise" in columns["word"]:
            answer = {"error": "ValueError: a word that the model does not know"}
    body = json.dumps(answer).encode()
    for word in request.get("columns", {}).get("word", []):
        if word and word[0] == "=":  # the very words that the model answers
            body = word[1:].encode()
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()
"""


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def make_root(folder: Path, *, signature: dict[str, Any] | None = None, golden: Any = None, **behavior: Any) -> Path:
    """Write such an image's tree to ``folder``.

    Args:
        behavior: ``load_seconds``, ``exit_at_start``, ``off`` (added to every prediction).
    """
    script(folder / "server" / "bin" / "python", f'exec {sys.executable} "$@"')
    worker = folder / "environment" / "worker.py"
    script(folder / "environment" / "bin" / "python", f'exec {sys.executable} {worker} "$@"')
    worker.write_text(textwrap.dedent(_WORKER))
    (folder / "project").mkdir()
    (folder / "model").mkdir()
    (folder / "model" / "behavior.json").write_text(json.dumps(behavior))
    description = {
        "format": 1,
        "flavor": "python",
        "files": {},
        "task": "regression",
        "classes": None,
        "python": "3.11.7",
        "packages": {},
        "signature": signature or SIGNATURE,
        "golden": golden or {"inputs": ROWS, "outputs": OUTPUTS},
    }
    (folder / "model" / "modelyard.json").write_text(json.dumps(description))
    return folder
