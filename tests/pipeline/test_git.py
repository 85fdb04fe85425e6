"""A Git project is trained at any ref, each with defaults, data and keys of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.git_server import git
from tests.yard import Yard, change

from model_store.projects import GIT_FILE, LockedProject, find
from modelyard.images import open_images
from modelyard.steps.local_run import run_pipeline

DATA = "data: {points: {uri: points.csv, role: train}}\n"


def test_a_run_at_another_ref_has_that_refs_defaults(yard: Yard, tiny: Path, tmp_path: Path) -> None:
    (tiny / "points.csv").write_text("x,y\n0.1,low\n")
    train = tiny / "train.py"
    train.write_text(train.read_text().replace("threshold = 0.5", "threshold = 0.5\n    data = {}"))
    train.write_text(train.read_text().replace("threshold, pause)", "threshold, pause, data)"))
    change(yard, tiny, "model.yaml", lambda text: text + DATA)
    git(tiny, "tag", "first")
    # The next commit trains otherwise, on data elsewhere, and knows a key that the first one did not.
    (tiny / "points.csv").rename(tiny / "more-points.csv")
    change(yard, tiny, "model.yaml", lambda text: text.replace("points.csv", "more-points.csv"))
    change(yard, tiny, "train.py", lambda text: text.replace("threshold = 0.5", "threshold = 0.7\n    added = 1"))

    entry = {"git": tiny.as_uri(), "lock": json.loads((tiny / "model.lock.json").read_bytes())}
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / GIT_FILE).write_text(json.dumps([entry]))
    (listed,) = find([tmp_path / "listed"])
    assert isinstance(listed, LockedProject)
    form: dict[str, Any] = {f"config.{key['path']}": key["default"] for key in listed.config}
    form |= {"data.points": "more-points.csv", "approve": None, "release": False}
    assert form["config.threshold"] == 0.7

    expected: list[tuple[dict[str, Any], float, str]] = [
        ({"ref": "first"}, 0.5, "points.csv"),
        ({"ref": "first", "config.threshold": 0.6}, 0.6, "points.csv"),
        ({"ref": None, "release": True}, 0.7, "more-points.csv"),
    ]
    for number, (changes, threshold, uri) in enumerate(expected, start=1):
        said: list[str] = []
        params = listed.asked_for(form | changes)
        lock = {"project": listed.project, "source": listed.source}
        _, code = run_pipeline(lock, params, yard.address, yard.home, lambda _, line: said.append(line))  # noqa: B023
        assert code == 0, "\n".join(said)
        with yard.open() as store:
            version = store.versions.get("tiny", number)
        assert version.config["threshold"] == threshold
        assert [data.uri for data in version.data if data.name == "points"][:1] == [uri]
    assert version.image_digest is not None
    image = open_images(yard.address, yard.home).pull("tiny", version.image_digest)
    assert image.parsed_manifest["annotations"]["org.opencontainers.image.source"] == tiny.as_uri()
