import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.deployment import ClusterAccess
from modelyard.errors import StoreError
from modelyard.execution.secrets import (
    address_secret,
    cluster_secret,
    git_secret,
    pull_secret,
    secret_name,
    signing_secret,
)
from modelyard.store import StoreAddress
from modelyard.supply_chain import SigningKey

ADDRESS = StoreAddress(
    mongo_uri="mongodb://me:top-secret@mongo.example.com:27017/",
    artifacts="s3://models/artifacts",
    s3_secret_key="s3-secret",
    registry="registry.example.com:5000/models",
    registry_insecure=True,
    verification_key="-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----",
)


def mount(secret: dict[str, Any], folder: Path) -> Path:
    """What the cluster does with a Secret: each key a file."""
    for name, value in secret["data"].items():
        (folder / name).write_bytes(b64decode(value))
    return folder


def test_a_step_reads_the_address_that_was_mounted(tmp_path: Path):
    folder = mount(address_secret(ADDRESS, "model_store_default"), tmp_path)
    assert StoreAddress.from_folder(folder) == ADDRESS


def test_a_secret_of_somebody_elses_may_end_its_lines(tmp_path: Path):
    for name, value in ADDRESS.to_environment().items():
        (tmp_path / name).write_text(f"{value}\n")
    (tmp_path / "unrelated").write_text("x")
    assert StoreAddress.from_folder(tmp_path) == ADDRESS


@pytest.mark.parametrize("missing", ["MODELYARD_MONGO_URI", "MODELYARD_ARTIFACTS", "MODELYARD_REGISTRY"])
def test_a_part_that_a_secret_leaves_out_is_not_looked_for_in_the_pod(tmp_path: Path, missing: str):
    folder = mount(address_secret(ADDRESS, "model_store_default"), tmp_path)
    (folder / missing).unlink()
    with pytest.raises(StoreError, match=f"has no key {missing}") as refused:
        StoreAddress.from_folder(folder)
    assert "top-secret" not in str(refused.value)


def test_a_repositorys_login_is_kubernetes_own_kind(tmp_path: Path):
    made = git_secret(("me", "token"), "git_default", "default")
    assert made["type"] == "kubernetes.io/basic-auth"
    assert made["metadata"]["annotations"] == {"modelyard.io/connection": "git_default"}
    folder = mount(made, tmp_path)
    assert [(folder / name).read_text() for name in ("username", "password")] == ["me", "token"]


def test_the_access_to_a_cluster_is_mounted_whole(tmp_path: Path):
    access = ClusterAccess("production_cluster", {"users": []}, "models")
    made = cluster_secret(access, "default")
    assert made["metadata"]["name"] == secret_name("production_cluster", "default")
    assert ClusterAccess(**json.loads((mount(made, tmp_path) / "access").read_text())) == access


def test_the_signing_key_is_mounted_as_cosign_keeps_one(tmp_path: Path):
    key = SigningKey("-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n", "password ")
    made = signing_secret(key, "model_store_signing", "default")
    assert made["metadata"]["name"] == secret_name("model_store_signing", "default")
    assert SigningKey.from_folder(mount(made, tmp_path)) == key


def test_nodes_pull_with_the_registrys_login():
    made = pull_secret(replace(ADDRESS, registry_username="robot", registry_password="pull"), "models_registry")
    assert made is not None
    assert made["type"] == "kubernetes.io/dockerconfigjson"
    assert made["metadata"]["name"] == secret_name("models_registry", "default")
    (host, login), *others = json.loads(b64decode(made["data"][".dockerconfigjson"]))["auths"].items()
    assert not others
    assert host == "registry.example.com:5000"
    assert b64decode(login["auth"]) == b"robot:pull"


def test_a_registry_without_a_login_needs_no_secret():
    assert pull_secret(ADDRESS, "models_registry") is None


def test_each_connection_of_each_airflow_has_a_secret_of_its_own():
    names = {
        secret_name(conn_id, installation)
        for conn_id in ("model_store_default", "model-store-default", "Model Store", "x" * 250)
        for installation in ("default", "other")
    }
    assert len(names) == 8
    assert all(name.startswith("modelyard-") and name == name.lower() and len(name) < 100 for name in names)
