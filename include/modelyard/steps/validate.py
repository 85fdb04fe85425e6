"""`validate`: data, metrics against production and critical predictions decide whether a version may be released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from modelyard.client.convert import FLAVORS
from modelyard.compilation import Compilation, Converter, Transcript, ask_golden, compile_model
from modelyard.environments import ensure_converters, ensure_server, python_of
from modelyard.errors import GateFailed
from modelyard.images.interpreter import Interpreter
from modelyard.project import Project
from modelyard.steps.context import StepContext
from modelyard.steps.results import Prepared, Validated
from modelyard.store import DataFingerprint, ModelVersion
from modelyard.validation import critical, gates, predictions, report, suites
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

    transcript = Transcript(context.workdir / "transcript.jsonl")
    with suites.running(folder, version.data, files, context.hidden, context.workdir / "suites") as running:
        with loaded(python, model, folder, context.hidden, context.workdir) as model_itself:
            candidate = replace(model_itself, ask=transcript.of(model_itself.ask))
            scored = [score_on(data, files[data.name], candidate, list(wanted), context.log) for data in evaluation]
            name, lines = _critical(project, folder)
            replayed = critical.replay(lines, candidate.ask)
            described = json.loads((model / _FACTS).read_bytes())
            if described["flavor"] in FLAVORS:  # nothing else is compiled; code of any kind may take 2**63 for a count
                ask_golden(candidate, described["golden"])
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

    compiled = None
    if all(gate.passed for gate in table):
        compiled = _compile(context, python, model, folder, transcript)
        context.log(compiled.sentence())
    facts = report.facts(version, context.run.settings, table, checked, scored, production, replayed, compiled)
    kept = _keep(context, version, facts, docs)
    _decide(context, version, table)
    return Validated(
        version=version.version,
        report=kept,
        gates=[gate.to_json() for gate in table],
        live=facts["live"],
        compared_with=facts["compared_with"],
        not_compared=facts["not_compared"],
        compiled=_compiled_files(context, compiled),
    )


def _compile(context: StepContext, python: Path, model: Path, project: Path, transcript: Transcript) -> Compilation:
    """Convert the model with converters of our own, and have it proved by the very environment that would serve it."""
    flavor = json.loads((model / _FACTS).read_bytes())["flavor"]
    if flavor not in FLAVORS:
        return Compilation(None, 0, f"a model of flavor '{flavor}' has no compiled form.")
    images, home, workdir = context.images, context.home, context.workdir
    converters = python_of(ensure_converters(images, home, context.log), images, home)
    version = Interpreter.of_this_machine().python
    where = Converter(
        python=python,
        code=[workdir / "client", project],
        packages=converters.parents[1] / "lib" / f"python{version}" / "site-packages",
        server=python_of(ensure_server(images, home, context.log, version), images, home),
        hidden=context.hidden,
    )
    return compile_model(model, transcript, where, workdir / "compiled", context.log)


def _compiled_files(context: StepContext, compiled: Compilation | None) -> list[report.JSON] | None:
    if compiled is None or compiled.folder is None:
        return None
    files = sorted(compiled.folder.iterdir())
    return [asdict(context.store.artifacts.put_file(path)) for path in files]


def _critical(project: Project, folder: Path) -> tuple[str, list[predictions.CriticalPrediction]]:
    name = project.validation.critical
    return ("", []) if name is None else (name, predictions.read(folder / name, name))


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
