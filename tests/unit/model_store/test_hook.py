from dataclasses import replace
from pathlib import Path

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from model_store.hook import ModelStoreHook
from modelyard.errors import StoreError
from modelyard.provider_info import connections, get_provider_info
from modelyard.store import StoreAddress


def connect(monkeypatch: pytest.MonkeyPatch, address: StoreAddress) -> None:
    for conn_id, connection in connections(address).items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)


@pytest.mark.parametrize(
    "address",
    [
        StoreAddress("mongodb://127.0.0.1:27017/?", "file:///srv/artifacts", "oci:/srv/images"),
        StoreAddress(
            mongo_uri="mongodb://ada:p%40ss%2Fword@a.example.com:27017,b.example.com:27018/?replicaSet=rs0&tls=true",
            artifacts="s3://models/artifacts",
            registry="registry.example.com/models",
            database="models",
            s3_endpoint_url="https://s3.example.com",
            s3_region="eu-south-1",
            s3_access_key="key",
            s3_secret_key="secret",
            s3_ca_bundle="/etc/ca.pem",
            s3_encryption="AES256",
            registry_username="robot",
            registry_password="token",
            registry_insecure=True,
            registry_ca_bundle="/etc/registry.pem",
            base_image="registry.example.com/python:3.11-slim",
            verification_key="-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
            installation="milan",
        ),
        StoreAddress("mongodb+srv://ada:secret@cluster.example.com/?authSource=admin", "s3://models", "host/x"),
    ],
    ids=["embedded", "everything", "srv"],
)
def test_connections_lead_back_to_the_address(monkeypatch: pytest.MonkeyPatch, address: StoreAddress):
    connect(monkeypatch, address)
    assert ModelStoreHook().address() == address


def test_what_a_connection_leaves_out_is_on_the_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", '{"conn_type": "model_store", "host": "db", "port": 27017}')
    address = ModelStoreHook().address()
    assert address.mongo_uri == "mongodb://db:27017/?"
    assert address.artifacts == (tmp_path / "artifacts").as_uri()
    assert address.registry == f"oci:{tmp_path / 'images'}"
    assert address.database == "modelyard"


def test_a_connection_without_a_host_or_without_its_helper_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", '{"conn_type": "model_store"}')
    with pytest.raises(StoreError, match=r"model_store_default.*no MongoDB host"):
        ModelStoreHook().address()
    missing = '{"conn_type": "model_store", "host": "db", "extra": {"s3_conn_id": "nobody"}}'
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", missing)
    with pytest.raises(AirflowNotFoundException, match="nobody"):
        ModelStoreHook().address()


@pytest.mark.parametrize(("word", "on"), [("false", False), ("No", False), ("0", False), ("True", True), ("1", True)])
def test_a_flag_of_a_connection_by_uri_is_what_its_word_says(monkeypatch: pytest.MonkeyPatch, word: str, on: bool):
    uri = f"model-store://ada:x@db.example.com/models?registry=host%2Fx&registry_insecure={word}&srv={word}"
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", uri)
    address = ModelStoreHook().address()
    assert address.registry_insecure is on
    assert address.mongo_uri.startswith("mongodb+srv://" if on else "mongodb://")


@pytest.mark.parametrize("key", ["registry_insecure", "srv"])
def test_a_flag_that_is_neither_yes_nor_no_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, key: str):
    monkeypatch.setenv("AIRFLOW_CONN_MODEL_STORE_DEFAULT", f"model-store://db.example.com/models?{key}=maybe")
    with pytest.raises(StoreError, match=f"{key} of the connection 'model_store_default' is 'maybe'"):
        ModelStoreHook().address()


def test_the_connection_test_asks_all_three(monkeypatch: pytest.MonkeyPatch, store_address: StoreAddress):
    connect(monkeypatch, store_address)
    assert ModelStoreHook().test_connection() == (True, "Database, artifacts and registry answer.")


def test_the_connection_test_tells_what_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    address = StoreAddress(
        "mongodb://ada:hidden@127.0.0.1:9/?serverSelectionTimeoutMS=200", tmp_path.as_uri(), "oci:/x"
    )
    connect(monkeypatch, address)
    works, message = ModelStoreHook().test_connection()
    assert not works
    assert "127.0.0.1:9" in message
    assert "hidden" not in message


def test_the_form_has_a_field_for_every_extra():
    (kind,) = get_provider_info()["connection-types"]
    assert kind["hook-class-name"] == f"{ModelStoreHook.__module__}.{ModelStoreHook.__qualname__}"
    assert kind["connection-type"] == ModelStoreHook.conn_type
    assert set(kind["conn-fields"]) >= {"artifacts", "s3_conn_id", "registry", "registry_conn_id", "installation"}


def test_the_connection_test_tells_that_a_verification_key_is_none(
    monkeypatch: pytest.MonkeyPatch, store_address: StoreAddress
):
    connect(monkeypatch, replace(store_address, verification_key="cosign.pub"))
    works, message = ModelStoreHook().test_connection()
    assert not works
    assert "The verification key is no PEM file" in message
