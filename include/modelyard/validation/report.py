"""The report of one validation: facts as JSON, and the page made of just those facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelyard.store.records import ModelVersion
from modelyard.validation import pictures
from modelyard.validation.critical import CriticalResult
from modelyard.validation.gates import Gate, InProduction, figure
from modelyard.validation.metrics import METRICS, Score
from modelyard.validation.scoring import Scored
from modelyard.validation.suites import SuiteResult

if TYPE_CHECKING:
    from modelyard.compilation import Compilation

JSON = dict[str, Any]


def facts(
    version: ModelVersion,
    settings: Mapping[str, Any],
    gates: Sequence[Gate],
    suites: Sequence[SuiteResult],
    scored: Sequence[Scored],
    production: InProduction,
    critical: Sequence[CriticalResult],
    compiled: Compilation | None = None,
) -> JSON:
    """Return everything the report says, as plain JSON.

    Args:
        version: the version that was judged.
        settings: of the environment it is meant for: its name, and whether it is protected.
        gates: the table that decides.
        suites: what became of each expectation suite.
        scored: the version on each evaluation data set.
        production: the version it would replace, on the same.
        critical: what became of each critical prediction.
        compiled: what became of its compilation; None when it was not tried, since a gate refuses.
    """
    suite_of = {suite.data: suite for suite in suites}
    return {
        "format": 1,
        "model": version.name,
        "version": version.version,
        "passed": all(gate.passed for gate in gates),
        "environment": settings["environment"],
        "protected": bool(settings.get("protected")),
        "run_id": version.run_id,
        "commit": version.commit,
        "committed_at": None if version.committed_at is None else version.committed_at.isoformat(),
        "dirty": version.dirty,
        "created_by": version.created_by,
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "package_differences": list(version.package_differences),
        "live": production.version,
        "compared_with": production.version if production.scored else None,
        "not_compared": _not_compared(production),
        "gates": [gate.to_json() for gate in gates],
        "data": [
            {
                "name": data.name,
                "role": data.role,
                "uri": data.uri,
                "digest": data.digest,
                "rows": data.rows,
                "columns": None if data.columns is None else len(data.columns),
                "target": data.target,
                "suite": suite_of[data.name].to_json() if data.name in suite_of else None,
            }
            for data in version.data
        ],
        "scores": [_scores(result, (production.scored or {}).get(result.data)) for result in scored],
        "critical": [result.to_json() for result in critical],
        "compiled": None if compiled is None else compiled.to_json(),
    }


def _not_compared(production: InProduction) -> str:
    if production.version is None or production.scored:
        return ""
    return production.why or "there is no evaluation data"


def _scores(candidate: Scored, production: Scored | None) -> JSON:
    theirs = production.scores if production else {}
    answers = candidate.answers
    tasks = {METRICS[name].task for name in candidate.scores}
    return {
        "data": candidate.data,
        "why": candidate.why,
        "metrics": [_compared(name, score, theirs.get(name, Score(None))) for name, score in candidate.scores.items()],
        "confusion": pictures.confusion(answers) if answers and "classification" in tasks else None,
        "points": [list(pair) for pair in pictures.sample(answers)] if answers and "regression" in tasks else None,
    }


def _compared(name: str, score: Score, production: Score) -> JSON:
    higher = METRICS[name].higher_is_better
    better = None
    if score.value is not None and production.value is not None and score.value != production.value:
        better = (score.value > production.value) == higher
    return {
        "name": name,
        "higher_is_better": higher,
        "candidate": score.value,
        "why": score.why,
        "production": production.value,
        "better": better,
    }


def page(report: JSON) -> str:
    """Return the report as one HTML page that needs nothing else.

    It links to the Data Docs as ``?part=data_docs``: they are served at its own address with this query.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("modelyard.validation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # columns in the order people wrote them
    environment.filters["figure"] = figure
    environment.globals.update(bars=pictures.bars, scatter=pictures.scatter)
    return environment.get_template("report.html").render(report=report)
