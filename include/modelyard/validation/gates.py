"""Gates: what must hold before a version is released. A gate that cannot be evaluated has failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelyard.validation.metrics import METRICS, Score
from modelyard.validation.scoring import Scored

JSON = dict[str, Any]


@dataclass(frozen=True)
class Gate:
    """One line of the table that decides.

    Attributes:
        gate: what is judged: ``accuracy``, ``accuracy against production``, ``data houses``, ``critical predictions``.
        expected, found: for people, as text.
        production: what the version in production reaches, "" where there is nothing to compare with.
        why: what a failure means, a sentence a line; "" when it passed and there is nothing to add.
    """

    gate: str
    expected: str
    found: str
    passed: bool
    production: str = ""
    why: str = ""

    def to_json(self) -> JSON:
        """Return it as plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class InProduction:
    """What the version in production reaches on the same evaluation data.

    Attributes:
        version: None when nothing is in production yet.
        scored: by data set; empty when it could not be asked.
        why: why it could not be asked, as a sentence; "" otherwise.
    """

    version: int | None = None
    scored: Mapping[str, Scored] | None = None
    why: str = ""


def metric_gates(wanted: Mapping[str, JSON], candidate: Sequence[Scored], production: InProduction) -> list[Gate]:
    """Judge every metric gate on every evaluation data set.

    Args:
        wanted: model.yaml's ``validation.metrics``: ``{"accuracy": {"min": 0.9, "max": None, "tolerance": 0.01}}``.
        candidate: the new version on each evaluation data set.
        production: the version it would replace, on the same.
    """
    gates = []
    for name, gate in wanted.items():
        if not candidate:
            why = "There is no evaluation data to score it on: declare a data set with `role: evaluation`, or log one."
            gates.append(Gate(name, _limits(gate), "no evaluation data", passed=False, why=why))
        else:
            for scored in candidate:
                label = name if len(candidate) == 1 else f"{name} on {scored.data}"
                gates += _judge(name, label, gate, scored, production)
    return gates


def protection_gates(
    wanted: Mapping[str, JSON], candidate: Sequence[Scored], environment: str, package_differences: Sequence[str]
) -> list[Gate]:
    """Return what a protected environment asks for beside the project's gates: any at all, data, the locked packages.

    Args:
        wanted: as for :func:`metric_gates`.
        candidate: as for :func:`metric_gates`.
        environment: the protected environment's name.
        package_differences: as in ``ModelVersion``.
    """
    why = f"Environment '{environment}' is protected: nothing is released to it that was not measured."
    return [
        Gate(
            "evaluation data", "at least 1 data set", str(len(candidate)), bool(candidate), why="" if candidate else why
        ),
        Gate("metric gates", "at least 1", str(len(wanted)), bool(wanted), why="" if wanted else why),
        Gate(
            "packages",
            "as locked",
            f"{len(package_differences)} not as locked" if package_differences else "as locked",
            not package_differences,
            why="\n".join(f"{difference}." for difference in package_differences),
        ),
    ]


def _judge(name: str, label: str, gate: JSON, scored: Scored, production: InProduction) -> list[Gate]:
    score = scored.scores.get(name, Score(None, scored.why))
    gates = []
    if gate.get("min") is not None or gate.get("max") is not None:
        passed = score.value is not None and _within(score.value, gate.get("min"), gate.get("max"))
        why = "" if score.value is not None else f"It cannot be computed: {score.why}."
        theirs = _reached(name, scored.data, production)
        shown = "" if theirs.value is None else f"{figure(theirs.value)} (version {production.version})"
        gates.append(Gate(label, _limits(gate), figure(score.value), passed, shown, why))
    if gate.get("tolerance") is not None:
        gates.append(
            _against_production(name, f"{label} against production", gate["tolerance"], score, scored.data, production)
        )
    return gates


def _against_production(
    name: str, label: str, tolerance: float, score: Score, data: str, production: InProduction
) -> Gate:
    if score.value is None:
        return Gate(label, "a figure to compare", "none", passed=False, why=f"It cannot be computed: {score.why}.")
    found = figure(score.value)
    if production.version is None:
        return Gate(label, "nothing yet to compare with", found, passed=True, production="none yet")
    reached = _reached(name, data, production)
    if reached.value is None:
        why = f"Version {production.version} in production cannot be scored on the same data: {reached.why}."
        return Gate(
            label, f"version {production.version}'s figure", found, passed=False, production="no figure", why=why
        )
    if METRICS[name].higher_is_better:
        limit, least, most = reached.value - tolerance, reached.value - tolerance, None
    else:
        limit, least, most = reached.value + tolerance, None, reached.value + tolerance
    return Gate(
        label,
        f"{'≥' if most is None else '≤'} {figure(limit)}",
        found,
        _within(score.value, least, most),
        production=f"{figure(reached.value)} (version {production.version})",
    )


def _reached(name: str, data: str, production: InProduction) -> Score:
    scored = (production.scored or {}).get(data)
    return Score(None, production.why) if scored is None else scored.scores.get(name, Score(None, scored.why))


def _within(value: float, least: float | None, most: float | None) -> bool:
    # 0.9 - 0.1 is not 0.8 in binary: a limit that was reached up to rounding was reached.
    return (least is None or value >= least or math.isclose(value, least, rel_tol=1e-9)) and (
        most is None or value <= most or math.isclose(value, most, rel_tol=1e-9)
    )


def _limits(gate: JSON) -> str:
    limits = [f"≥ {figure(gate['min'])}"] if gate.get("min") is not None else []
    limits += [f"≤ {figure(gate['max'])}"] if gate.get("max") is not None else []
    return " and ".join(limits) or "no worse than production"


def figure(value: float | None) -> str:
    """Return a number as people compare it: enough digits to see a difference, no more."""
    return "none" if value is None else f"{value:,.6g}"


def render(gates: Sequence[Gate]) -> str:
    """Return the table as aligned text, the reason of a failure below its line."""
    rows = [("", "gate", "expected", "found", "production")]
    rows += [
        ("passed" if gate.passed else "FAILED", gate.gate, gate.expected, gate.found, gate.production) for gate in gates
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number and gates[number - 1].why:
            lines += [" " * (widths[0] + 2) + "· " + line for line in gates[number - 1].why.splitlines()]
    return "\n".join(lines)
