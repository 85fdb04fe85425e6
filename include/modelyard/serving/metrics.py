"""What Prometheus reads at ``/metrics``: requests, errors, latency, what is in flight, and the model's facts."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

from modelyard.serving.model import Model

# Seconds; an answer of a compiled model takes well below a millisecond.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of this process, from its start on."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._latency: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)
        self.rows = 0
        self.in_flight = 0

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request; ``route`` is one of the server's own, never a client's path."""
        self._requests[route, status] += 1
        self._latency[route][bisect_left(_BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def text(self, *, ready: bool, waiting: int, restarts: int) -> str:
        """Return everything in Prometheus' text format."""
        model = self._model
        facts = {"model": model.name, "version": model.version, "run_id": model.run_id, "image": model.image_digest}
        lines = ["# TYPE modelyard_model_info gauge", f"modelyard_model_info{_labels(facts)} 1"]
        for name, kind, value in (
            ("modelyard_ready", "gauge", int(ready)),
            ("modelyard_requests_in_flight", "gauge", self.in_flight),
            ("modelyard_requests_waiting", "gauge", waiting),
            ("modelyard_rows_predicted_total", "counter", self.rows),
            ("modelyard_worker_restarts_total", "counter", restarts),
        ):
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        lines.append("# TYPE modelyard_requests_total counter")
        for (route, status), count in sorted(self._requests.items()):
            lines.append(f"modelyard_requests_total{_labels({'route': route, 'status': str(status)})} {count}")
        lines.append("# TYPE modelyard_request_seconds histogram")
        for route, counts in sorted(self._latency.items()):
            lines += self._histogram(route, counts)
        return "\n".join(lines) + "\n"

    def _histogram(self, route: str, counts: list[int]) -> list[str]:
        name = "modelyard_request_seconds"
        lines, total = [], 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
            total += count
            lines.append(f"{name}_bucket{_labels({'route': route, 'le': bound})} {total}")
        lines.append(f"{name}_sum{_labels({'route': route})} {self._seconds[route]:.6f}")
        lines.append(f"{name}_count{_labels({'route': route})} {total}")
        return lines


def _labels(labels: dict[str, str]) -> str:
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
