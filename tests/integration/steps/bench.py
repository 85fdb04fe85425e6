"""A bench for `validate`: versions of one model, their data, production beside it, and the step that judges them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.client.model import write_model
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


def expect(bench: Bench, name: str, low: float, high: float) -> None:
    (bench.project / "expectations").mkdir(exist_ok=True)
    kwargs = {"column": "alcohol", "min_value": low, "max_value": high}
    suite = {"name": name, "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]}
    (bench.project / "expectations" / f"{name}.json").write_text(json.dumps(suite))


def critical(bench: Bench, expected: str) -> None:
    inputs = {"alcohol": 14.23, "malic_acid": 1.71, "flavanoids": 3.06, "color_intensity": 5.64}
    line = json.dumps({"inputs": inputs, "expected": expected})
    (bench.project / "critical.jsonl").write_text(line + "\n")
