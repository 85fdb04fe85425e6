"""What the doctor asks for is what docker/kubernetes grants: no less, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.doctor.rights import DEPLOYER, WORKER, Right, Role

FOLDER = Path(__file__).parents[3] / "docker" / "kubernetes"


def granted(role: str) -> set[Right]:
    """Return the rights of a Role."""
    documents: list[Any] = [one for file in FOLDER.glob("*.yaml") for one in yaml.safe_load_all(file.read_text())]
    (found,) = [one for one in documents if one.get("kind") == "Role" and one["metadata"]["name"] == role]
    return {
        Right(group, resource, verb)
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(("name", "role"), [("modelyard-worker", WORKER), ("modelyard-deployer", DEPLOYER)])
def test_the_rights_are_those_of_the_role(name: str, role: Role) -> None:
    assert set(role.rights) == granted(name)
    assert len(set(role.rights)) == len(role.rights)
    assert f"name: {name}\n" in (FOLDER.parents[1] / role.file).read_text()
