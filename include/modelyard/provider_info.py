"""What Airflow learns from the installed package: the connection type ``model_store`` and its form.

Airflow reads connection types only from an installed distribution (entry point ``apache_airflow_provider``); the hook
that uses the connection is in the plugins folder.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from modelyard.store.address import StoreAddress

CONNECTION_TYPE = "model_store"
CONNECTION_ID = "model_store_default"
S3_CONNECTION_ID = "model_store_s3"
REGISTRY_CONNECTION_ID = "model_store_registry"


def _text(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


def _lines(label: str, description: str) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["string", "null"], "format": "multiline"},
    }


def _switch(label: str, description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": ["boolean", "null"], "default": False}}


_FIELDS = {
    "srv": _switch("mongodb+srv", "The host is a DNS seed list: no port, TLS on."),
    "mongo_options": _text("MongoDB options", "As in a MongoDB URI: replicaSet=rs0&tls=true&authSource=admin"),
    "artifacts": _text("Artifacts", "s3://bucket/prefix or file:///directory. Empty: a folder of the worker."),
    "s3_conn_id": _text("S3 connection", "An Amazon Web Services connection: key, secret, endpoint_url, region_name."),
    "s3_ca_bundle": _text("S3 CA bundle", "Path of the certificates that the S3 endpoint's own must chain to."),
    "s3_encryption": _text("S3 encryption", "AES256, aws:kms or aws:kms:KEY-ID, asked of the server for every object."),
    "registry": _text("Registry", "host[:port]/prefix or oci:/directory. Empty: a folder of the worker."),
    "registry_conn_id": _text("Registry connection", "A Docker connection: user name and password or token."),
    "registry_insecure": _switch("Plain HTTP registry", "For a registry without TLS, on a network you trust."),
    "registry_ca_bundle": _text("Registry CA bundle", "Path of the certificates that the registry's must chain to."),
    "base_image": _text("Base image", "Below model images in a registry. Empty: python:X.Y-slim, as the pipeline's."),
    "signing_conn_id": _text("Signing connection", "A Generic connection with a key in private_key of its extra."),
    "verification_key": _lines(
        "Verification key", "cosign.pub: what it has not signed does not go live. Empty: anything."
    ),
    "layer_compression": _text("Layer compression", "zstd, or gzip for what reads no zstd: Docker before 23."),
    "installation": _text("Installation", "This Airflow's name where several share the store. Never change it later."),
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the format of Airflow's ``provider.yaml``."""
    return {
        "package-name": "modelyard",
        "name": "Modelyard",
        "description": "Takes a machine-learning model from experiment to production.",
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-class-name": "model_store.hook.ModelStoreHook",
                "hook-name": "Model store (Modelyard)",
                "conn-fields": _FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": [],
                    "relabeling": {"host": "MongoDB host", "login": "MongoDB user", "schema": "Database"},
                    "placeholders": {
                        "host": "mongo.example.com, or a replica set: a.example.com:27017,b.example.com:27017",
                        "port": "27017",
                        "schema": "modelyard",
                        "mongo_options": "authSource=admin&tls=true",
                        "artifacts": "s3://models/artifacts",
                        "registry": "registry.example.com/models",
                        "base_image": "registry.example.com/python:3.11-slim",
                        "installation": "default",
                    },
                },
            }
        ],
    }


def connections(address: StoreAddress) -> dict[str, str]:
    """Return the Airflow connections that name this store: connection id → JSON, secrets included.

    ``AIRFLOW_CONN_MODEL_STORE_DEFAULT`` and its like take these values; so does ``airflow connections import``.
    """
    uri = urlsplit(address.mongo_uri)
    credentials, _, hosts = uri.netloc.rpartition("@")
    login, _, password = credentials.partition(":")
    extra = {
        "srv": uri.scheme == "mongodb+srv",
        "mongo_options": urlencode(parse_qsl(uri.query)),
        "artifacts": address.artifacts,
        "s3_ca_bundle": address.s3_ca_bundle,
        "s3_encryption": address.s3_encryption,
        "registry": address.registry,
        "registry_insecure": address.registry_insecure,
        "registry_ca_bundle": address.registry_ca_bundle,
        "base_image": address.base_image,
        "verification_key": address.verification_key,
        "layer_compression": address.layer_compression,
        "installation": address.installation,
    }
    made = {}
    if address.artifacts.startswith("s3:"):
        extra["s3_conn_id"] = S3_CONNECTION_ID
        made[S3_CONNECTION_ID] = _connection(
            "aws",
            login=address.s3_access_key,
            password=address.s3_secret_key,
            extra=_given({"endpoint_url": address.s3_endpoint_url, "region_name": address.s3_region}),
        )
    if address.registry_username or address.registry_password:
        extra["registry_conn_id"] = REGISTRY_CONNECTION_ID
        made[REGISTRY_CONNECTION_ID] = _connection(
            "docker",
            host=address.registry.partition("/")[0],
            login=address.registry_username,
            password=address.registry_password,
        )
    made[CONNECTION_ID] = _connection(
        CONNECTION_TYPE,
        host=hosts,
        login=unquote(login),
        password=unquote(password),
        schema=address.database,
        extra=_given(extra),
    )
    return made


def _connection(kind: str, **fields: Any) -> str:
    return json.dumps({"conn_type": kind, **_given(fields)})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
