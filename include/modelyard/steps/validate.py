"""`validate`: data, metrics against production and critical predictions decide whether a version may be released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from modelyard.errors import GateFailed
from modelyard.project import Project
from modelyard.steps.context import StepContext
from modelyard.steps.results import Prepared, Validated
from modelyard.store import DataFingerprint, ModelVersion
from modelyard.validation import critical, gates, report, suites
from modelyard.validation.candidate import loaded
from modelyard.validation.gates import Gate, InProduction
from modelyard.validation.production import Production
from modelyard.validation.scoring import Model, ModelError, Scored, score_on

_FACTS = "modelyard.json"


def run(context: StepContext) -> Validated:
    """Judge this run's version; what it found is kept as the version's report, whether it passed or not.

    Raises:
        GateFailed: a gate refuses the version, or cannot be evaluated; the message holds the whole table.
        Unavailable: the version in production changed meanwhile.
    """
    prepared, version = context.result(Prepared), context.version()
    project = Project.model_validate(prepared.project)
    wanted = {name: gate.model_dump() for name, gate in project.validation.metrics.items()}
    folder, model = context.unpack_project(version.project_digest), context.workdir / "model"
    artifacts = context.store.artifacts
    artifacts.fetch_tree(version.model, model)
    # Numbered: a name that code has chosen is no part of a path.
    files = {data.name: context.workdir / "data" / str(number) for number, data in enumerate(version.data)}
    for data in version.data:
        artifacts.fetch(data.digest, files[data.name])
    evaluation = [data for data in version.data if data.role == "evaluation"]
    python = context.python(prepared.environment)

    with suites.running(folder, version.data, files, context.hidden, context.workdir / "suites") as running:
        with loaded(python, model, folder, context.hidden, context.workdir) as candidate:
            scored = [score_on(data, files[data.name], candidate, list(wanted), context.log) for data in evaluation]
            name, predictions = _critical(project, folder)
            replayed = critical.replay(predictions, candidate.ask)
        production = _in_production(context, version, evaluation, files, list(wanted))
        checked = running.results()
        docs = running.docs

    table = suites.gates(checked)
    if context.run.settings.get("protected"):
        table += gates.protection_gates(
            wanted, scored, context.run.settings["environment"], version.package_differences
        )
    table += gates.metric_gates(wanted, scored, production)
    if replayed:
        table.append(critical.gate(replayed, name))

    facts = report.facts(version, context.run.settings, table, checked, scored, production, replayed)
    kept = _keep(context, version, facts, docs)
    _decide(context, version, table)
    return Validated(
        version=version.version,
        report=kept,
        gates=[gate.to_json() for gate in table],
        live=facts["live"],
        compared_with=facts["compared_with"],
        not_compared=facts["not_compared"],
        compiled=None,
    )


def _critical(project: Project, folder: Path) -> tuple[str, list[critical.CriticalPrediction]]:
    name = project.validation.critical
    return ("", []) if name is None else (name, critical.read(folder / name, name))


def _in_production(
    context: StepContext,
    candidate: ModelVersion,
    evaluation: Sequence[DataFingerprint],
    files: dict[str, Path],
    metrics: list[str],
) -> InProduction:
    """Score the version that is live in the run's environment, by its own image, on the same rows in the same order."""
    alias = context.store.aliases.get(candidate.name, context.run.settings["environment"])
    if alias is None or alias.version is None:
        return InProduction()
    address = context.beside.get("production")
    if address is None:
        return InProduction(alias.version, why="its image does not serve beside this step (was it ever released?)")
    version = context.store.versions.get(candidate.name, alias.version)
    described = next((file for file in version.model if file.path == _FACTS), None)
    if described is None:
        return InProduction(alias.version, why=f"its model has no {_FACTS}")
    server = Production(address, alias.version)
    try:
        server.wait_until_ready()
    except ModelError as error:
        return InProduction(alias.version, why=str(error))
    model = Model.described(context.store.artifacts.read_json(described.digest), server.ask)
    scored: dict[str, Scored] = {}
    for data in evaluation:
        context.log(f"Scoring version {alias.version} in production on {data.name}")
        scored[data.name] = score_on(data, files[data.name], model, metrics, context.log)
    return InProduction(alias.version, scored)


def _keep(context: StepContext, version: ModelVersion, facts: report.JSON, docs: Path | None) -> dict[str, str]:
    artifacts = context.store.artifacts
    kept = {
        "html": artifacts.put_bytes(report.page(facts).encode(), "report.html").digest,
        "json": artifacts.put_bytes(json.dumps(facts, ensure_ascii=False).encode(), "report.json").digest,
    }
    if docs is not None:
        kept["data_docs"] = artifacts.put_file(docs).digest
    context.claim.check()
    context.store.versions.set_report(version.name, version.version, kept | {"passed": facts["passed"]})
    return kept


def _decide(context: StepContext, version: ModelVersion, table: Sequence[Gate]) -> None:
    if not table:
        context.log(f"Warning: no gate stands before {version.name}:{version.version}: any version passes")
        return
    failed = sum(not gate.passed for gate in table)
    if failed:
        raise GateFailed(
            f"{version.name}:{version.version} is refused: {failed} of {len(table)} gates failed\n"
            f"{gates.render(table)}",
            "see the version's validation report for the whole picture; nothing was deployed",
        )
    context.log(gates.render(table))
