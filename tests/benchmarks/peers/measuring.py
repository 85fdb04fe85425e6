"""What is measured of a server: when it is ready, what it answers in a second, and what it takes to do so."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.benchmarks.peers.models import Subject
from tests.benchmarks.peers.servers import Command, Rows, Server
from tests.benchmarks.peers.share import limited

_SLOWEST_START = 120.0  # seconds
_WITHIN = re.compile(r"(50|99)%\s+([\d.]+)(\w+)")
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}


@dataclass
class Figures:
    """One figure, a value a round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one; NaN when nothing was measured."""
        return statistics.median(self.values) if self.values else float("nan")


@dataclass(frozen=True)
class Load:
    """What one load came to.

    Attributes:
        p50, p99: milliseconds in which half of the requests, and 99 of 100, were answered.
        processor: milliseconds of a processor for one request, of all the server's processes.
        busy: of each process that worked noticeably, how much of the time it did (1: all of it).
    """

    rate: float
    p50: float
    p99: float
    processor: float
    busy: list[float]


class Running:
    """A server that is ready."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
        self.server = server
        self.seconds = seconds
        self.address = f"http://127.0.0.1:{port}"
        self._process = process

    @property
    def megabytes(self) -> float:
        """What all its processes take of the memory: shared pages in equal parts (PSS)."""
        return sum(one.memory_full_info().pss for one in self.processes()) / 1e6

    def load(self, rows: Rows, connections: int, seconds: int, folder: Path) -> Load:
        """Ask for these rows by so many connections, for so long."""
        server = self.server
        command: Command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
        if server.body is not None:
            script = folder / "post.lua"
            header = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            script.write_text(f"{header}wrk.body = [==[{json.dumps(server.body(rows))}]==]\n")
            command += ["-s", script]
        before, began = self._worked(), time.monotonic()
        said = subprocess.run([*command, self.address + server.path], capture_output=True, text=True, check=True).stdout
        taken, after = time.monotonic() - began, self._worked()
        if "Non-2xx" in said or "Socket errors" in said:
            raise RuntimeError(f"{server.name} answered with errors:\n{said}")
        worked = [after[one] - before.get(one, 0.0) for one in after]
        (requests,) = re.findall(r"(\d+) requests in", said)
        (rate,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
        within = {part: float(value) * _UNITS[unit] for part, value, unit in _WITHIN.findall(said)}
        return Load(
            float(rate),
            within["50"],
            within["99"],
            sum(worked) * 1000 / max(1, int(requests)),
            sorted((each / taken for each in worked if each / taken > 0.1), reverse=True),
        )

    def processes(self) -> list[psutil.Process]:
        """Return all that it consists of."""
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _worked(self) -> dict[int, float]:
        return {one.pid: sum(one.cpu_times()[:2]) for one in self.processes()}


@contextmanager
def serving(server: Server, folder: Path) -> Iterator[Running]:
    """Serve; ends all its processes afterwards.

    Raises:
        RuntimeError: it does not come up, with the end of what it said.
    """
    log = folder / "log"
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening, log.open("wb") as out:
        port = listening.getsockname()[1]
        if not server.handed:
            listening.close()
        began = time.perf_counter()
        process = subprocess.Popen(
            server.command(listening.fileno() if server.handed else port),
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=[listening.fileno()] if server.handed else [],
            env={"PATH": os.environ["PATH"], **server.environment},
            cwd=server.folder,
            start_new_session=True,
        )
        with ExitStack() as limits:  # which can go when the processes have
            try:
                _wait(f"http://127.0.0.1:{port}{server.ready}", process, log)
                running = Running(server, process, port, time.perf_counter() - began)
                if server.share is not None:
                    limits.enter_context(limited(running.processes(), server.share))
                yield running
            finally:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and all that it has started: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _SLOWEST_START
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.01)
    raise RuntimeError(f"{address} is not ready; the end of what it said:\n{log.read_text(errors='replace')[-2000:]}")


_ALONE = """
import json, sys, time, joblib, pandas
model, row, taken = joblib.load(sys.argv[1]), json.loads(sys.argv[2]), []
until = time.perf_counter() + float(sys.argv[3])
while time.perf_counter() < until:
    began = time.perf_counter()
    model.predict(pandas.DataFrame([row]))
    taken.append(time.perf_counter() - began)
print(sorted(taken)[len(taken) // 2] * 1000)
"""


def alone(subject: Subject, seconds: int) -> float:
    """Return how long the model's own predict takes for one row, with the frame that it takes: median milliseconds."""
    command: Command = [subject.python, "-c", _ALONE, subject.joblib, json.dumps(subject.rows[0]), str(seconds)]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
