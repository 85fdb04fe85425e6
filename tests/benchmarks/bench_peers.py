"""What the model server answers in a second, beside the peers: `PYTHONPATH=. python tests/benchmarks/bench_peers.py`.

Three models, each served by one worker of ours and of every peer in turn, on this machine's own loopback, by wrk. The
peers live in environments of their own (peers/*.txt), made the first time and kept; one that this Python cannot
install is named and left out. Ours has checks, metrics and access log on, the peers are as they come, with what makes
them slower left out. `constant answer` is our stack without a model: the ceiling. `bare socket`
is a loop over one in the model's own process, which checks nothing: the floor of what an answer takes.

wrk has the same processors as the server, and whatever else this machine does as well. So a figure alone says little;
the ratios within one run are what counts, and those of processor time (`CPU`) hold even on a busy machine. Two workers
and wrk are more than two processors have room for: `halves` are workers of which each may take half a processor.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.peers import models, table
from tests.benchmarks.peers.measuring import Running, alone, serving
from tests.benchmarks.peers.models import Subject
from tests.benchmarks.peers.results import Cell, Results
from tests.benchmarks.peers.servers import (
    BARE,
    CACHE,
    CONSTANT,
    HALF,
    HALVES,
    OURS,
    PEERS,
    TENSORS,
    TWO,
    Server,
    environment,
    ours,
    peers,
)

CONNECTIONS = (1, 16, 64)
# What two workers are asked: enough for both. A model that is not compiled takes 64 single rows as one batch, which
# leaves nothing to a second worker.
LOADED = {"pipeline": Cell(1, 64), "uncompiled": Cell(100, 64)}


def cells(subject: Subject, server: Server) -> list[Cell]:
    """Return what is measured of a server with a model."""
    if server.name == CONSTANT:
        return [Cell(1, connections) for connections in CONNECTIONS] if subject.name == "pipeline" else []
    if server.name == BARE:
        return [] if subject.compiled else [Cell(1, 1)]
    if server.name == TENSORS:
        if not subject.compiled:
            return [Cell(1, 1)]  # by its prediction alone, as its own predict and the bare socket answer
        return [Cell(100, connections) for connections in CONNECTIONS] if 100 in subject.sizes else []
    if server.name in (TWO, HALF, HALVES):
        return [LOADED[subject.name]] if subject.name in LOADED else []
    every = [Cell(rows, connections) for rows in subject.sizes for connections in CONNECTIONS]
    if server.name == OURS and subject.name in LOADED:
        return sorted({*every, LOADED[subject.name]})
    return every


@contextmanager
def kept(servers: list[Server], results: Results, folder: Path) -> Iterator[list[Running]]:
    """Serve in all these ways at once; one that does not come up is named and left out."""
    with ExitStack() as stack:
        running = []
        for server in servers:
            try:
                running.append(stack.enter_context(serving(server, Path(tempfile.mkdtemp(dir=folder)))))
            except RuntimeError as error:
                results.left_out[server.name] = str(error)
            else:
                results.ready(server.name).values.append(running[-1].seconds)
        yield running


def measure(subject: Subject, others: list[Server], arguments: argparse.Namespace, folder: Path) -> Results:
    """Measure one model: the peers stay up from round to round, ours start anew."""
    results = Results(subject.name, subject.compiled)
    with kept(others, results, folder) as peers_running:
        for number in range(arguments.rounds):
            print(f"{subject.name}: round {number + 1} of {arguments.rounds}", flush=True)
            asked = [server for server in ours(subject) if cells(subject, server)]
            with kept(asked, results, folder) as running:
                # Cell by cell, so that those that are compared were asked within the same few seconds.
                for cell in sorted({cell for server in (*asked, *others) for cell in cells(subject, server)}):
                    if not subject.compiled and cell.connections == 1:
                        results.alone.values.append(alone(subject, arguments.seconds))
                    for one in (*running, *peers_running):
                        if cell in cells(subject, one.server):
                            ask(one, cell, subject, results, arguments.seconds, folder)
                for one in (*running, *peers_running):
                    results.memory(one.server.name).values.append(one.megabytes)
    return results


def ask(one: Running, cell: Cell, subject: Subject, results: Results, seconds: int, folder: Path) -> None:
    """Measure one way of serving in one cell; what goes wrong is part of the result."""
    try:
        load = one.load(subject.rows[: cell.rows], cell.connections, seconds, folder)
    except RuntimeError as error:
        results.left_out[f"{one.server.name}, {cell.rows} rows, {cell.connections} connections"] = str(error)
    else:
        results.loads(one.server.name, cell).append(load)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (2)")
    parser.add_argument("--models", nargs="+", default=list(models.NAMES), choices=models.NAMES, help="only these")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), help="only these; none: ours alone")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk asks the servers, and is not here: on Debian and Ubuntu, apt install wrk")
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as temporary:
        folder = Path(temporary)
        subjects = models.prepare(folder, CACHE / "home", arguments.models)
        homes = {}
        for peer in arguments.peers:
            try:
                homes[peer] = environment(peer)
            except LookupError as error:
                print(f"{peer} is left out: it cannot be installed on this Python: {error}")
        found = []
        for subject in subjects:
            others = [
                server
                for peer, home in homes.items()
                for server in peers(peer, home, subject, folder / f"{subject.name}-{peer}")
            ]
            found.append(measure(subject, others, arguments, folder))
    table.show(found)


if __name__ == "__main__":
    main()
