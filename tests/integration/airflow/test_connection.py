"""The connection type under a real Airflow: its form, and its test."""

from __future__ import annotations

import json
from typing import Any

import httpx

from modelyard.demo.machine import Machine
from modelyard.provider_info import CONNECTION_ID, connections
from modelyard.store import StoreAddress


def fields(address: StoreAddress) -> dict[str, Any]:
    connection = json.loads(connections(address)[CONNECTION_ID])
    return {"connection_id": CONNECTION_ID, **connection, "extra": json.dumps(connection["extra"])}


def test_the_form_has_our_fields(admin: httpx.Client):
    (kind,) = [one for one in admin.get("/ui/connections/hook_meta").json() if one["connection_type"] == "model_store"]
    assert kind["hook_name"] == "Model store (Modelyard)"
    assert kind["standard_fields"]["host"]["title"] == "MongoDB host"
    assert {"artifacts", "registry", "mongo_options", "s3_conn_id"} <= set(kind["extra_fields"])


def test_the_test_button_tells_whether_the_store_answers(admin: httpx.Client, machine: Machine):
    tested = admin.post("/api/v2/connections/test", json=fields(machine.store)).json()
    assert tested == {"status": True, "message": "Database, artifacts and registry answer."}


def test_the_test_button_tells_what_is_wrong(admin: httpx.Client, machine: Machine):
    wrong = fields(machine.store) | {"password": "guessed"}
    tested = admin.post("/api/v2/connections/test", json=wrong).json()
    assert tested["status"] is False
    assert "→" in tested["message"]
    assert "guessed" not in tested["message"]
