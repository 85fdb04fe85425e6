from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures_compilation import Workshop

from modelyard.client.model import write_model
from modelyard.compilation import Converter
from modelyard.compilation import compile as compiling
from modelyard.errors import GateFailed, ProjectError, Unavailable
from modelyard.images.layout import Layout
from modelyard.project import Project
from modelyard.sources import tree_tar
from modelyard.steps import validate
from modelyard.steps.context import StepContext
from modelyard.steps.results import Logged, Prepared, Validated
from modelyard.store import Claim, DataFingerprint, ModelVersion, PipelineRun, Store, StoreAddress, pipeline_run_id

COLUMNS = ["alcohol", "malic_acid", "flavanoids", "color_intensity"]


class HereContext(StepContext):
    """A context whose project environment is the tests' own: it has scikit-learn and pandas."""

    def python(self, environment: dict[str, Any]) -> Path:
        return Path(sys.executable)


class Bench:
    """A store with versions of one model, and the step that judges them."""

    def __init__(self, store: Store, address: StoreAddress, folder: Path, home: Path) -> None:
        self.store, self.address, self.folder, self.home = store, address, folder, home
        self.runs = 0
        self.log: list[str] = []
        self.data: tuple[DataFingerprint, ...] = ()
        self.project = folder / "project"
        self.project.mkdir()
        (self.project / "train.py").write_text("")

    def register(self, good: bool = True, estimator: Any = None, **changes: Any) -> ModelVersion:
        """Register a version: a good one knows all columns, a poor one asks a single question."""
        from sklearn.datasets import load_wine
        from sklearn.tree import DecisionTreeClassifier

        self.runs += 1
        table = load_wine(as_frame=True)
        frame = table.data[COLUMNS].astype({"alcohol": "float64"})
        labels = table.target_names[table.target]
        model = estimator or DecisionTreeClassifier(random_state=0, max_depth=None if good else 1)
        model.fit(frame, labels)
        folder = self.folder / f"model-{self.runs}"
        folder.mkdir()
        write_model(folder, model, frame[:3])
        tar = self.folder / "tree.tar"
        with tar.open("wb") as stream:
            tree_tar(self.project, stream)
        version = ModelVersion(
            name="wine",
            version=0,
            run_id=self.runs,
            commit="c" * 40,
            dirty=False,
            diff_digest=None,
            project_digest=self.store.artifacts.put_file(tar).digest,
            lock_digest=None,
            environment=None,
            package_differences=(),
            data=self.data,
            model=self.store.artifacts.put_tree(folder),
            signature={},
            metrics={},
            config={},
            created_by="ada",
            pipeline_run=None,
            created_at=datetime.now(UTC),
        )
        return self.store.versions.register(replace(version, **changes))

    def add_data(self, name: str, role: Any, content: str | None = None, target: str | None = "cultivar") -> None:
        from sklearn.datasets import load_wine

        table = load_wine(as_frame=True)
        frame = table.data[COLUMNS].assign(cultivar=table.target_names[table.target])
        path = self.folder / f"{name}.csv"
        path.write_text(frame.to_csv(index=False) if content is None else content)
        file = self.store.artifacts.put_file(path)
        self.data += (
            DataFingerprint(name, role, f"data/{name}.csv", file.digest, file.size, len(frame), None, target, "csv"),
        )

    def validate(
        self,
        version: ModelVersion,
        metrics: Mapping[str, Any] | None = None,
        beside: Mapping[str, str] | None = None,
        protected: bool = False,
    ) -> Validated:
        """Run the step in a pipeline run of its own."""
        self.runs += 1
        run = self.store.pipelines.open(
            PipelineRun(
                id=pipeline_run_id("test", "wine", str(self.runs)),
                installation="test",
                dag_id="wine",
                run_id=str(self.runs),
                model="wine",
                project={"folder": str(self.project)},
                params={},
                settings={"environment": "production", "protected": protected},
                started_by="ada",
                clear_number=0,
                created_at=datetime.now(UTC),
            )
        )
        found = "critical.jsonl" if (self.project / "critical.jsonl").exists() else None
        validation = {"metrics": metrics or {}, "critical": found}
        project = Project.model_validate({"name": "wine", "validation": validation})
        prepared = Prepared("", None, None, False, None, "", {}, None, project.to_json(), {}, None)
        for step, result in (("prepare", prepared), ("log_to_sacred", Logged(version.run_id, version.version))):
            self.claim(run, step).finish(asdict(result))
        workdir = self.folder / f"work-{self.runs}"
        workdir.mkdir()
        return validate.run(
            HereContext(
                store=self.store,
                images=Layout(self.home / "images"),
                run=run,
                claim=self.claim(run, "validate"),
                workdir=workdir,
                home=self.home,
                beside=beside or {},
                git=None,
                log=self.log.append,
            )
        )

    def claim(self, run: PipelineRun, step: str) -> Claim:
        claim = self.store.steps.claim(run.id, step, try_number=1, clear_number=0)
        assert isinstance(claim, Claim)
        return claim

    def promote(self, version: ModelVersion) -> None:
        self.store.aliases.move("wine", "production", version.version, "ada", "a test")

    def report_digest(self, version: ModelVersion) -> str:
        kept = self.store.versions.get("wine", version.version).report
        assert kept is not None
        return str(kept["html"])

    def report(self, version: ModelVersion) -> dict[str, Any]:
        kept = self.store.versions.get("wine", version.version).report
        assert kept is not None
        report: dict[str, Any] = self.store.artifacts.read_json(kept["json"])
        return report

    @contextmanager
    def serving(self, version: ModelVersion) -> Iterator[dict[str, str]]:
        """Serve a version by the real model server, as its image does beside the step."""
        root = self.folder / f"root-{version.version}"
        for name in ("server", "environment"):
            python = root / name / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            python.chmod(0o755)
        (root / "project").mkdir()
        self.store.artifacts.fetch_tree(version.model, root / "model")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "modelyard.serving", "--root", str(root), "--fd", str(listener.fileno())],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                env={
                    "PATH": os.defpath,
                    "MODELYARD_MODEL_NAME": "wine",
                    "MODELYARD_MODEL_VERSION": str(version.version),
                },
            )
            try:
                yield {"production": f"http://127.0.0.1:{listener.getsockname()[1]}"}
            finally:
                process.kill()
                process.wait()


@pytest.fixture
def bench(store: Store, store_address: StoreAddress, tmp_path: Path, workshop: Workshop) -> Bench:
    return Bench(store, store_address, tmp_path, workshop.home)


def expect(bench: Bench, name: str, low: float, high: float) -> None:
    (bench.project / "expectations").mkdir(exist_ok=True)
    kwargs = {"column": "alcohol", "min_value": low, "max_value": high}
    suite = {"name": name, "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}
    (bench.project / "expectations" / f"{name}.json").write_text(json.dumps(suite))


def critical(bench: Bench, expected: str) -> None:
    inputs = {"alcohol": 14.23, "malic_acid": 1.71, "flavanoids": 3.06, "color_intensity": 5.64}
    line = json.dumps({"inputs": inputs, "expected": expected})
    (bench.project / "critical.jsonl").write_text(line + "\n")


def test_a_good_version_passes_everything(bench: Bench) -> None:
    bench.add_data("wines", "train")
    bench.add_data("wines-eval", "evaluation")
    expect(bench, "wines", 10, 16)
    critical(bench, "class_0")
    version = bench.register()
    result = bench.validate(version, {"accuracy": {"min": 0.9, "tolerance": 0.0}}, protected=True)
    assert [(gate["gate"], gate["passed"]) for gate in result.gates] == [
        ("data wines", True),
        ("evaluation data", True),
        ("metric gates", True),
        ("packages", True),
        ("accuracy", True),
        ("accuracy against production", True),
        ("critical predictions", True),
    ]
    assert (result.version, result.compared_with) == (version.version, None)
    assert [file["path"] for file in result.compiled or []] == ["model.onnx"]
    assert "accuracy against production" in "\n".join(bench.log)
    report = bench.report(version)
    assert report["passed"] is True
    assert report["compiled"]["used"] is True
    assert report["compiled"]["rows"] > 178  # all of the evaluation data, and the golden rows
    assert report["scores"][0]["confusion"]["labels"] == ["class_0", "class_1", "class_2"]
    page = bench.store.artifacts.read(result.report["html"]).decode()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'href="?part=data_docs#wines"' in page
    docs = bench.store.artifacts.read(result.report["data_docs"]).decode()
    assert '<h1 id="wines">' in docs
    assert "alcohol" in docs


def test_a_model_without_a_compiled_form_passes_and_the_report_says_why(bench: Bench) -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    version = bench.register(estimator=make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()))
    result = bench.validate(version)
    assert result.compiled is None
    report = bench.report(version)
    assert report["compiled"]["used"] is False
    assert "FunctionTransformer" in report["compiled"]["why"]
    page = bench.store.artifacts.read(result.report["html"]).decode()
    assert "Served as it is: " in page
    assert any(line.startswith("Served as it is: ") for line in bench.log)


def test_a_model_altered_after_its_conversion_is_not_used_and_the_report_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight in every form that the real converters have written, half as large again."""
    from sklearn.linear_model import LogisticRegression

    estimator = LogisticRegression(max_iter=5000)
    version = bench.register(estimator=estimator)
    weight = float(estimator.coef_[0][0])
    convert = compiling._convert

    def altering(model: Path, where: Converter, workdir: Path) -> tuple[list[str], str]:
        forms, why = convert(model, where, workdir)
        for form in forms:
            file = workdir / f"{form}.onnx"
            before = after = file.read_bytes()
            for kind in ("<d", "<f"):
                after = after.replace(struct.pack(kind, weight), struct.pack(kind, weight * 1.5))
            assert after != before
            file.write_bytes(after)
        return forms, why

    monkeypatch.setattr(compiling, "_convert", altering)
    result = bench.validate(version)
    assert result.compiled is None
    told = bench.report(version)["compiled"]
    assert (told["used"], told["why"].startswith("compiled, it answers probability [")) == (False, True), told
    assert "Served as it is: compiled, it answers" in bench.store.artifacts.read(result.report["html"]).decode()


def test_bad_data_refuse_and_are_told_with_the_rest(bench: Bench) -> None:
    bench.add_data("wines", "train")
    expect(bench, "wines", 12, 14)
    critical(bench, "class_2")
    version = bench.register()
    with pytest.raises(GateFailed) as refused:
        bench.validate(version)
    told = str(refused.value)
    assert f"wine:{version.version} is refused: 2 of 2 gates failed" in told
    assert "FAILED  data wines" in told
    assert "'alcohol' values must be greater than or equal to 12" in told
    assert 'critical.jsonl:1: expected "class_2", found "class_0"' in told
    assert bench.report(version)["passed"] is False


def test_the_first_gates_of_a_version_that_is_worse_than_production(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    live, candidate = bench.register(good=True), bench.register(good=False)
    bench.promote(live)
    gate = {"accuracy": {"min": 0.5, "tolerance": 0.05}}
    with bench.serving(live) as beside, pytest.raises(GateFailed) as refused:
        bench.validate(candidate, gate, beside)
    told = str(refused.value)
    assert "1 of 2 gates failed" in told
    absolute, relative = bench.report(candidate)["gates"]
    assert (absolute["passed"], relative["passed"]) == (True, False)
    assert (relative["expected"], relative["production"]) == ("≥ 0.95", f"1 (version {live.version})")
    assert float(absolute["found"]) < 0.7
    assert relative["found"] in told
    assert bench.report(candidate)["compared_with"] == live.version


def test_a_version_that_beats_production(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    live, candidate = bench.register(good=False), bench.register(good=True)
    bench.promote(live)
    with bench.serving(live) as beside:
        result = bench.validate(candidate, {"log_loss": {"tolerance": 0.0}, "roc_auc": {"tolerance": 0.0}}, beside)
    assert result.compared_with == live.version
    assert all(gate["passed"] for gate in result.gates)


def test_a_production_that_does_not_serve_refuses(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    live, candidate = bench.register(), bench.register()
    bench.promote(live)
    with pytest.raises(GateFailed, match="its image does not serve beside this step"):
        bench.validate(candidate, {"accuracy": {"tolerance": 1.0}})
    # An absolute gate asks nothing of production.
    result = bench.validate(candidate, {"accuracy": {"min": 0.9}})
    assert (result.live, result.compared_with) == (live.version, None)
    assert "its image does not serve beside this step" in result.not_compared


def test_a_production_that_changed_meanwhile_is_worth_another_try(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    live, newer, candidate = bench.register(), bench.register(), bench.register()
    bench.promote(newer)
    with bench.serving(live) as beside, pytest.raises(Unavailable, match=f"version {newer.version} is in production"):
        bench.validate(candidate, {"accuracy": {"tolerance": 0.0}}, beside)


def test_gates_without_evaluation_data_refuse(bench: Bench) -> None:
    version = bench.register()
    with pytest.raises(GateFailed, match="no evaluation data"):
        bench.validate(version, {"accuracy": {"min": 0.0}})


def test_a_protected_environment_takes_nothing_that_was_not_measured(bench: Bench) -> None:
    version = bench.register()
    with pytest.raises(GateFailed, match="2 of 3 gates failed") as refused:
        bench.validate(version, protected=True)
    assert "'production' is protected" in str(refused.value)


def test_a_protected_environment_takes_no_other_packages_than_locked(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    differences = ("numpy 1.26 is installed, the lock says 2.3.5", "tqdm 4.67 is installed, the lock does not have it")
    version = bench.register(package_differences=differences)
    gate = {"accuracy": {"min": 0.9}}
    with pytest.raises(GateFailed, match="1 of 4 gates failed") as refused:
        bench.validate(version, gate, protected=True)
    assert re.search("FAILED  packages +as locked +2 not as locked", str(refused.value))
    assert all(f"· {difference}." in str(refused.value) for difference in differences)
    assert all(passed["passed"] for passed in bench.validate(version, gate).gates)


def test_without_gates_any_version_passes_with_a_warning(bench: Bench) -> None:
    version = bench.register()
    assert bench.validate(version).gates == []
    assert f"Warning: no gate stands before wine:{version.version}: any version passes" in bench.log
    page = bench.store.artifacts.read(bench.report_digest(version)).decode()
    assert "has no gates" in page


def test_evaluation_data_without_their_target_refuse(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation", content="alcohol,color\n13,5\n")
    version = bench.register()
    with pytest.raises(GateFailed, match="it has no column 'cultivar', its target"):
        bench.validate(version, {"accuracy": {"min": 0.0}})


def test_a_model_that_cannot_be_loaded_refuses(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    sound = bench.register()
    broken = bench.store.artifacts.put_bytes(b"no model", "model.joblib")
    files = [broken if file.path == "model.joblib" else file for file in sound.model]
    version = bench.register(model=tuple(files))
    with pytest.raises(GateFailed, match=r"process has ended \(exit code 1\)"):
        bench.validate(version, {"accuracy": {"min": 0.0}})


def test_a_model_that_was_not_saved_by_log_model_refuses(bench: Bench) -> None:
    version = bench.register(model=(bench.store.artifacts.put_bytes(b"x", "model.pkl"),))
    with pytest.raises(GateFailed, match="save it with modelyard"):
        bench.validate(version)


def test_critical_predictions_that_are_none_are_refused_by_line(bench: Bench) -> None:
    (bench.project / "critical.jsonl").write_text('{"inputs": {}}\n')
    with pytest.raises(ProjectError, match="jsonl:1: It has no 'expected'"):
        bench.validate(bench.register())


def test_validated_again_after_a_crash_it_ends_the_same(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    version = bench.register()
    gate = {"accuracy": {"min": 0.9}}
    assert bench.validate(version, gate) == bench.validate(version, gate)
