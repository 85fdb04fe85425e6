"""Steps as pods, without Airflow: in which image they run, and what the project's code can reach there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kubernetes.ground import Ground
from tests.kubernetes.stepping import Pods, altered, succeed

from modelyard.store import Store

# What a training tells of where it runs, and of what is closed to it.
_LOOKS_ABOUT = """
    import os, sys
    print("prefix", sys.prefix)
    parent = f"/proc/{os.getppid()}"
    for place in ("/run/modelyard/store/MODELYARD_MONGO_URI", f"{parent}/environ", f"{parent}/mem"):
        assert os.path.lexists(place)
        try:
            open(place, "rb").close()
            print("open", place)
        except OSError:
            print("closed", place)
"""


@pytest.fixture(scope="module")
def looking(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project, with a training that looks about."""
    return altered(
        ground,
        "looking",
        tmp_path_factory.mktemp("looking"),
        {"train.py": ("    time.sleep(pause)\n", _LOOKS_ABOUT)},
    )


def test_a_projects_code_runs_in_its_environments_image_and_reaches_no_credential(
    ground: Ground, looking: Path, store: Store
) -> None:
    first = Pods(ground, store, looking)
    said = succeed(first, "prepare", "train", "log_to_sacred")
    assert "prefix /opt/modelyard/environment\n" in said["train"]
    assert said["train"].count("closed /") == 3
    assert "open /" not in said["train"]
    assert first.images["train"].startswith(f"{ground.store.registry}/environment-image@sha256:")
    assert first.images["prepare"] == first.images["log_to_sacred"] == ground.runner_image

    again = Pods(ground, store, looking, version=1)
    said = succeed(again, "prepare", "validate")
    assert "The environment is built already" in said["prepare"]
    assert "The environment image is built already" in said["prepare"]
    assert again.images["validate"] == first.images["train"]
