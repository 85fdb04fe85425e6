"""What Prometheus reads at ``/metrics``: requests, errors, latency, what is in flight, and the model's facts.

Counted in the memory that the processes of a server share, so that any of them tells the sum of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from http import HTTPStatus

from modelyard.serving import drift
from modelyard.serving.board import Board, Words
from modelyard.serving.messages import Columns
from modelyard.serving.model import Model

OTHER = "other"  # all that is no route
# Seconds; an answer of a compiled model takes well below a millisecond.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_STATUSES = {status.value: place for place, status in enumerate(HTTPStatus)}
_NANOSECONDS = 1_000_000_000
_IN_FLIGHT, _WAITING, _PREDICTED, _BUSY, _UNLOGGED = range(5)


class _Histogram:
    """Counts by upper bound, and the sum of what was observed, times ``scale``."""

    def __init__(self, board: Board, bounds: tuple[float, ...], scale: int = 1) -> None:
        self._bounds = bounds
        self._scale = scale
        self._words = board.take(len(bounds) + 2)

    def observe(self, value: float) -> None:
        mine = self._words.mine
        mine[bisect_left(self._bounds, value)] += 1
        mine[-1] += int(value * self._scale)

    def lines(self, name: str, labels: dict[str, str]) -> list[str]:
        lines, total = [], 0
        for place, bound in enumerate((*map(str, self._bounds), "+Inf")):
            total += self._words.total(place)
            lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {total}")
        if not total:
            return []
        summed = self._words.total(len(self._bounds) + 1)
        lines.append(f"{name}_sum{_labels(labels)} {summed / self._scale if self._scale > 1 else summed}")
        lines.append(f"{name}_count{_labels(labels)} {total}")
        return lines


class Metrics:
    """Counters of this process, and of those it shares ``board`` with, from the server's start on."""

    def __init__(self, model: Model, board: Board) -> None:
        self._model = model
        self._board = board
        self._gauges = board.take(5)
        self._gauges.mine[_IN_FLIGHT] = self._gauges.mine[_WAITING] = 0  # one that was killed has left its own
        self._batches = _Histogram(board, _ROWS)
        self._drift = drift.Drift(model.profile, board)
        self._routes: dict[str, tuple[Words, _Histogram]] = {}

    def add_routes(self, routes: Iterable[str]) -> None:
        """Count these by name; whatever else is asked for is ``other``. Once, before the first request."""
        for route in (*sorted(routes), OTHER):
            self._routes[route] = (self._board.take(len(_STATUSES)), _Histogram(self._board, _SECONDS, _NANOSECONDS))

    def begun(self) -> None:
        """Count a request in."""
        self._gauges.mine[_IN_FLIGHT] += 1

    def ended(self) -> None:
        """Count it out."""
        self._gauges.mine[_IN_FLIGHT] -= 1

    def route(self, path: str) -> str:
        """Return the name that a path is counted under."""
        return path if path in self._routes else OTHER

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        statuses, latency = self._routes.get(path) or self._routes[OTHER]
        statuses.mine[_STATUSES[status]] += 1
        latency.observe(seconds)

    def predicted(self, columns: Columns, rows: int) -> None:
        """Count rows that the model has answered, and look at them for drift."""
        self._gauges.mine[_PREDICTED] += rows
        self._drift.observe(columns, rows)

    def batch(self, rows: int) -> None:
        """Count one call of the model."""
        self._batches.observe(rows)

    def queued(self, waiting: int) -> None:
        """Note how many requests wait for the model."""
        self._gauges.mine[_WAITING] = waiting

    def refused_busy(self) -> None:
        """Count a request that was told to come back, since too many wait."""
        self._gauges.mine[_BUSY] += 1

    def unlogged(self, lines: int) -> None:
        """Count lines of the access log that were dropped."""
        self._gauges.mine[_UNLOGGED] += lines

    def text(self, *, ready: bool, restarts: int) -> str:
        """Return everything in Prometheus' text format."""
        model, gauges = self._model, self._gauges
        facts = {"model": model.name, "version": model.version, "run_id": model.run_id, "image": model.image_digest}
        lines = ["# TYPE modelyard_model_info gauge", f"modelyard_model_info{_labels(facts)} 1"]
        for name, kind, value, what in (
            ("modelyard_ready", "gauge", int(ready), "1 when the model answers"),
            ("modelyard_processes", "gauge", self._board.processes, "processes that take requests"),
            ("modelyard_connections", "gauge", self._board.all_connections, "open connections"),
            ("modelyard_requests_in_flight", "gauge", gauges.total(_IN_FLIGHT), "requests being answered"),
            ("modelyard_requests_waiting", "gauge", gauges.total(_WAITING), "requests in the model's queue"),
            ("modelyard_rows_predicted_total", "counter", gauges.total(_PREDICTED), "rows answered by the model"),
            ("modelyard_requests_refused_busy_total", "counter", gauges.total(_BUSY), "told to come back: 429 or 503"),
            ("modelyard_access_log_dropped_total", "counter", gauges.total(_UNLOGGED), "lines that nobody has read"),
            ("modelyard_worker_restarts_total", "counter", restarts, "processes started again after they had ended"),
        ):
            lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {value}"]
        lines += ["# HELP modelyard_requests_total answers by status", "# TYPE modelyard_requests_total counter"]
        errors = []
        for route, (statuses, _) in self._routes.items():
            for status, place in _STATUSES.items():
                if count := statuses.total(place):
                    lines.append(f"modelyard_requests_total{_labels({'route': route, 'status': str(status)})} {count}")
                    if status >= 400:
                        kind = "client" if status < 500 else "server"
                        errors.append((route, kind, count))
        lines += _errors(errors)
        name = "modelyard_request_seconds"
        lines += [f"# HELP {name} seconds from a request's last byte to its answer", f"# TYPE {name} histogram"]
        for route, (_, latency) in self._routes.items():
            lines += latency.lines(name, {"route": route})
        name = "modelyard_batch_rows"
        lines += [f"# HELP {name} rows in a call of the model", f"# TYPE {name} histogram"]
        lines += self._batches.lines(name, {})
        lines += self._drift_lines()
        return "\n".join(lines) + "\n"

    def _drift_lines(self) -> list[str]:
        if not (found := self._drift.lines()):
            return []
        (counted, counted_what), (share, share_what) = drift.METRICS
        lines = [f"# HELP {counted} {counted_what}", f"# TYPE {counted} counter"]
        lines += [f"{counted}{_labels(labels)} {count}" for labels, count, _ in found]
        lines += [f"# HELP {share} {share_what}", f"# TYPE {share} gauge"]
        return lines + [f"{share}{_labels(labels)} {value}" for labels, _, value in found]


def _errors(errors: list[tuple[str, str, int]]) -> list[str]:
    name = "modelyard_request_errors_total"
    totals: dict[tuple[str, str], int] = {}
    for route, kind, count in errors:
        totals[route, kind] = totals.get((route, kind), 0) + count
    lines = [f"# HELP {name} refused requests (client) and failures (server)", f"# TYPE {name} counter"]
    return lines + [f"{name}{_labels({'route': r, 'kind': k})} {count}" for (r, k), count in totals.items()]


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
