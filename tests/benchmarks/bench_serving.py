"""What a model server answers in a second: `PYTHONPATH=. python tests/benchmarks/bench_serving.py [ROUNDS]`.

It needs wrk.
The model is that of include/examples/wine: a scaler and a logistic regression, one row a request, one worker. Access
log, metrics and checks are on, and in `logged` the prediction log of every answer. `constant` is the same stack with an
answer that needs no model: the ceiling. wrk runs on the same machine, so that a busy one, or one of a single processor,
shows less than the server can do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.fixtures_compilation import Workshop

from modelyard.environments import ensure, ensure_converters, ensure_server, find_lock, python_of
from modelyard.images.interpreter import Interpreter
from modelyard.images.layout import Layout

WINE = Path(__file__).parents[2] / "include" / "examples" / "wine"
MODEL = """
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
table = load_wine(as_frame=True)
example = table.data[:5]
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table.data, table.target_names[table.target])
"""
CONNECTIONS = (1, 16, 64)
LOGGED = "logged"  # compiled, with every answer in the prediction log


@dataclass
class Measured:
    """What one way of serving came to, a value a round."""

    requests: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    p99: dict[int, list[str]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    ready: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def make_roots(folder: Path) -> dict[str, Path]:
    """Lay out what the images of the model hold, compiled and not."""
    home = folder / "home"
    images, version = Layout(home / "images"), Interpreter.of_this_machine().python
    project = python_of(ensure(find_lock(WINE), images, home, print), images, home)
    server = python_of(ensure_server(images, home, print, version), images, home)
    converters = python_of(ensure_converters(images, home, print), images, home).parents[1]
    workshop = Workshop(home, converters / "lib" / f"python{version}" / "site-packages", server)
    compiled, plain = folder / "compiled", folder / "plain"
    workshop.write(compiled, MODEL, project)
    shutil.copytree(compiled / "model", plain / "model")
    workshop.compile(compiled, python=project)
    (plain / "environment").symlink_to(project.parents[1])
    for root in (compiled, plain):
        (root / "server").symlink_to(server.parents[1])
    return {"compiled": compiled, LOGGED: compiled, "as it is": plain}


@contextmanager
def serving(root: Path, measured: Measured, predictions: Path | None = None) -> Iterator[str]:
    """Serve a root; yields the address once it is ready.

    Args:
        root: what the image holds.
        measured: what is noted of it.
        predictions: the folder of its prediction log; None for none.
    """
    settings = {} if predictions is None else {"MODELYARD_PREDICTION_LOG": json.dumps({"folder": str(predictions)})}
    command: list[str | Path] = [root / "server/bin/python", "-I", "-m", "modelyard.serving", "--root", root]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, (root / "access.log").open("w") as log:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--fd", str(listening.fileno())],
            stdout=log,
            pass_fds=[listening.fileno()],
            env={"PATH": os.environ["PATH"], **settings},
        )
        try:
            while True:
                try:
                    with urllib.request.urlopen(f"{address}/readyz"):
                        break
                except urllib.error.HTTPError:
                    time.sleep(0.01)
            measured.ready.append(time.perf_counter() - began)
            yield address
            processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
            measured.megabytes.append(sum(one.memory_info().rss for one in processes) / 1e6)
        finally:
            process.terminate()
            process.wait()


def load(address: str, connections: int, seconds: int, measured: Measured, script: Path | None) -> None:
    """Ask with so many connections at once."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", address]
    command += [] if script is None else ["-s", str(script)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"{address} answered with errors:\n{said}")
    measured.requests[connections].append(float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]))
    measured.p99[connections].append(re.findall(r"99%\s+(\S+)", said)[0])


def show(results: dict[str, Measured]) -> None:
    print(f"{'requests/s':<28}{'minimum':>10}{'median':>10}{'maximum':>10}   p99")
    for connections in CONNECTIONS:
        for name, measured in results.items():
            found = measured.requests[connections]
            figures = "".join(f"{value:10,.0f}" for value in (min(found), statistics.median(found), max(found)))
            print(f"{name:<12}{connections:>3} connections {figures}   {' '.join(measured.p99[connections])}")
    for name, measured in results.items():
        ready, megabytes = statistics.median(measured.ready), statistics.median(measured.megabytes)
        print(f"{name:<12}ready after {ready:.2f} s, {megabytes:.0f} MB resident")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    arguments = parser.parse_args()
    results = {name: Measured() for name in ("compiled", LOGGED, "as it is", "constant")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        roots = make_roots(folder)
        facts = json.loads((roots["compiled"] / "model" / "modelyard.json").read_bytes())
        body = json.dumps(facts["golden"]["inputs"][:1])
        script = folder / "post.lua"
        header = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        script.write_text(f"{header}wrk.body = [==[{body}]==]\n")
        for _ in range(arguments.rounds):
            for name, measured in results.items():
                predictions = folder / "predictions" if name == LOGGED else None
                shutil.rmtree(folder / "predictions", ignore_errors=True)
                with serving(roots.get(name, roots["compiled"]), measured, predictions) as address:
                    path, asked = ("/predict", script) if name in roots else ("/healthz", None)
                    for connections in CONNECTIONS:
                        load(address + path, connections, arguments.seconds, measured, asked)
    show(results)


if __name__ == "__main__":
    main()
