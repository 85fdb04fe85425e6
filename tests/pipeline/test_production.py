"""A candidate is held against the version in production, on the same data, whatever packages each was made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.yard import Yard, ask, change

PRODUCTIONS, CANDIDATES = "1.6.1", "1.7.2"


def with_older_scikit_learn(lock: str) -> str:
    """Return the example's Pipfile.lock with the version that production is made with."""
    document = json.loads(lock)
    assert document["default"]["scikit-learn"]["version"] == f"=={CANDIDATES}"
    document["default"]["scikit-learn"] = {"version": f"=={PRODUCTIONS}"}
    return json.dumps(document)


def test_a_candidate_that_loses_to_production_of_other_packages_is_refused(
    yard: Yard, project: Callable[[str], Path]
) -> None:
    wine = project("wine")
    model_yaml, locked = wine / "model.yaml", (wine / "Pipfile.lock").read_text()
    model_yaml.write_text(model_yaml.read_text().replace("    log_loss: {max: 0.3}\n", ""))
    change(yard, wine, "Pipfile.lock", with_older_scikit_learn)
    assert yard.run(wine) == 0, yard.said

    change(yard, wine, "Pipfile.lock", lambda _: locked)
    assert yard.run(wine, config__C=0.003) == 65
    told = yard.said.partition("Step 'validate' failed: ")[2]
    assert told.startswith("wine:2 is refused: 1 of 3 gates failed")
    assert [" ".join(line.split()[1:]) for line in told.splitlines() if "accuracy" in line] == [
        "passed accuracy ≥ 0.9 0.925926 0.981481 (version 1)",
        "FAILED accuracy against production ≥ 0.961481 0.925926 0.981481 (version 1)",
    ]

    with yard.open() as store:
        first, second = (store.versions.get("wine", version) for version in (1, 2))
        facts = [store.artifacts.read_json(version.file("modelyard.json").digest) for version in (first, second)]
        assert second.report is not None
        report = store.artifacts.read_json(second.report["json"])
        live = store.deployments.live("wine", "production")
        alias = store.aliases.get("wine", "production")
    assert [fact["packages"]["scikit-learn"] for fact in facts] == [PRODUCTIONS, CANDIDATES]
    against = next(gate for gate in report["gates"] if gate["gate"] == "accuracy against production")
    assert (against["found"], against["production"]) == ("0.925926", "0.981481 (version 1)")
    assert second.image_digest is None
    assert live is not None
    assert live.address is not None
    assert alias is not None
    assert (live.version, alias.version) == (1, 1)
    golden = facts[0]["golden"]
    prediction, headers = ask(live.address, golden["inputs"][0])
    assert prediction["prediction"] == golden["outputs"]["prediction"][0]
    assert headers["modelyard-model-version"] == "1"
