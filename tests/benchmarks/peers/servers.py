"""Every way of serving a model that is compared: how it is started, and how it is asked for the same rows."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.models import Subject

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "modelyard-benchmarks"
OURS, CONSTANT, TWO, TENSORS = "modelyard", "constant answer", "modelyard, 2 workers", "modelyard, tensors"
BARE = "bare socket"
HALF, HALVES = "modelyard, half", "2 workers, halves"
PEERS = {"mlflow": ("MLflow",), "bentoml": ("BentoML", "BentoML, batching"), "mlserver": ("MLServer",)}

Rows = list[dict[str, Any]]
Command = list[str | Path]

_BARE = """
import json, socket, sys, joblib, pandas
model, listening = joblib.load(sys.argv[1]), socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    connection, _ = listening.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while asked := connection.recv(65536):
        body = asked.partition(b"\\r\\n\\r\\n")[2]
        answer = model.predict(pandas.DataFrame(json.loads(body))).tolist() if body else []
        told = json.dumps({"predictions": answer}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(told) + told)
    connection.close()
"""


@dataclass(frozen=True)
class Server:
    """One way of serving one model.

    Attributes:
        command: gets the port, except where ``handed`` says that it is given a listening socket by number.
        ready: the path that answers 200 once the model does.
        path: where predictions are asked for; a GET when there is no ``body``.
        body: makes the request's JSON of rows.
        share: of a processor, that each of its processes may take; None: all that there is.
    """

    name: str
    command: Callable[[int], Command]
    ready: str
    path: str
    body: Callable[[Rows], Any] | None
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    handed: bool = False
    share: float | None = None


def ours(subject: Subject) -> list[Server]:
    """Return our server, a constant answer of it, two workers of it, it asked as MLServer is, and a bare socket."""
    root = subject.root

    def start(workers: int) -> Callable[[int], Command]:
        command: Command = [root / "server/bin/python", "-I", "-m", "modelyard.serving", "--root", root]
        return lambda number: [*command, "--workers", str(workers), "--fd", str(number)]

    return [
        Server(OURS, start(1), "/readyz", "/predict", lambda rows: rows, handed=True),
        Server(CONSTANT, start(1), "/readyz", "/version", None, handed=True),
        Server(TWO, start(2), "/readyz", "/predict", lambda rows: rows, handed=True),
        Server(HALF, start(1), "/readyz", "/predict", lambda rows: rows, handed=True, share=0.5),
        Server(HALVES, start(2), "/readyz", "/predict", lambda rows: rows, handed=True, share=0.5),
        Server(
            TENSORS, start(1), "/readyz", "/v2/models/model/infer", lambda rows: _tensors(subject, rows), handed=True
        ),
        Server(
            BARE,
            lambda port: [subject.python, "-c", _BARE, subject.joblib, str(port)],
            "/",
            "/predict",
            lambda rows: rows,
            {"OMP_NUM_THREADS": "1"},
        ),
    ]


def _tensors(subject: Subject, rows: Rows) -> Any:
    """The Open Inference Protocol's request for a prediction alone, which is all that MLServer answers."""
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in subject.columns.items()
    ]
    return {"inputs": inputs, "outputs": [{"name": "prediction"}]}


def uv() -> Path:
    """Return the command uv: on the path, or beside this interpreter."""
    return Path(shutil.which("uv") or Path(sys.executable).with_name("uv"))


def environment(peer: str) -> Path:
    """Return the folder of a peer's environment, made from its lock the first time and kept in ``CACHE``.

    Raises:
        LookupError: it cannot be installed on this Python: the last line of why.
    """
    lock = HERE / f"{peer}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:16]
    folder = CACHE / f"{peer}-{key}"
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    steps: list[Command] = [
        [uv(), "venv", "--quiet", "--python", sys.executable, folder],
        [uv(), "pip", "install", "--quiet", "--python", folder / "bin/python", "--no-deps", "-r", lock],
    ]
    for command in steps:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise LookupError((done.stderr.strip().splitlines() or ["uv ended without a word"])[-1].strip())
    (folder / "complete").touch()
    return folder


def peers(peer: str, home: Path, subject: Subject, folder: Path) -> list[Server]:
    """Return a peer's ways of serving; ``folder`` gets the model in the form that it reads."""
    folder.mkdir(parents=True)
    # Its commands start others by name; nothing is asked for at home.
    variables = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), **QUIET}
    return {"mlflow": _mlflow, "bentoml": _bentoml, "mlserver": _mlserver}[peer](home, subject, folder, variables)


QUIET = {
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_NUM_THREADS": "1",  # as our own workers have it: one worker, one processor
}
_SAVE = """
import sys, joblib, mlflow.sklearn
mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format="cloudpickle")
"""


def _mlflow(home: Path, subject: Subject, folder: Path, variables: dict[str, str]) -> list[Server]:
    # Without a signature: it checks nothing then, which is what it does quickest.
    command: Command = [home / "bin/python", "-c", _SAVE, subject.joblib, folder / "model"]
    subprocess.run(command, env=variables, check=True, capture_output=True, cwd=folder)

    def start(port: int) -> Command:
        served: Command = [home / "bin/mlflow", "models", "serve", "--model-uri", folder / "model"]
        return [*served, "--env-manager", "local", "--workers", "1", "--port", str(port)]

    return [Server("MLflow", start, "/ping", "/invocations", _split, variables, folder)]


def _split(rows: Rows) -> Any:
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def _bentoml(home: Path, subject: Subject, folder: Path, variables: dict[str, str]) -> list[Server]:
    shutil.copy(HERE / "bento_service.py", folder)

    def start(port: int) -> Command:
        return [home / "bin/bentoml", "serve", "bento_service:Served", "--host", "127.0.0.1", "--port", str(port)]

    def server(name: str, batching: str) -> Server:
        own = {"BENCHMARK_MODEL": str(subject.joblib), "BENCHMARK_BATCHING": batching, "BENTOML_HOME": str(folder)}
        return Server(name, start, "/readyz", "/predict", lambda rows: {"rows": rows}, {**variables, **own}, folder)

    return [server("BentoML", "0"), server("BentoML, batching", "1")]


def _mlserver(home: Path, subject: Subject, folder: Path, variables: dict[str, str]) -> list[Server]:
    def body(rows: Rows) -> Any:
        tensors = _tensors(subject, rows)["inputs"]
        text = [
            {**one, "parameters": {"content_type": "str"}} if one["datatype"] == "BYTES" else one for one in tensors
        ]
        return {"parameters": {"content_type": "pd"}, "inputs": text}

    model = {
        "name": "served",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(subject.joblib)},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))

    def start(port: int) -> Command:
        # In its own process, not in one beside it: quicker with one worker.
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port()}
        (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
        return [home / "bin/mlserver", "start", folder]

    ready, path = "/v2/models/served/ready", "/v2/models/served/infer"
    return [Server("MLServer", start, ready, path, body, variables, folder)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
