from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from tests.fixtures_compilation import Workshop
from tests.integration.steps.bench import Bench, critical, expect

from modelyard.compilation import Converter
from modelyard.compilation import compile as compiling
from modelyard.errors import GateFailed, ProjectError, Unavailable
from modelyard.store import Store, StoreAddress


@pytest.fixture
def bench(store: Store, store_address: StoreAddress, tmp_path: Path, workshop: Workshop) -> Bench:
    return Bench(store, store_address, tmp_path, workshop.home)


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
    with pytest.raises(ProjectError, match="jsonl:1: It has no `expected`"):
        bench.validate(bench.register())


def test_validated_again_after_a_crash_it_ends_the_same(bench: Bench) -> None:
    bench.add_data("wines-eval", "evaluation")
    version = bench.register()
    gate = {"accuracy": {"min": 0.9}}
    assert bench.validate(version, gate) == bench.validate(version, gate)
