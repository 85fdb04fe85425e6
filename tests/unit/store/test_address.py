from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import StoreError
from modelyard.store.address import StoreAddress

ADDRESS = StoreAddress(
    mongo_uri="mongodb://anna:s3cr3t@one:27017,two:27018/?authSource=admin",
    artifacts="s3://models/wine",
    registry="registry.example:5000/models",
    s3_access_key="AK",
    s3_secret_key="s3cr3t",
    registry_username="anna",
    registry_password="s3cr3t",
    registry_insecure=True,
    base_image="registry.example:5000/python:3.11-slim",
)


def test_an_address_survives_json_and_the_environment():
    assert StoreAddress.from_json(ADDRESS.to_json()) == ADDRESS
    assert "\n" not in ADDRESS.to_json()
    assert StoreAddress.from_environment(ADDRESS.to_environment()) == ADDRESS


def test_no_secret_is_shown():
    assert "s3cr3t" not in repr(ADDRESS)
    assert "registry.example" in repr(ADDRESS)


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        (ADDRESS.mongo_uri, "one:27017,two:27018"),
        ("mongodb+srv://u:p@cluster.example", "cluster.example"),
        ("mongodb://host?w=1", "host"),
    ],
)
def test_hosts_are_named_without_credentials(uri: str, hosts: str):
    assert replace(ADDRESS, mongo_uri=uri).mongo_hosts == hosts


def test_what_is_not_named_is_below_home(tmp_path: Path):
    address = StoreAddress.from_environment(
        {"MODELYARD_HOME": str(tmp_path), "MODELYARD_MONGO_URI": "mongodb://h/", "MODELYARD_S3_REGION": ""}
    )
    assert address.artifacts == f"file://{tmp_path}/artifacts"
    assert address.registry == f"oci:{tmp_path}/images"
    assert (address.s3_region, address.database, address.registry_insecure) == (None, "modelyard", False)


def test_a_flag_that_is_neither_yes_nor_no_is_refused():
    with pytest.raises(StoreError, match="MODELYARD_REGISTRY_INSECURE is 'off', which is neither yes nor no"):
        StoreAddress.from_environment({"MODELYARD_MONGO_URI": "mongodb://h/", "MODELYARD_REGISTRY_INSECURE": "off"})


def test_without_a_database_the_remedy_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"modelyard run FOLDER; or set MODELYARD_MONGO_URI"):
        StoreAddress.from_environment({"MODELYARD_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "change", [{"mongo_uri": "anna:s3cr3t@host"}, {"artifacts": "/folder"}, {"artifacts": "s3:///x"}, {"registry": ""}]
)
def test_an_impossible_part_is_refused_without_showing_a_secret(change: dict[str, Any]):
    with pytest.raises(StoreError) as caught:
        replace(ADDRESS, **change)
    assert "s3cr3t" not in str(caught.value)
