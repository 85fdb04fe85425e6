"""The values for the official Airflow Helm chart: no key that it does not know, no setting of its own."""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import validate

REPOSITORY = Path(__file__).parents[3]
KUBERNETES = REPOSITORY / "docker" / "kubernetes"
BASE = KUBERNETES / "values.yaml"
EXECUTORS = sorted(KUBERNETES.glob("values-*.yaml"))
KEYS = json.loads((Path(__file__).parent / "helm-chart-keys.json").read_text())


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(values, dict):
        yield path, values
        return
    for key, value in values.items():
        yield from leaves(value, (*path, key))


def known(path: tuple[str, ...]) -> str:
    return "config.*.*" if path[0] == "config" and len(path) == 3 else ".".join(path)


@pytest.mark.parametrize("file", [BASE, *EXECUTORS], ids=lambda file: file.stem)
def test_every_key_is_the_charts_and_of_its_type(file: Path):
    found = dict(leaves(yaml.safe_load(file.read_text())))
    assert found
    for path, value in found.items():
        assert known(path) in KEYS, ".".join(path)
        validate(value, {"type": KEYS[known(path)]})


def test_no_key_is_listed_that_no_file_uses():
    used = {known(path) for file in (BASE, *EXECUTORS) for path, _ in leaves(yaml.safe_load(file.read_text()))}
    assert set(KEYS) - {"$comment"} == used


def test_settings_are_those_of_the_example_configuration():
    example = configparser.RawConfigParser()
    example.read(REPOSITORY / "airflow.cfg.example")
    config = yaml.safe_load(BASE.read_text())["config"]
    for section in ("core", "workers", "scheduler", "dag_processor", "api"):
        for key, value in config[section].items():
            assert str(value) == example[section][key], f"[{section}] {key}"
    for section in ("workers", "scheduler"):  # of these it has all
        assert config[section].keys() == example[section].keys()
    commented = (REPOSITORY / "airflow.cfg.example").read_text()
    for key in config["modelyard"]:
        assert f"\n{key} = " in commented or f"\n# {key} = " in commented, key


def test_each_secret_and_config_map_is_one_that_the_instructions_make():
    values = yaml.safe_load(BASE.read_text())
    page = (REPOSITORY / "docker" / "README.md").read_text()
    (connections,) = yaml.safe_load(values["extraEnvFrom"])
    names = [values["data"]["metadataSecretName"], connections["secretRef"]["name"]]
    names += [value for key, value in values.items() if key.endswith("SecretName")]
    assert len(names) == 5
    for name in names:
        assert f"create secret generic {name} " in page, name
    for volume in values["volumes"]:
        assert f"create configmap {volume['configMap']['name']} " in page
